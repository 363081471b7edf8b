"""faster-whisper's segments as ours: blank ones dropped, times in order and inside the audio."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from serve_app.audio.clip import AudioClip
from serve_app.transcript import Segment, Transcript, Word

LOWEST_LOGPROB = -100.0
"""Stands for a log-probability of minus infinity, which JSON cannot carry."""


def to_transcript(
    segments: Iterable[Any],
    *,
    language: str,
    clip: AudioClip,
    language_probability: float = 0.0,
    speech_seconds: float = 0.0,
    speech_coverage: float | None = None,
) -> Transcript:
    """The transcript of ``clip`` from faster-whisper's segments."""
    times = _Times(clip.received_seconds)
    return Transcript(
        segments=tuple(_segment(s, times) for s in segments if s.text.strip()),
        language=language,
        language_probability=language_probability,
        duration_seconds=clip.received_seconds,
        speech_seconds=speech_seconds,
        speech_coverage=speech_coverage,
    )


def _segment(segment: Any, times: "_Times") -> Segment:
    start, end = times.next(segment.start, segment.end)
    return Segment(
        start=start,
        end=end,
        text=segment.text,
        avg_logprob=_finite(segment.avg_logprob),
        no_speech_prob=segment.no_speech_prob,
        compression_ratio=segment.compression_ratio,
        temperature=segment.temperature,
        seek=segment.seek,
        tokens=tuple(segment.tokens),
        words=None if segment.words is None else _words(segment.words, times.duration),
    )


def _words(words: Sequence[Any], duration: float) -> tuple[Word, ...]:
    times = _Times(duration)
    return tuple(
        Word(*times.next(word.start, word.end), word.word, float(word.probability))
        for word in words
    )


class _Times:
    """Brings times to whole milliseconds inside [0, duration] with ascending starts.

    Whisper's timestamp tokens count in 0.02 s and may point past the end of short audio. After VAD
    times are mapped back to the original audio, where two of them may cross by a rounding.
    """

    def __init__(self, duration: float) -> None:
        self.duration = duration
        self._last = math.floor(duration * 1000) / 1000
        self._previous_start = 0.0

    def next(self, start: float, end: float) -> tuple[float, float]:
        # faster-whisper's times are numpy floats where words were aligned.
        start = min(max(round(float(start), 3), self._previous_start), self._last)
        self._previous_start = start
        return start, min(max(round(float(end), 3), start), self._last)


def _finite(logprob: float) -> float:
    return float(logprob) if math.isfinite(logprob) else LOWEST_LOGPROB
