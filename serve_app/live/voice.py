"""Whether somebody speaks, told while the audio comes. No model but VAD hears it."""

import asyncio
import uuid

from serve_app.audio.clip import SAMPLE_RATE_HZ, Samples
from serve_app.engine.vad import CHUNK_SAMPLES, SpeechProbability
from serve_app.live.endpointing import is_quiet
from serve_app.live.options import LiveOptions
from serve_app.live.session import BLOCK_SAMPLES


class Voice:
    """One stream. Speech begins with the first chunk that is likely enough, and ends with the
    first unlikely one after ``options.min_speech_seconds``.
    """

    def __init__(self, options: LiveOptions) -> None:
        self.id = uuid.uuid4().hex
        self._options = options
        self._n_samples = 0
        self._changes: list[bool] = []
        self.reset()

    @property
    def seconds(self) -> float:
        """How much audio has come."""
        return self._n_samples / SAMPLE_RATE_HZ

    async def feed(self, samples: Samples) -> None:
        """Take the next audio, int16 at 16 kHz."""
        self._n_samples += len(samples)
        for start in range(0, len(samples), BLOCK_SAMPLES):
            for probability in self._probability.feed(samples[start : start + BLOCK_SAMPLES]):
                self._step(float(probability))
            await asyncio.sleep(0)

    def changes(self) -> list[bool]:
        """What has changed since the last call: True where speech began, False where it ended."""
        changes, self._changes = self._changes, []
        return changes

    def reset(self) -> None:
        """Begin anew, in silence."""
        self._probability = SpeechProbability()
        self._n_chunks: int | None = None  # of the speech that goes on

    async def close(self) -> None:
        """Nothing is left to end."""

    def _step(self, probability: float) -> None:
        if self._n_chunks is None:
            if probability >= self._options.threshold:
                self._n_chunks = 1
                self._changes.append(True)
            return
        spoken_seconds = self._n_chunks * CHUNK_SAMPLES / SAMPLE_RATE_HZ
        is_long = spoken_seconds >= self._options.min_speech_seconds
        if is_long and is_quiet(probability, self._options):
            self._n_chunks = None
            self._changes.append(False)
        else:
            self._n_chunks += 1
