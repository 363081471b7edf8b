"""How many windows a request takes, and what they cost, as far as its options and length tell.

Even the shortest window costs as much as several seconds of audio. So a request is limited and
charged by its windows: a second of audio cut into a thousand clips is a thousand windows.
"""

from collections.abc import Sequence

from serve_app.caller import Priority
from serve_app.engine.request import WINDOW_SECONDS, Demand
from serve_app.engine.window import short_context
from serve_app.errors import AudioTooLarge, InvalidOption
from serve_app.options import TranscribeOptions


def longest_window(options: TranscribeOptions) -> float:
    """The longest window that a request asks for, in seconds."""
    return options.chunk_length or WINDOW_SECONDS


def clips_within(options: TranscribeOptions, seconds: float) -> list[tuple[float, float]] | None:
    """The (start, end) pairs in seconds that ``clip_timestamps`` selects; None if nothing is
    selected.

    Pairs beyond the end of the audio are cut or dropped.
    """
    if not options.clip_timestamps:
        return None
    pairs = [(start, min(end or seconds, seconds)) for start, end in options.clip_timestamps]
    return [(start, end) for start, end in pairs if start < end]


def is_batched(options: TranscribeOptions, seconds: float) -> bool:
    """Whether the windows of a request are heard in parallel, or else one after the other.

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


def expected_windows(options: TranscribeOptions, seconds: float) -> Sequence[float]:
    """The seconds of audio in each window; ``seconds`` of speech take at least these windows."""
    clips = clips_within(options, seconds)
    longest = longest_window(options)
    if clips is not None and is_batched(options, seconds):
        longest = WINDOW_SECONDS  # each clip is one window there
    windows: list[float] = []
    for length in [seconds] if clips is None else [end - start for start, end in clips]:
        rest = length % longest
        windows += [longest] * int(length // longest) + [rest] * (rest > 0)
    return windows


def expected_work_seconds(
    options: TranscribeOptions, seconds: float, *, partial_context: bool = False
) -> float:
    """What :func:`expected_windows` cost, in window seconds."""
    windows = expected_windows(options, seconds)
    if partial_context and is_batched(options, seconds):
        return sum(short_context(window).seconds for window in windows)
    return WINDOW_SECONDS * len(windows)


def least_work_seconds(options: TranscribeOptions, seconds: float) -> float:
    """The least that a request costs, whatever the settings of the engine."""
    return expected_work_seconds(options, seconds, partial_context=True)


def least_demand(options: TranscribeOptions, seconds: float, priority: Priority) -> Demand:
    """What a request of so many seconds asks of an engine whose settings are not known."""
    return Demand(seconds, least_work_seconds(options, seconds), priority)


def check_windows(
    options: TranscribeOptions, seconds: float, most: int, n_channels: int = 1
) -> None:
    """Raise if a request takes more than ``most`` windows for all channels of so many seconds.

    ``InvalidOption`` names the option that makes so many. Without such an option it is
    ``AudioTooLarge``.
    """
    n_windows = n_channels * len(expected_windows(options, seconds))
    if n_windows <= most:
        return
    total = n_channels * seconds
    came = f"{total:g} s of audio would make {n_windows} windows; this server takes {most}."
    if options.clip_timestamps:
        raise InvalidOption(
            f"clip_timestamps: {came} Select fewer or shorter stretches.",
            field="clip_timestamps",
        )
    if options.chunk_length:
        least = -(-total // most)
        raise InvalidOption(
            f"chunk_length is {options.chunk_length}: {came} For this audio it must be at least "
            f"{least:g}.",
            field="chunk_length",
        )
    raise AudioTooLarge(f"The {came} Send it in shorter files.")
