"""The result of a transcription, before a protocol renders it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
    of its window's tokens. ``tokens`` are ids of the model's vocabulary. ``channel`` counts from 0;
    it is None unless the file's channels were transcribed apart.
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
    channel: int | None = None


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
    channels: "tuple[Transcript, ...]" = ()
    """That of each channel, if they were transcribed apart."""


def joined(channels: Sequence[Transcript]) -> Transcript:
    """What is said on all channels of a file, in order of time.

    The language is that of the channel on which most is said.
    """
    main = max(channels, key=lambda one: one.speech_seconds)
    segments = [
        replace(segment, channel=number)
        for number, one in enumerate(channels)
        for segment in one.segments
    ]
    speech_seconds = sum(one.speech_seconds for one in channels)
    return Transcript(
        segments=tuple(sorted(segments, key=lambda segment: segment.start)),
        language=main.language,
        language_probability=main.language_probability,
        duration_seconds=main.duration_seconds,
        speech_seconds=speech_seconds,
        speech_coverage=_coverage(channels),
        engine_seconds=max(one.engine_seconds for one in channels),
        channels=tuple(channels),
    )


def _coverage(channels: Sequence[Transcript]) -> float | None:
    """The share of the speech of all channels that segments cover."""
    known = [
        (one.speech_seconds, one.speech_coverage)
        for one in channels
        if one.speech_coverage is not None
    ]
    if not known:
        return None
    total = sum(seconds for seconds, _ in known)
    return sum(seconds * share for seconds, share in known) / total if total else 1.0
