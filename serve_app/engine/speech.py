"""Where a clip holds speech, and how it is cut into windows.

Voice activity detection is Silero VAD as faster-whisper runs it. Positions are in samples at 16
kHz.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from faster_whisper.feature_extractor import FeatureExtractor
from faster_whisper.vad import VadOptions

from serve_app.audio.clip import SAMPLE_RATE_HZ, Samples, as_float32
from serve_app.audio.level import SILENCE_PEAK
from serve_app.engine.coverage import MIN_GAP_SECONDS, Interval
from serve_app.engine.request import WINDOW_SECONDS
from serve_app.engine.vad import speech_stretches
from serve_app.engine.window import Window
from serve_app.engine.work import longest_window
from serve_app.options import TranscribeOptions
from serve_app.transcript import Stretch

SHORTEST_SECONDS = 0.2
"""Nobody says a word in less time, but Whisper hears one in noise however short it is."""

BATCHED_SILENCE_MS = 160
"""Silence that ends a stretch of speech in faster-whisper's batched pipeline by default."""

ONSET_SECONDS = 0.1
"""How late VAD may notice that somebody speaks."""

LONGEST_LEAD_SECONDS = MIN_GAP_SECONDS - 0.1
"""More silence before a first word would count as speech without words."""


@dataclass(frozen=True)
class Cut:
    """The stretches of a clip that one window holds, one after the other.

    ``leads``: how many seconds at the start of each stretch are silence that VAD has left before
    the speech; empty if that is not known.
    """

    stretches: tuple[Stretch, ...]
    leads: tuple[float, ...] = ()

    @property
    def seconds(self) -> float:
        """Seconds of audio in it."""
        return total_samples(self.stretches) / SAMPLE_RATE_HZ

    def audio(self, samples: Samples) -> Samples:
        """Its stretches of ``samples``, joined. A single stretch is not copied."""
        parts = [samples[start:end] for start, end in self.stretches]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    @cached_property
    def intervals(self) -> tuple[Interval, ...]:
        """Its stretches from the start of the window, in seconds."""
        edges = [0.0, *accumulate((end - start) / SAMPLE_RATE_HZ for start, end in self.stretches)]
        return tuple(pairwise(edges))

    def original(self, seconds: float, among: float) -> float:
        """Where a time of the window lies in the clip, in the stretch that holds ``among``."""
        place = self._place(among)
        start, end = self.stretches[place]
        inside = start / SAMPLE_RATE_HZ + seconds - self.intervals[place][0]
        return min(max(inside, start / SAMPLE_RATE_HZ), end / SAMPLE_RATE_HZ)

    def spoken_from(self, among: float) -> float:
        """When speech begins in the stretch that holds ``among``; both in the window's time."""
        place = self._place(among)
        return self.intervals[place][0] + (self.leads[place] if self.leads else 0.0)

    def _place(self, among: float) -> int:
        ends = [end for _, end in self.intervals]
        return min(bisect_right(ends, among), len(ends) - 1)

    def window(self, samples: Samples, extract: FeatureExtractor) -> Window:
        """Compute the window's features. This takes 10 ms or more."""
        return Window(extract(as_float32(self.audio(samples)))[..., :-1], self.seconds)


def is_audible(samples: Samples) -> bool:
    """Whether anybody can be heard in ``samples``."""
    if len(samples) < SHORTEST_SECONDS * SAMPLE_RATE_HZ:
        return False
    # int16 has no positive counterpart of its lowest value, hence the Python numbers.
    return max(int(samples.max()), -int(samples.min())) >= SILENCE_PEAK


def lead_seconds(options: TranscribeOptions) -> float:
    """The silence that VAD leaves before speech after a pause, in seconds; rather less than more,
    because some words begin softly.
    """
    given = options.vad_parameters.given() if options.vad_parameters else {}
    pad_seconds = float(VadOptions(**given).speech_pad_ms) / 1000
    return min(max(0.0, pad_seconds - ONSET_SECONDS), LONGEST_LEAD_SECONDS)


def uses_vad(options: TranscribeOptions) -> bool:
    """Whether VAD decides what is heard."""
    return options.vad_filter and not options.clip_timestamps


def find_speech(
    samples: Samples,
    options: TranscribeOptions,
    *,
    batched: bool,
    go_on: Callable[[], None] = lambda: None,
) -> list[Stretch]:
    """The stretches of speech, ascending and apart, as the pipeline of that kind cuts them.

    ``go_on`` is called now and then, and may raise to end the search.
    """
    given = options.vad_parameters.given() if options.vad_parameters else {}
    if batched:
        given = given or {"min_silence_duration_ms": BATCHED_SILENCE_MS}
        given["max_speech_duration_s"] = longest_window(options)
    return speech_stretches(samples, VadOptions(**given), go_on)


def cut_speech(speech: Sequence[Stretch], longest_seconds: float, lead_seconds: float) -> list[Cut]:
    """Windows of at most ``longest_seconds``, filled with stretches of speech in order.

    ``lead_seconds`` is what VAD leaves of each pause before the speech (:func:`lead_seconds`).
    """
    cuts: list[Cut] = []
    held: list[Stretch] = []
    leads: list[float] = []
    n_samples = before = 0
    for start, end in speech:
        n_samples += end - start
        if held and n_samples > longest_seconds * SAMPLE_RATE_HZ:
            cuts.append(Cut(tuple(held), tuple(leads)))
            held, leads, n_samples = [], [], end - start
        held.append((start, end))
        # Where VAD has divided speech without a pause, a stretch begins with speech.
        leads.append(lead_seconds if start > before else 0.0)
        before = end
    return [*cuts, Cut(tuple(held), tuple(leads))] if held else cuts


def cut_clips(clips: Iterable[tuple[float, float]]) -> list[Cut]:
    """A window for each clip of at most 30 s, given in seconds."""
    most = round(WINDOW_SECONDS * SAMPLE_RATE_HZ)  # the difference of rounded times may be one more
    starts = [(int(s * SAMPLE_RATE_HZ), int(e * SAMPLE_RATE_HZ)) for s, e in clips]
    stretches = [(start, min(end, start + most)) for start, end in starts]
    return [Cut((one,)) for one in stretches if one[0] < one[1]]


def total_samples(stretches: Iterable[Stretch]) -> int:
    """Their lengths together."""
    return sum(end - start for start, end in stretches)


def as_dicts(speech: Iterable[Stretch]) -> list[dict[str, Any]]:
    """The stretches in faster-whisper's form."""
    return [{"start": start, "end": end} for start, end in speech]
