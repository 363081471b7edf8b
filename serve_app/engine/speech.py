"""Where there is speech in a clip, and how it is cut into windows.

Voice activity detection is Silero VAD as faster-whisper runs it. Positions are in samples, 16 kHz.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from faster_whisper.feature_extractor import FeatureExtractor
from faster_whisper.vad import VadOptions, get_speech_timestamps

from serve_app.audio.clip import SAMPLE_RATE_HZ, AudioClip
from serve_app.engine.coverage import Interval
from serve_app.engine.request import WINDOW_SECONDS
from serve_app.engine.window import Window, context_seconds
from serve_app.options import TranscribeOptions

SILENCE_PEAK = 8 / 32768
"""Audio whose samples all stay below 8 of 32768 (-72 dBFS) holds no speech: dither and line noise
of a muted source. Decoded without VAD, Whisper would hear words in it."""

SHORTEST_SECONDS = 0.2
"""Nobody says a word in less, but Whisper hears one in noise however short it is."""

BATCHED_SILENCE_MS = 160
"""Silence that ends a stretch of speech in faster-whisper's batched pipeline, unless told."""

Samples = npt.NDArray[np.float32]

Stretch = tuple[int, int]
"""Start and end, in samples."""


@dataclass(frozen=True)
class Cut:
    """The stretches of a clip that one window holds, one after the other.

    ``offset_seconds`` is where the window begins on the time line of its transcript.
    """

    stretches: tuple[Stretch, ...]
    offset_seconds: float

    @property
    def seconds(self) -> float:
        """The audio in it."""
        return total_samples(self.stretches) / SAMPLE_RATE_HZ

    def audio(self, samples: Samples) -> Samples:
        """Its stretches of ``samples``, joined."""
        return np.concatenate([samples[start:end] for start, end in self.stretches])

    @property
    def intervals(self) -> tuple[Interval, ...]:
        """Its stretches from the start of the window, in seconds."""
        edges = [0.0, *accumulate((end - start) / SAMPLE_RATE_HZ for start, end in self.stretches)]
        return tuple(pairwise(edges))

    def original(self, seconds: float, among: float) -> float:
        """Where a time of the window lies in the clip, in the stretch that holds ``among``."""
        ends = [end for _, end in self.intervals]
        place = min(bisect_right(ends, among), len(ends) - 1)
        start, end = self.stretches[place]
        inside = start / SAMPLE_RATE_HZ + seconds - self.intervals[place][0]
        return min(max(inside, start / SAMPLE_RATE_HZ), end / SAMPLE_RATE_HZ)

    def window(self, samples: Samples, extract: FeatureExtractor) -> Window:
        """Compute the window's features; takes 10 ms and more."""
        return Window(extract(self.audio(samples))[..., :-1], self.intervals)


def audible(clip: AudioClip) -> Samples | None:
    """The samples of ``clip``; None if nobody can be heard in them."""
    samples = clip.float32()
    if clip.seconds < SHORTEST_SECONDS:
        return None
    return samples if max(samples.max(), -samples.min()) >= SILENCE_PEAK else None


def uses_vad(options: TranscribeOptions) -> bool:
    """Whether VAD decides what is heard."""
    return options.vad_filter and not options.clip_timestamps


def find_speech(samples: Samples, options: TranscribeOptions, *, batched: bool) -> list[Stretch]:
    """The stretches of speech, ascending and apart, as the pipeline of that kind cuts them."""
    given = options.vad_parameters.given() if options.vad_parameters else {}
    if batched:
        given = given or {"min_silence_duration_ms": BATCHED_SILENCE_MS}
        given["max_speech_duration_s"] = longest_window(options)
    found = get_speech_timestamps(samples, VadOptions(**given))
    return [(stretch["start"], stretch["end"]) for stretch in found]


def cut_speech(speech: Sequence[Stretch], longest_seconds: float) -> list[Cut]:
    """Windows of at most ``longest_seconds``, filled with stretches of speech in order.

    Their time line is that of the speech alone, as if the pauses were cut out. Stretches that touch
    become one: VAD cuts short pauses in the middle.
    """
    cuts: list[Cut] = []
    held: list[Stretch] = []
    before = 0
    for stretch in speech:
        if held and total_samples([*held, stretch]) > longest_seconds * SAMPLE_RATE_HZ:
            cuts.append(Cut(tuple(held), before / SAMPLE_RATE_HZ))
            before += total_samples(held)
            held = []
        if held and held[-1][1] == stretch[0]:
            held[-1] = (held[-1][0], stretch[1])
        else:
            held.append(stretch)
    return [*cuts, Cut(tuple(held), before / SAMPLE_RATE_HZ)] if held else cuts


def cut_clips(clips: Iterable[tuple[float, float]]) -> list[Cut]:
    """A window for each clip, given in seconds; their time line is that of the audio."""
    stretches = [(int(s * SAMPLE_RATE_HZ), int(e * SAMPLE_RATE_HZ)) for s, e in clips]
    return [Cut((one,), one[0] / SAMPLE_RATE_HZ) for one in stretches if one[0] < one[1]]


def total_samples(stretches: Iterable[Stretch]) -> int:
    """Their lengths together."""
    return sum(end - start for start, end in stretches)


def as_dicts(speech: Iterable[Stretch]) -> list[dict[str, Any]]:
    """Stretches as faster-whisper writes them."""
    return [{"start": start, "end": end} for start, end in speech]


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


def expected_work_seconds(
    options: TranscribeOptions, seconds: float, *, partial_context: bool = False
) -> float:
    """Window seconds that ``seconds`` of speech take at least, padding included."""
    batched = is_batched(options, seconds)
    longest = longest_window(options) if batched else WINDOW_SECONDS
    clips = clips_within(options, seconds)
    lengths = [seconds] if clips is None else [end - start for start, end in clips]
    n_full = sum(int(length // longest) for length in lengths)
    rests = [rest for length in lengths if (rest := length % longest)]
    if not (batched and partial_context):
        return WINDOW_SECONDS * (n_full + len(rests))
    return n_full * context_seconds(longest) + sum(map(context_seconds, rests))
