"""Which pipeline a request runs on, and how much work it is expected to bring."""

import math

from serve_app.engine.request import WINDOW_SECONDS
from serve_app.options import TranscribeOptions


def longest_window(options: TranscribeOptions) -> float:
    """The longest window that a request asks for, in seconds."""
    return options.chunk_length or WINDOW_SECONDS


def clips_within(options: TranscribeOptions, seconds: float) -> list[tuple[float, float]] | None:
    """The (start, end) pairs in seconds that ``clip_timestamps`` selects of the audio.

    None if the caller selected nothing. Pairs beyond the end of the audio are cut or dropped.
    """
    if not options.clip_timestamps:
        return None
    pairs = [(start, min(end or seconds, seconds)) for start, end in options.clip_timestamps]
    return [(start, end) for start, end in pairs if start < end]


def is_batched(options: TranscribeOptions, seconds: float) -> bool:
    """Whether the windows of a request are heard in parallel; else one after the other.

    ``batch_size`` 1 asks for the sequential pipeline, the only one that conditions on previous
    text. It also takes what cannot be cut into windows beforehand: longer audio without VAD, and
    clips that are longer than a window.
    """
    if options.batch_size == 1:
        return False
    clips = clips_within(options, seconds)
    if clips is not None:
        return all(end - start <= WINDOW_SECONDS for start, end in clips)
    return options.vad_filter or seconds < longest_window(options)


def expected_work_seconds(options: TranscribeOptions, seconds: float) -> float:
    """Window seconds that ``seconds`` of speech take at least, padding included."""
    longest = longest_window(options) if is_batched(options, seconds) else WINDOW_SECONDS
    clips = clips_within(options, seconds)
    lengths = [seconds] if clips is None else [end - start for start, end in clips]
    return WINDOW_SECONDS * sum(math.ceil(length / longest) for length in lengths)
