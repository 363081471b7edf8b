"""The latest audio of a stream, addressed by its place in the whole stream."""

import numpy as np

from serve_app.audio.clip import SAMPLE_RATE_HZ, AudioClip, Samples

PIECE_SAMPLES = SAMPLE_RATE_HZ // 4
"""Audio that comes in shorter pieces is joined, since each piece takes a hundred bytes itself."""


def in_seconds(n_samples: int) -> float:
    """So many samples in seconds."""
    return n_samples / SAMPLE_RATE_HZ


class Tape:
    """Keeps audio from the first sample that may still be needed."""

    def __init__(self) -> None:
        self._start = 0
        self._pieces: list[Samples] = []
        self.end = 0

    def add(self, samples: Samples) -> None:
        """Append ``samples``."""
        self.end += len(samples)
        if self._pieces and len(self._pieces[-1]) < PIECE_SAMPLES:
            samples = np.concatenate([self._pieces.pop(), samples])
        self._pieces.append(samples)

    def clip(self, start: int, end: int) -> AudioClip:
        """The audio from ``start`` to ``end``, in samples of the stream; it has to be there."""
        assert start >= self._start
        [whole] = self._pieces = [np.concatenate([np.zeros(0, np.int16), *self._pieces])]
        samples = whole[start - self._start : end - self._start].copy()
        return AudioClip.of(samples)

    def forget(self, before: int) -> None:
        """Drop the audio before a sample of the stream, in whole pieces."""
        while self._pieces and self._start + len(self._pieces[0]) <= before:
            self._start += len(self._pieces.pop(0))
        if self._pieces and before - self._start > SAMPLE_RATE_HZ:
            self._pieces[0] = self._pieces[0][before - self._start :].copy()
            self._start = before
