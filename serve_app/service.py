"""What the protocol adapters see of the engine. They know neither Ray nor CTranslate2."""

from typing import Protocol

from serve_app.audio.clip import AudioClip
from serve_app.caller import Caller
from serve_app.options import ModelFacts, TranscribeOptions, VadParameters
from serve_app.transcript import Stretch, Transcript


class SpeechService(Protocol):
    """Audio and options in, transcript out."""

    async def admit(self, caller: Caller, body_bytes: int | None) -> None:
        """Ask before a body is read whether its audio may come.

        ``body_bytes``: what the request's head announces, None if it does not. Raises ``NotReady``
        while no replica serves and ``Overloaded`` while none would queue such a request.
        """

    async def transcribe(
        self, clip: AudioClip, options: TranscribeOptions, caller: Caller
    ) -> Transcript:
        """Transcribe one clip.

        Raises ``WhisperOxError``: ``InvalidOption`` where options do not fit the model,
        ``NotReady`` while no replica serves, ``Overloaded`` when the queue is full. Cancelling the
        call frees the request's queued windows.
        """

    async def detect_speech(
        self, clip: AudioClip, parameters: VadParameters, caller: Caller
    ) -> list[Stretch]:
        """Where somebody speaks in one clip: stretches that are ascending and apart.

        Raises ``NotReady`` while no replica serves. Cancelling the call ends the search.
        """

    async def model(self) -> ModelFacts:
        """The model being served. Raises ``NotReady`` until a replica has transcribed a clip."""
