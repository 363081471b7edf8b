"""The result of a transcription, before a protocol renders it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

Stretch = tuple[int, int]
"""Start and end of a stretch of audio, in samples at 16 kHz."""


@dataclass(frozen=True)
class Word:
    """One word. Times are in seconds from the start of the received audio; probability is in [0,
    1].
    """

    start: float
    end: float
    word: str
    probability: float


@dataclass(frozen=True)
class Segment:
    """One segment. Times are in seconds from the start of the received audio.

    ``text`` is as decoded and may start with a space. ``avg_logprob`` is the mean log-probability
    of its window's tokens. ``tokens`` are ids of the model's vocabulary.
    """

    start: float
    end: float
    text: str
    avg_logprob: float
    no_speech_prob: float
    compression_ratio: float
    temperature: float
    seek: int
    tokens: tuple[int, ...]
    words: tuple[Word, ...] | None


Tell: TypeAlias = Callable[[Segment], None]
"""Called with each segment as soon as it is final, in order of time."""


@dataclass(frozen=True)
class Transcript:
    """The result of one request. ``duration_seconds`` is that of the audio as received."""

    segments: tuple[Segment, ...]
    language: str
    language_probability: float
    duration_seconds: float
    speech_seconds: float
    """Seconds of audio that VAD kept."""
    speech_coverage: float | None = None
    """Share of that speech which segments cover, in [0, 1]; None without VAD."""
    engine_seconds: float = 0.0
    """Seconds from the clip's arrival in the engine to its last segment."""
