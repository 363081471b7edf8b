"""What the protocol adapters see of the engine. They know neither Ray nor CTranslate2."""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from serve_app.audio.clip import AudioClip
from serve_app.options import ModelFacts, TranscribeOptions
from serve_app.transcript import Transcript


class Priority(Enum):
    """Who goes first within fairness; AUTO: the first minute of audio is interactive."""

    AUTO = "auto"
    INTERACTIVE = "interactive"
    BULK = "bulk"


@dataclass(frozen=True)
class Caller:
    """On whose behalf the core works: for log lines, quotas and the order of work.

    ``key`` is the name of the API key, "" where the server is open. ``traceparent`` is the span of
    the caller's request in W3C's form, "" while nothing is traced.
    """

    request_id: str
    key: str = ""
    priority: Priority = Priority.AUTO
    traceparent: str = ""


class SpeechCore(Protocol):
    """Audio and options in, transcript out."""

    async def admit(self, caller: Caller, body_bytes: int | None) -> None:
        """Ask before a body is read whether its audio may come.

        ``body_bytes``: what the request's head announces, None if it does not. Raises ``NotReady``
        while no replica serves and ``Overloaded`` while none would queue such a request.
        """
        ...

    async def transcribe(
        self, clip: AudioClip, options: TranscribeOptions, caller: Caller
    ) -> Transcript:
        """Transcribe one clip.

        Raises ``WhisperOxError``: ``InvalidOption`` where options do not fit the model,
        ``NotReady`` while no replica serves, ``Overloaded`` when the queue is full. Cancelling the
        call frees the request's queued windows.
        """
        ...

    async def model(self) -> ModelFacts:
        """The model being served. Raises ``NotReady`` until a replica has decoded a clip."""
        ...
