"""ElevenLabs' form: what it wants in the answer, and the options that it sets."""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel
from typing_extensions import override

from serve_app.api.facades.mapped_options import mapped_options
from serve_app.api.render.elevenlabs import FORMATS, Parts
from serve_app.api.sources.form import Form
from serve_app.api.sources.form_values import Texts, Unserved, form_values, from_json
from serve_app.errors import InvalidOption
from serve_app.options import OptionLimits, ParsedOptions, TranscribeOptions, read_values
from serve_app.options.kinds import Choice, Flag, Kind, Temperatures

CALLERS_NAMES = {
    "language": "language_code",
    "hotwords": "keyterms",
    "multichannel": "use_multi_channel",
}
"""Our options, and the parameters by which ElevenLabs' callers set them."""

_MAY_BE_FALSE = frozenset({"use_multi_channel", *TranscribeOptions.model_fields})
"""Fields in which false is a value; in any other it says that something is not wanted."""

BARE_SAMPLES = ("file_format", "pcm_s16le_16")


@dataclass(frozen=True)
class ConvertRequest:
    """What one request asks for; ``options.ignored`` are parameters that do nothing here."""

    model: str
    parts: Parts
    options: ParsedOptions


def has_bare_samples(form: Form) -> bool:
    """Whether the form says that its file is samples without a header, 16 kHz mono int16."""
    return BARE_SAMPLES in form.texts()


def read_request(form: Form, limits: OptionLimits) -> ConvertRequest:
    """Read the form of a request.

    Fields that ElevenLabs does not have are options of our own (docs/options.md) or ignored. Raises
    ``InvalidOption`` with ElevenLabs' names, and ``InvalidRequest`` if there is no audio.
    """
    values = {
        name: value
        for name, value in form_values(form).items()
        # ElevenLabs' clients write null for some parameters that are not set.
        if value != "null" and (name in _MAY_BE_FALSE or value != "false")
    }
    fields = read_values(_Fields, values, limits)
    parts = Parts(
        fields.timestamps_granularity,
        fields.additional_formats,
        fields.multichannel_output_style == "combined",
    )
    if parts.is_combined and parts.granularity == "none":
        raise InvalidOption(
            "multichannel_output_style: combined needs times, which timestamps_granularity none "
            "leaves out",
            field="multichannel_output_style",
        )
    own = {name: value for name, value in values.items() if name not in _Fields.model_fields}
    mapped = {
        "language": fields.language_code,
        "hotwords": ", ".join(fields.keyterms) or None,
        # As in OpenAI's API, 0 means Whisper's ladder of temperatures.
        "temperature": None if fields.temperature in ((), (0.0,)) else fields.temperature,
        "multichannel": fields.use_multi_channel,
        "word_timestamps": parts.granularity != "none" or "srt" in parts.formats,
    }
    options = mapped_options(own, mapped, CALLERS_NAMES, limits, form.unread_files())
    return ConvertRequest(fields.model_id, parts, options)


@dataclass(frozen=True)
class _Formats(Kind):
    """Formats apart from JSON: a JSON list of objects, of which ``format`` counts."""

    @override
    def read(self, value: object, limits: OptionLimits) -> tuple[str, ...]:
        found = from_json(value)
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise ValueError
        choice = Choice(tuple(FORMATS))
        return tuple(dict.fromkeys(choice.read(one.get("format"), limits) for one in found))

    @override
    def allowed(self, limits: OptionLimits) -> str:
        return 'a list such as [{"format": "srt"}], of srt and txt'


_NO_URL = Unserved("this server fetches no audio; send it as file")


class _Fields(BaseModel):
    """The parameters of ElevenLabs that have an effect here."""

    model_id: str = "scribe_v1"
    language_code: Any = None
    timestamps_granularity: Annotated[str, Choice(("none", "word", "character"))] = "word"
    use_multi_channel: Annotated[bool | None, Flag()] = None
    multichannel_output_style: Annotated[str, Choice(("separate", "combined"))] = "separate"
    additional_formats: Annotated[tuple[str, ...], _Formats()] = ()
    file_format: Annotated[str, Choice(("pcm_s16le_16", "other"))] = "other"
    keyterms: Annotated[tuple[str, ...], Texts()] = ()
    temperature: Annotated[tuple[float, ...], Temperatures()] = ()
    webhook: Annotated[None, Unserved("this server answers with the transcript itself")] = None
    entity_redaction: Annotated[None, Unserved("this server hides nothing in a transcript")] = None
    cloud_storage_url: Annotated[None, _NO_URL] = None
    source_url: Annotated[None, _NO_URL] = None
