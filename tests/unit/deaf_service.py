"""A service without an engine, to test what stands in front of it."""

from serve_app.audio.clip import AudioClip
from serve_app.caller import Caller
from serve_app.errors import NotReady
from serve_app.options import ModelFacts, TranscribeOptions, VadParameters
from serve_app.service import LiveLoad
from serve_app.transcript import Stretch, Tell, Transcript


class DeafService:
    """Hears nothing in any audio, or raises its ``error``."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.callers: list[Caller] = []

    async def admit(self, caller: Caller, body_bytes: int | None) -> None:
        if self.error:
            raise self.error

    async def transcribe(
        self,
        clip: AudioClip,
        options: TranscribeOptions,
        caller: Caller,
        tell: Tell | None = None,
    ) -> Transcript:
        self.callers.append(caller)
        if self.error:
            raise self.error
        return Transcript((), "en", 1.0, clip.received_seconds, 0.0)

    async def detect_speech(
        self, clip: AudioClip, parameters: VadParameters, caller: Caller
    ) -> list[Stretch]:
        return []

    async def live_load(self) -> LiveLoad:
        return LiveLoad()

    async def model(self) -> ModelFacts:
        raise NotReady("deaf")
