"""Where utterances begin and end, from the probability of speech in each chunk of audio.

The rules are those of Silero's own ``VADIterator``: speech begins at ``threshold`` and ends once
the probability has stayed below ``threshold`` - 0.15. What is added is that a long utterance ends
at ever shorter pauses. Plain data in and out: there is no audio, no model and no clock here.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from serve_app.audio.clip import SAMPLE_RATE_HZ
from serve_app.engine.vad import CHUNK_SAMPLES
from serve_app.live.options import LiveOptions
from serve_app.live.tape import in_seconds

HYSTERESIS, LEAST_THRESHOLD = 0.15, 0.01
"""How much less probable than at its beginning speech has to be for it to end, and the probability
that is low enough with any threshold."""

PAD_SAMPLES = int(0.3 * SAMPLE_RATE_HZ)
"""Audio before and after an utterance that is heard with it: VAD is late for soft sounds."""

FALSE_START_SECONDS = 0.3
"""Silence after which a sound that was too short for an utterance is forgotten."""

SOFT_AFTER = 0.3
"""The part of the longest utterance after which shorter pauses end it."""

LONGEST_PAUSE_SECONDS, SHORTEST_PAUSE_SECONDS = 0.35, 0.1
"""Those pauses: the longest one is needed at first, the shortest one in the end."""

CUT_AFTER = 0.6
"""The part of the longest utterance after which it may be cut within speech."""

SMOOTHED_CHUNKS = 3


@dataclass(frozen=True)
class SpeechBegan:
    """Somebody began to speak; ``at`` is in samples of the stream, here and below."""

    at: int


@dataclass(frozen=True)
class SpeechStopped:
    """Nobody has spoken since ``at`` for as long as ends an utterance."""

    at: int


@dataclass(frozen=True)
class Utterance:
    """What is to be heard as one, padding included.

    ``is_cut``: speech goes on, or may go on, because it ended for its length or by a flush.
    """

    start: int
    end: int
    is_cut: bool


Mark = SpeechBegan | SpeechStopped | Utterance


class Endpointer:
    """Follows one stream."""

    def __init__(self, options: LiveOptions) -> None:
        self.options = options
        self._position = 0
        self._earliest = 0  # the end of the utterance before
        self._in_speech = False
        self._began: int | None = None
        self._is_sure = False
        self._n_voiced = 0
        self._quiet_from: int | None = None
        self._probabilities: list[float] = []

    @property
    def heard_from(self) -> int | None:
        """Where the utterance that goes on begins, padding included; None if there is none."""
        return self._start if self._began is not None and self._is_sure else None

    @property
    def needed_from(self) -> int:
        """The first sample that a later utterance may hold."""
        if self._began is not None:
            return self._start
        return max(self._earliest, self._position - PAD_SAMPLES)

    @property
    def quiet_seconds(self) -> float:
        """How long nobody has spoken."""
        return 0.0 if self._quiet_from is None else in_seconds(self._position - self._quiet_from)

    def step(self, probability: float) -> Iterator[Mark]:
        """Take the next chunk of ``CHUNK_SAMPLES``."""
        at, self._position = self._position, self._position + CHUNK_SAMPLES
        options = self.options
        if probability >= options.threshold:
            self._quiet_from = None
            yield from self._voiced(at)
        elif self._quiet_from is None and is_quiet(probability, options):
            self._quiet_from = at
        if self._began is not None:
            self._probabilities.append(probability)
            yield from self._end_utterance()
        silence = options.silence_seconds
        is_silent = silence is not None and self.quiet_seconds >= silence
        if self._in_speech and self._began is None and is_silent:
            assert self._quiet_from is not None
            self._in_speech = False
            yield SpeechStopped(self._quiet_from)

    def flush(self, end: int) -> Utterance | None:
        """End the utterance that goes on at ``end``; None if nobody has said anything."""
        if self._began is None:
            return None
        if self._quiet_from is not None:
            end = min(end, self._quiet_from + PAD_SAMPLES)
        return self._close(end, is_cut=True)

    def clear(self) -> None:
        """Forget the utterance that goes on."""
        self._earliest, self._began, self._quiet_from = self._position, None, None
        self._in_speech = False

    @property
    def _start(self) -> int:
        assert self._began is not None
        return max(self._earliest, self._began - PAD_SAMPLES)

    def _voiced(self, at: int) -> Iterator[Mark]:
        if self._began is None:
            self._open(at)
        self._n_voiced += 1
        if not self._is_sure:
            voiced_seconds = in_seconds(self._n_voiced * CHUNK_SAMPLES)
            self._is_sure = voiced_seconds >= self.options.min_speech_seconds
            if self._is_sure and not self._in_speech:
                assert self._began is not None
                self._in_speech = True
                yield SpeechBegan(self._began)

    def _end_utterance(self) -> Iterator[Mark]:
        assert self._began is not None
        longest, quiet = self.options.utterance_seconds, self.quiet_seconds
        length = in_seconds(self._position - self._began)
        if not self._is_sure:
            if quiet >= FALSE_START_SECONDS or length >= longest:
                self._began = None
            return
        if self._quiet_from is not None and quiet >= self._needed_pause(length):
            silence = self.options.silence_seconds
            is_cut = silence is None or quiet < silence
            yield self._close(min(self._quiet_from + PAD_SAMPLES, self._position), is_cut=is_cut)
        elif length >= longest:
            n_kept = int(CUT_AFTER * len(self._probabilities))
            place = n_kept + _quietest(self._probabilities[n_kept:])
            rest = self._probabilities[place:]
            cut = self._began + place * CHUNK_SAMPLES
            yield self._close(cut, is_cut=True)
            self._open(cut)
            self._is_sure, self._probabilities = True, rest

    def _needed_pause(self, length_seconds: float) -> float:
        """The pause that ends an utterance of this length, in seconds."""
        silence = self.options.silence_seconds
        longest = self.options.utterance_seconds
        share = (length_seconds / longest - SOFT_AFTER) / (1 - SOFT_AFTER)
        if share < 0:
            return float("inf") if silence is None else silence
        first = LONGEST_PAUSE_SECONDS if silence is None else min(silence, LONGEST_PAUSE_SECONDS)
        return first + share * min(0.0, SHORTEST_PAUSE_SECONDS - first)

    def _open(self, at: int) -> None:
        self._began, self._is_sure, self._n_voiced, self._probabilities = at, False, 0, []

    def _close(self, end: int, *, is_cut: bool) -> Utterance:
        utterance = Utterance(self._start, end, is_cut)
        self._earliest, self._began = end, None
        return utterance


def is_quiet(probability: float, options: LiveOptions) -> bool:
    """Whether speech that has begun may end with a chunk of this probability."""
    least = min(options.threshold, LEAST_THRESHOLD)
    return probability < max(options.threshold - HYSTERESIS, least)


def _quietest(probabilities: list[float]) -> int:
    """Where in ``probabilities`` speech is least likely, over a few chunks."""
    sums = [
        sum(probabilities[n : n + SMOOTHED_CHUNKS])
        for n in range(max(1, len(probabilities) - SMOOTHED_CHUNKS + 1))
    ]
    return sums.index(min(sums)) + SMOOTHED_CHUNKS // 2
