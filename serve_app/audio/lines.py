"""Collects the samples of one pass over a file: one line for the mix, or one for each channel."""

from collections.abc import Callable, Sequence
from functools import partial

from serve_app.audio.clip import SAMPLE_RATE_HZ

Write = Callable[[memoryview], object]
"""Takes the next samples, as bytes of int16."""

_PIECE_BYTES = 131_072


class Lines:
    """Lines of samples that stay in step with each other.

    The lines in use at the end, the first ``n_used``, have equal length. A channel that exists only
    in a part of the file is silent in the rest.
    """

    def __init__(self, writes: Sequence[Write]) -> None:
        self.n_used = 1
        self._writes = writes
        self._lengths = [0] * len(writes)

    def __len__(self) -> int:
        return len(self._writes)

    def first(self, count: int) -> list[Write]:
        """Begin to write to the first ``count`` lines, where the longest one ends."""
        self.n_used = max(self.n_used, count)
        self.align()
        return [partial(self._write, number) for number in range(count)]

    def align(self) -> None:
        """Extend the lines in use to the length of the longest one."""
        self.write_silence(0.0)

    def write_silence(self, seconds: float) -> None:
        """Write silence to every line in use, after the end of the longest one."""
        end = max(self._lengths) + 2 * round(seconds * SAMPLE_RATE_HZ)
        for number in range(self.n_used):
            while (missing := end - self._lengths[number]) > 0:
                self._write(number, memoryview(bytes(min(missing, _PIECE_BYTES))))

    def _write(self, number: int, piece: memoryview) -> None:
        self._lengths[number] += len(piece)
        self._writes[number](piece)
