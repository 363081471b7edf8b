"""What the protocol adapters see of the engine: one call. They know neither Ray nor CTranslate2."""

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

    ``key`` is the name of the API key, "" where the server is open.
    """

    request_id: str
    key: str = ""
    priority: Priority = Priority.AUTO


class SpeechCore(Protocol):
    """Audio and options in, transcript out."""

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
