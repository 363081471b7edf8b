"""What the protocol adapters see of the engine: one call. They know neither Ray nor CTranslate2."""

from typing import Protocol

from serve_app.audio.clip import AudioClip
from serve_app.options import ModelFacts, TranscribeOptions
from serve_app.transcript import Transcript


class SpeechCore(Protocol):
    """Audio and options in, transcript out."""

    async def transcribe(self, clip: AudioClip, options: TranscribeOptions) -> Transcript:
        """Transcribe one clip.

        Raises ``WhisperOxError``: ``InvalidOption`` where options do not fit the model,
        ``NotReady`` while no replica serves, ``Overloaded`` when the queue is full. Cancelling the
        call frees the request's queued windows.
        """
        ...

    async def model(self) -> ModelFacts:
        """The model being served. Raises ``NotReady`` until a replica has decoded a clip."""
        ...
