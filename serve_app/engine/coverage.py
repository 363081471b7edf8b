"""Speech that VAD heard against what the segments cover: nothing may be lost in silence."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

Interval = tuple[float, float]
"""Start and end in seconds."""

MIN_GAP_SECONDS = 3.0
"""Shorter gaps are pauses, breath and the coarse edges of VAD and of timestamps: of 15 between 1
and 3 s in the corpus' English, decoding again found "Um." in two and "And..." in one."""


def uncovered(speech: Iterable[Interval], segments: Iterable[Interval]) -> list[Interval]:
    """The parts of ``speech``, at least ``MIN_GAP_SECONDS`` long, that no segment overlaps.

    ``speech`` is ascending without overlaps, as VAD gives it; ``segments`` in any order.
    """
    covers = sorted(segments)
    gaps: list[Interval] = []
    for start, end in speech:
        position = start
        for cover_start, cover_end in covers:
            if cover_end <= position:
                continue
            if cover_start >= end:
                break
            gaps.append((position, min(cover_start, end)))
            position = max(position, cover_end)
        gaps.append((position, end))
    return [(start, end) for start, end in gaps if end - start >= MIN_GAP_SECONDS]


def coverage(speech: Sequence[Interval], gaps: Sequence[Interval]) -> float:
    """Share of ``speech`` outside ``gaps``, in [0, 1]; 1.0 where nobody speaks."""
    total = total_seconds(speech)
    return 1.0 if total <= 0 else max(0.0, 1 - total_seconds(gaps) / total)


def clips(gaps: Iterable[Interval], longest: float) -> list[Interval]:
    """Gaps cut into pieces of at most ``longest`` seconds."""
    pieces: list[Interval] = []
    for start, end in gaps:
        # A sum of floats may exceed a whole number of pieces by a rounding: no piece of no samples.
        n_pieces = max(1, math.ceil((end - start) / longest - 1e-6))
        edges = [start + n * longest for n in range(n_pieces)] + [end]
        pieces += pairwise(edges)
    return pieces


def total_seconds(intervals: Iterable[Interval]) -> float:
    """Their lengths together, in seconds."""
    return sum(end - start for start, end in intervals)
