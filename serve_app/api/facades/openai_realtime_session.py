"""The configuration of an OpenAI Realtime transcription session, in today's shape and the beta's.

Today's has everything under ``audio.input``; the beta's is flat. docs/openai-realtime.md says what
each field does here.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel

from serve_app.api.model_table import OPENAIS_NAME
from serve_app.api.sources.form_values import Choices, Texts
from serve_app.audio.pcm import MAX_RATE_HZ, MIN_RATE_HZ, Encoding, PcmStream
from serve_app.errors import InvalidOption
from serve_app.live.options import LiveOptions
from serve_app.options import Language, read_values
from serve_app.options.kinds import Choice, Number, Whole

OBJECT = "realtime.transcription_session"

G711_RATE_HZ = 8_000
_ENCODINGS: dict[str, Encoding] = {
    "audio/pcm": "pcm16",
    "audio/pcmu": "mulaw",
    "audio/pcma": "alaw",
}
_BETA_FORMATS = {"pcm16": "audio/pcm", "g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"}
_BETA_NAMES = {
    "input_audio_format": "format",
    "input_audio_transcription": "transcription",
    "input_audio_noise_reduction": "noise_reduction",
    "turn_detection": "turn_detection",
}
"""Fields of the beta's session, and what they are called under ``audio.input``."""

_NULLABLE = ("turn_detection", "noise_reduction")

LEAST_SILENCE_MS = 100
LEAST_THRESHOLD, MOST_THRESHOLD = 0.01, 0.99
EAGERNESS_SILENCE_SECONDS = {"low": 1.2, "medium": 0.8, "auto": 0.8, "high": 0.4}
"""``semantic_vad`` judges by what is said whether somebody has finished. Here silence tells: the
more eager, the less of it."""


class _Format(BaseModel):
    type: Annotated[str, Choice(tuple(_ENCODINGS))] = "audio/pcm"
    rate: Annotated[int, Whole(MIN_RATE_HZ, MAX_RATE_HZ)] = 24_000


class _Transcription(BaseModel):
    model: str = OPENAIS_NAME
    language: Annotated[str | None, Language()] = None
    prompt: str | None = None
    languages: Annotated[tuple[str, ...], Texts()] = ()
    keywords: Annotated[tuple[str, ...], Texts()] = ()


class _NoiseReduction(BaseModel):
    """Told back to the client, and no more."""

    type: Annotated[str | None, Choice(("near_field", "far_field"))] = None


class _TurnDetection(BaseModel):
    type: Annotated[str, Choice(("server_vad", "semantic_vad"))] = "server_vad"
    threshold: Annotated[float, Number(0, 1)] = 0.5
    prefix_padding_ms: Annotated[int, Whole(0)] = 300
    silence_duration_ms: Annotated[int, Whole(0, 10_000)] = 500
    eagerness: Annotated[str, Choice(tuple(EAGERNESS_SILENCE_SECONDS))] = "auto"

    @property
    def silence_seconds(self) -> float:
        if self.type == "semantic_vad":
            return EAGERNESS_SILENCE_SECONDS[self.eagerness]
        return max(LEAST_SILENCE_MS, self.silence_duration_ms) / 1000


class _Input(BaseModel):
    format: _Format = _Format()
    transcription: _Transcription = _Transcription()
    noise_reduction: _NoiseReduction | None = None
    turn_detection: _TurnDetection | None = _TurnDetection()


class _Audio(BaseModel):
    input: _Input = _Input()


class RealtimeSession(BaseModel):
    """The whole configuration. Fields that OpenAI has and that do nothing here are dropped."""

    type: Annotated[str, Choice(("transcription",))] = "transcription"
    audio: _Audio = _Audio()
    include: Annotated[tuple[str, ...], Choices(("item.input_audio_transcription.logprobs",))] = ()

    @property
    def model(self) -> str:
        """What the client calls the model."""
        return self.audio.input.transcription.model

    def updated(self, change: Mapping[str, Any]) -> "RealtimeSession":
        """The configuration after a client's update in either shape: only what it names changes.

        Raises ``InvalidOption`` with a field such as ``session.audio.input.format.rate``.
        """
        try:
            return read_values(RealtimeSession, _merged(self.model_dump(), _from_beta(change)))
        except InvalidOption as wrong:
            raise wrong.under("session.") from None
        except RecursionError:
            raise InvalidOption("session: it is nested too deeply", field="session") from None

    def changes(self) -> dict[str, Any]:
        """What differs from a new session, as :meth:`updated` takes it."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def live_options(self) -> LiveOptions:
        """What it asks of a live session. Raises ``InvalidOption``."""
        asked, turns = self.audio.input.transcription, self.audio.input.turn_detection
        words = [*filter(None, [asked.prompt]), *asked.keywords]
        # Whisper takes no candidates: of several the language is detected.
        only = asked.languages[0] if len(asked.languages) == 1 else None
        values: dict[str, object] = {
            "language": asked.language or only,
            "prompt": ", ".join(words) or None,
            "silence_seconds": None,
        }
        if turns is not None:
            threshold = min(max(turns.threshold, LEAST_THRESHOLD), MOST_THRESHOLD)
            values |= {"silence_seconds": turns.silence_seconds, "threshold": threshold}
        try:
            return read_values(LiveOptions, values)
        except InvalidOption as wrong:
            raise wrong.under("session.audio.input.transcription.") from None

    def pcm(self) -> PcmStream:
        """What decodes the audio of this configuration."""
        audio = self.audio.input.format
        rate = audio.rate if audio.type == "audio/pcm" else G711_RATE_HZ
        return PcmStream(_ENCODINGS[audio.type], rate, 1)

    def body(self, session_id: str, expires_at: int, *, is_beta: bool) -> dict[str, Any]:
        """The session as a client is told of it."""
        known = {"id": f"sess_{session_id}", "object": OBJECT, "expires_at": expires_at}
        told = self.model_dump(mode="json")
        if not is_beta:
            return known | told
        fields: dict[str, Any] = told["audio"]["input"]
        ours = {value: key for key, value in _BETA_FORMATS.items()}
        fields["format"] = ours[fields["format"]["type"]]
        flat = {beta: fields[name] for beta, name in _BETA_NAMES.items()}
        return known | flat | {"include": told["include"]}


def _merged(old: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """``old`` with what ``change`` names. Null puts the default back, or switches off."""
    new = dict(old)
    for name, value in change.items():
        if isinstance(value, dict):
            held = new.get(name)
            had = held if isinstance(held, dict) else {}
            is_same_kind = "type" not in value or value["type"] == had.get("type")
            new[name] = _merged(had if is_same_kind else {}, value)
        elif value is None and name not in _NULLABLE:
            new.pop(name, None)
        else:
            new[name] = value
    return new


def _from_beta(change: Mapping[str, Any]) -> dict[str, Any]:
    """``change`` with the fields of the beta moved to where they are today."""
    fields = {name: value for name, value in change.items() if name not in _BETA_NAMES}
    moved = {_BETA_NAMES[beta]: change[beta] for beta in change if beta in _BETA_NAMES}
    if isinstance(moved.get("format"), str):
        moved["format"] = {"type": _BETA_FORMATS.get(moved["format"], moved["format"])}
    return _merged({"audio": {"input": moved}}, fields) if moved else fields
