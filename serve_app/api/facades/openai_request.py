"""OpenAI's audio requests: the fields of their form, and the options that these set."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel
from typing_extensions import override

from serve_app.api.facades.mapped_options import mapped_options
from serve_app.api.model_table import OPENAIS_NAME
from serve_app.api.sources.form import Form
from serve_app.api.sources.form_values import Choices, Texts, Unserved, form_values, from_json
from serve_app.errors import InvalidOption
from serve_app.options import OptionLimits, ParsedOptions, read_values
from serve_app.options.kinds import Choice, Flag, Kind, Temperatures

Task = Literal["transcribe", "translate"]

FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
SUBTITLES = ("srt", "vtt")

CALLERS_NAMES = {
    "initial_prompt": "prompt",
    "hotwords": "keywords",
    "vad_parameters.threshold": "chunking_strategy.threshold",
    "vad_parameters.speech_pad_ms": "chunking_strategy.prefix_padding_ms",
    "vad_parameters.min_silence_duration_ms": "chunking_strategy.silence_duration_ms",
}
"""Our options, and the parameters by which OpenAI's callers set them."""

SERVER_VAD_SILENCE_MS = "200"
"""OpenAI's default for ``silence_duration_ms`` of ``server_vad``."""


@dataclass(frozen=True)
class AudioRequest:
    """What one request asks for; ``granularities`` and ``options`` are checked."""

    model: str
    task: Task
    response_format: str
    granularities: tuple[str, ...]
    is_streamed: bool
    with_logprobs: bool
    options: ParsedOptions


def read_request(form: Form, task: Task, limits: OptionLimits) -> AudioRequest:
    """Read the form of a request.

    Fields that OpenAI does not have are options of our own (docs/options.md) or ignored. Raises
    ``InvalidOption`` with OpenAI's names, and ``InvalidRequest`` if there is no audio.
    """
    values = form_values(form)
    fields = read_values(_Fields, values, limits)
    with_logprobs = "logprobs" in fields.include
    if with_logprobs and fields.response_format != "json":
        raise InvalidOption('include: logprobs need response_format "json"', field="include")
    granularities = fields.timestamp_granularities
    wants_words = fields.response_format == "verbose_json" and "word" in granularities
    wants_words = wants_words or with_logprobs or fields.response_format in SUBTITLES
    own = {name: value for name, value in values.items() if name not in _Fields.model_fields}
    only = fields.languages[0] if len(fields.languages) == 1 else None
    mapped = {
        "task": task,
        # Whisper takes no candidates: of several the language is detected.
        "language": fields.language or only,
        "initial_prompt": fields.prompt,
        "hotwords": ", ".join(fields.keywords) or None,
        # OpenAI's 0 means Whisper's ladder of temperatures, which is our default.
        "temperature": None if fields.temperature in ((), (0.0,)) else fields.temperature,
        "word_timestamps": True if wants_words else None,
        "vad_parameters": fields.chunking_strategy,
    }
    return AudioRequest(
        model=fields.model,
        task=task,
        response_format=fields.response_format,
        granularities=granularities,
        is_streamed=fields.stream,
        with_logprobs=with_logprobs,
        options=mapped_options(own, mapped, CALLERS_NAMES, limits, form.unread_files()),
    )


@dataclass(frozen=True)
class _Format(Choice):
    """A format of the answer."""

    @override
    def read(self, value: object, limits: OptionLimits) -> str:
        if value == "diarized_json":
            raise ValueError("this server does not tell speakers apart")
        return super().read(value, limits)


@dataclass(frozen=True)
class _Strategy(Kind):
    """How audio is cut: "auto", as Whisper OX does it, or by voice activity with the caller's
    values.
    """

    @override
    def read(self, value: object, limits: OptionLimits) -> dict[str, object] | None:
        value = from_json(value)
        if value == "auto":
            return None
        if not isinstance(value, dict) or value.get("type") != "server_vad":
            raise ValueError
        ours = {callers.partition(".")[2]: name for name, callers in CALLERS_NAMES.items()}
        given = {ours[key]: one for key, one in value.items() if key in ours}
        if not given:
            return None
        silence = ours["silence_duration_ms"]
        return {
            name.partition(".")[2]: one
            for name, one in ({silence: SERVER_VAD_SILENCE_MS} | given).items()
        }

    @override
    def allowed(self, limits: OptionLimits) -> str:
        return '"auto" or an object with "type": "server_vad"'


_SPEAKERS = Unserved("this server does not tell speakers apart")


class _Fields(BaseModel):
    """OpenAI's parameters and Groq's ``url``; the options among them are checked later."""

    model: str = OPENAIS_NAME
    response_format: Annotated[str, _Format(FORMATS)] = "json"
    timestamp_granularities: Annotated[tuple[str, ...], Choices(("word", "segment"))] = ("segment",)
    stream: Annotated[bool, Flag()] = False
    include: Annotated[tuple[str, ...], Choices(("logprobs",))] = ()
    chunking_strategy: Annotated[dict[str, Any] | None, _Strategy()] = None
    language: Any = None
    languages: Annotated[tuple[str, ...], Texts()] = ()
    prompt: Any = None
    keywords: Annotated[tuple[str, ...], Texts()] = ()
    temperature: Annotated[tuple[float, ...], Temperatures()] = ()
    known_speaker_names: Annotated[None, _SPEAKERS] = None
    known_speaker_references: Annotated[None, _SPEAKERS] = None
    url: Annotated[None, Unserved("this server fetches no audio; send it as file")] = None
