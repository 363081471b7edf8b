"""Speech for requests of an exact length, as the speech service cuts it off a stream.

A chunk of whole clips (see :func:`loadtest.load.english_chunks`) that is a little too short is
filled up with silence, and its reference stays exact; one that is longer is cut where the service's
buffer is full, in the middle of a word if need be, and has no reference.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from loadtest.dictation import Habit
from loadtest.load import SHORTEST_CHUNK, Chunk, english_chunks
from loadtest.wav import SAMPLE_RATE_HZ, pcm16_wav
from serve_app.errors import WhisperOxError

WAV_HEADER_BYTES = 44
FULL_SCALE = 32_768.0


@dataclass(frozen=True)
class Utterance:
    """What one request carries: a WAV of ``seconds``; ``text`` is None where it was cut."""

    name: str
    audio: bytes
    seconds: float
    text: str | None


class Speech:
    """Utterances of any length from a stock of ``chunks``, which :mod:`loadtest.wav` has made."""

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self._chunks = sorted(chunks, key=lambda chunk: (chunk.seconds, chunk.name))

    def utterance(self, seconds: float, pick: int) -> Utterance:
        """``seconds`` of speech; ``pick``, any whole number, chooses which.

        Preferred are chunks of about that length, then longer ones. Raises ``WhisperOxError`` where
        there are only shorter ones.
        """
        among = self._among(seconds)
        return _cut(among[pick % len(among)], seconds)

    def every(self, seconds: float) -> list[Utterance]:
        """All different utterances of that length, in the order of their picks from 0."""
        return [_cut(chunk, seconds) for chunk in self._among(seconds)]

    def _among(self, seconds: float) -> list[Chunk]:
        fitting = [c for c in self._chunks if SHORTEST_CHUNK * seconds <= c.seconds]
        if not fitting:
            raise WhisperOxError(f"there is no English speech of {seconds:g} s in one piece")
        near = [c for c in fitting if SHORTEST_CHUNK * c.seconds <= seconds]
        return near or fitting


def speech_of(habit: Habit) -> Speech:
    """The stock from which every request of people with ``habit`` can be made."""
    if habit.chunk_seconds:
        return Speech(english_chunks(habit.chunk_seconds))
    shares = (0.5, 0.75, 1.0, 1.25, 1.5)
    return Speech([c for share in shares for c in english_chunks(share * habit.dictation_seconds)])


def _cut(chunk: Chunk, seconds: float) -> Utterance:
    n_samples = round(seconds * SAMPLE_RATE_HZ)
    samples = np.frombuffer(chunk.audio[WAV_HEADER_BYTES:], dtype="<i2")
    is_whole = len(samples) <= n_samples
    cut = np.zeros(n_samples, dtype=np.float32)
    kept = min(len(samples), n_samples)
    cut[:kept] = samples[:kept] / FULL_SCALE
    return Utterance(
        name=chunk.name,
        audio=pcm16_wav(cut),
        seconds=n_samples / SAMPLE_RATE_HZ,
        text=chunk.text if is_whole else None,
    )
