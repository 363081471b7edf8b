"""Makes segments from what was heard in windows, and from faster-whisper's own.

Blank ones are dropped, and times are in order and inside the audio.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import Segment as FasterSegment
from faster_whisper.transcribe import Word as FasterWord

from serve_app.audio.clip import AudioClip
from serve_app.engine.attempts import Attempt, compression_ratio
from serve_app.engine.coverage import Interval
from serve_app.engine.speech import Cut
from serve_app.engine.window import MEL_FRAMES_PER_SECOND
from serve_app.engine.words import (
    PAUSE_SECONDS,
    Heard,
    HeardWord,
    joined_punctuation,
    split_at_pauses,
)
from serve_app.options import TranscribeOptions
from serve_app.transcript import Segment, Tell, Transcript, Word

LOWEST_LOGPROB = -100.0
"""Stands for a log-probability of minus infinity, which JSON cannot express."""


def segments_of_window(
    whisper: WhisperModel, tokenizer: Tokenizer, cut: Cut, heard: Heard, options: TranscribeOptions
) -> list[FasterSegment]:
    """faster-whisper's segments of one window: one, or as many as its timestamp tokens say.

    If words were asked for, a segment begins and ends with its words.
    """
    best = heard.best
    parts, _, _ = whisper._split_segments_by_timestamps(
        tokenizer=tokenizer,
        tokens=list(best.tokens),
        time_offset=0.0,
        segment_size=0,  # only for where to seek next
        segment_duration=cut.seconds,
        seek=0,
    )
    words = deque(heard.words or ())
    segments = []
    for part in parts:
        n_tokens = len([token for token in part["tokens"] if token < tokenizer.eot])
        own: list[HeardWord] = []
        while words and sum(len(word.tokens) for word in own) < n_tokens:
            own.append(words.popleft().in_clip(cut))
        own = joined_punctuation(own, options.prepend_punctuations, options.append_punctuations)
        if own:
            times = (own[0].start, own[-1].end)
        else:
            # The end of a stretch is not the start of the next one.
            ends = cut.original(part["end"], among=part["end"] - 0.001)
            times = (cut.original(part["start"], among=part["start"]), ends)
        text = tokenizer.decode(part["tokens"])
        segments.append(_faster_segment(times, text, part["tokens"], best, own))
    return segments


def segments_of_words(
    words: Sequence[HeardWord], options: TranscribeOptions
) -> list[FasterSegment]:
    """Segments of words with times in the clip, split at pauses in the speech.

    If the caller asked for ``without_timestamps``, there is one segment for every hearing.
    """
    pause_seconds = math.inf if options.without_timestamps else PAUSE_SECONDS
    marks = (options.prepend_punctuations, options.append_punctuations)
    return [
        _faster_segment(
            (run[0].start, run[-1].end),
            "".join(word.text for word in run),
            [token for word in run for token in word.tokens],
            run[0].attempt,
            run if options.word_timestamps else [],
        )
        for run in split_at_pauses(joined_punctuation(words, *marks), pause_seconds)
    ]


def _faster_segment(
    times: Interval,
    text: str,
    tokens: list[int],
    attempt: Attempt,
    words: Sequence[HeardWord],
) -> FasterSegment:
    start, end = times
    return FasterSegment(
        id=0,
        seek=int(start * MEL_FRAMES_PER_SECOND),
        start=start,
        end=end,
        text=text,
        tokens=tokens,
        avg_logprob=attempt.avg_logprob,
        compression_ratio=compression_ratio(text),
        no_speech_prob=attempt.no_speech_prob,
        words=[FasterWord(w.start, w.end, w.text, w.probability) for w in words] or None,
        temperature=attempt.temperature,
    )


def telling(clip: AudioClip, tell: Tell) -> Callable[[Iterable[Any]], None]:
    """Takes faster-whisper's segments of ``clip``, in order, and passes on what its transcript will
    hold.
    """
    times = _Times(clip.received_seconds)

    def told(segments: Iterable[Any]) -> None:
        for segment in segments:
            if segment.text.strip():
                tell(_segment(segment, times))

    return told


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
    """Rounds times to milliseconds inside [0, duration], with ascending starts.

    Whisper's timestamp tokens count in 0.02 s and may point past the end of short audio. After VAD,
    times are mapped back to the original audio, where rounding may swap two of them.
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
