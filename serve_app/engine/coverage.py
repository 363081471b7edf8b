"""How much of the speech that VAD found is covered by words."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Interval = tuple[float, float]
"""Start and end in seconds."""

MIN_GAP_SECONDS = 0.8
"""Shorter gaps are pauses, breath, and the padding that VAD leaves around speech."""


@dataclass(frozen=True)
class Coverage:
    """Seconds of speech, of speech that the first hearing left out, and of speech still missing."""

    speech_seconds: float
    lost_seconds: float
    missing_seconds: float

    @classmethod
    def of(
        cls, speech: Sequence[Interval], lost: Sequence[Interval], missing: Sequence[Interval]
    ) -> "Coverage":
        """From the intervals themselves."""
        return cls(*map(total_seconds, (speech, lost, missing)))

    def __add__(self, other: "Coverage") -> "Coverage":
        return Coverage(
            self.speech_seconds + other.speech_seconds,
            self.lost_seconds + other.lost_seconds,
            self.missing_seconds + other.missing_seconds,
        )

    @property
    def share(self) -> float:
        """Share of the speech that is covered now, in [0, 1]; 1.0 if there is none."""
        if self.speech_seconds <= 0:
            return 1.0
        return max(0.0, 1 - self.missing_seconds / self.speech_seconds)


def uncovered(speech: Iterable[Interval], spoken: Iterable[Interval]) -> list[Interval]:
    """The parts of ``speech`` of at least ``MIN_GAP_SECONDS`` in which no word is ``spoken``.

    ``speech`` is ascending without overlaps, as VAD returns it. ``spoken`` are the times of words,
    in any order.
    """
    covers = sorted(spoken)
    gaps: list[Interval] = []
    past = 0
    for start, end in speech:
        while past < len(covers) and covers[past][1] <= start:
            past += 1
        position = start
        for number in range(past, len(covers)):
            cover_start, cover_end = covers[number]
            if cover_end <= position:
                continue
            if cover_start >= end:
                break
            gaps.append((position, min(cover_start, end)))
            position = max(position, cover_end)
        gaps.append((position, end))
    return [(start, end) for start, end in gaps if end - start >= MIN_GAP_SECONDS]


def total_seconds(intervals: Iterable[Interval]) -> float:
    """The sum of their lengths, in seconds."""
    return sum(end - start for start, end in intervals)
