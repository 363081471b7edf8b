"""One request's options as faster-whisper's arguments, and its segments as our transcript."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from serve_app.audio.clip import AudioClip
from serve_app.options import TranscribeOptions
from serve_app.transcript import Segment, Transcript, Word

WINDOW_SECONDS = 30.0
"""Whisper's receptive field, the longest window (Radford et al. 2022, section 2.2)."""

LOWEST_LOGPROB = -100.0
"""Stands for a log-probability of minus infinity, which JSON cannot carry."""

_NOT_FASTER_WHISPERS = {"batch_size", "without_timestamps", "vad_parameters", "clip_timestamps"}


def clips_within(options: TranscribeOptions, seconds: float) -> list[tuple[float, float]] | None:
    """The (start, end) pairs in seconds that ``clip_timestamps`` selects of the audio.

    None where the caller selected nothing; pairs beyond the audio's end are cut or dropped.
    """
    if not options.clip_timestamps:
        return None
    pairs = [(start, min(end or seconds, seconds)) for start, end in options.clip_timestamps]
    return [(start, end) for start, end in pairs if start < end]


def is_batched(options: TranscribeOptions, seconds: float) -> bool:
    """Whether the request runs on ``BatchedInferencePipeline`` (else on the sequential one).

    ``batch_size`` 1 asks for the sequential pipeline, the only one that conditions on previous
    text. The batched one also cannot take token ids as prompt, refuses longer audio without VAD,
    and would drop what a clip has beyond one window.
    """
    if options.batch_size == 1 or isinstance(options.initial_prompt, tuple):
        return False
    clips = clips_within(options, seconds)
    if clips is not None:
        return all(end - start <= WINDOW_SECONDS for start, end in clips)
    return options.vad_filter or seconds < (options.chunk_length or WINDOW_SECONDS)


def expected_work_seconds(
    options: TranscribeOptions, seconds: float, *, detects_language: bool
) -> float:
    """Window seconds, padding included, that ``seconds`` of speech take at least.

    To detect the language the batched pipeline encodes a window besides.
    """
    batched = is_batched(options, seconds)
    longest = options.chunk_length if batched and options.chunk_length else WINDOW_SECONDS
    clips = clips_within(options, seconds)
    lengths = [seconds] if clips is None else [end - start for start, end in clips]
    windows = sum(math.ceil(length / longest) for length in lengths)
    if windows and batched and detects_language:
        windows += 1
    return windows * WINDOW_SECONDS


def pipeline_arguments(
    options: TranscribeOptions, seconds: float, *, batched: bool
) -> dict[str, Any]:
    """Keyword arguments of ``transcribe`` for audio of ``seconds``."""
    arguments = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in options
        if name not in _NOT_FASTER_WHISPERS
    }
    if options.without_timestamps is not None:  # the pipelines' own defaults differ
        arguments["without_timestamps"] = options.without_timestamps
    if options.vad_parameters is not None:
        arguments["vad_parameters"] = options.vad_parameters.given()
    clips = clips_within(options, seconds)
    if batched:
        arguments["batch_size"] = options.batch_size
        if clips is not None:
            arguments["clip_timestamps"] = [{"start": start, "end": end} for start, end in clips]
    elif clips is not None:
        arguments["clip_timestamps"] = [time for pair in clips for time in pair]
    return arguments


def to_transcript(
    segments: Iterable[Any],
    *,
    language: str,
    clip: AudioClip,
    language_probability: float = 0.0,
    speech_seconds: float = 0.0,
    speech_coverage: float | None = None,
) -> Transcript:
    """faster-whisper's segments in ours: blank ones dropped, times in order and in the audio."""
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

    Whisper's timestamp tokens count in 0.02 s and may point past the end of short audio; after VAD
    they are mapped back to the original, where two may cross by a rounding.
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
