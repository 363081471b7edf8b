"""Attempts at a window: is one good enough, and what comes after one that is not.

The checks are faster-whisper's own, as pure functions. Formulas and thresholds: openai/whisper
``transcribe.py`` and ``decoding.py``, which faster-whisper 1.2.1 follows in
``generate_with_fallback``.

A window that fails them is decoded again at higher temperatures. faster-whisper's sequential
pipeline has this ladder, its batched one has none. Ours differs in one thing: samples that run away
are stopped. A sampled hypothesis often never ends by itself. It repeats a phrase or babbles until
the window's limit of 224 tokens, while the four beside it, long done, wait. So samples are first
decoded up to a bound that most true texts keep. What has ended by then is judged as it is, and what
has not ended but already fails the checks is out. Only if one that has not ended is sound is the
window decoded again without the bound.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from serve_app.options import TranscribeOptions

FIRST_BOUND = 64
"""Tokens: some 15 s of English. Bounds are multiples of it, so that windows share batches."""

_PUNCTUATION = ".,!?;:…-\"'“”«»。、！？"
_SHORTEST_REPETITION = 2


@dataclass(frozen=True)
class Attempt:
    """One attempt at a window.

    ``tokens`` are ids of the model's vocabulary, timestamps included; ``text`` is what they spell,
    without outer spaces. ``avg_logprob`` is per token, the end of the text included.
    """

    tokens: tuple[int, ...]
    text: str
    avg_logprob: float
    no_speech_prob: float
    temperature: float = 0.0

    @property
    def compression_ratio(self) -> float:
        """See :func:`compression_ratio`."""
        return compression_ratio(self.text)


@dataclass(frozen=True)
class Checks:
    """The caller's thresholds; None switches a check off."""

    compression_ratio: float | None
    log_prob: float | None
    no_speech: float | None

    @classmethod
    def of(cls, options: TranscribeOptions) -> "Checks":
        """The thresholds that a request asks for."""
        return cls(
            options.compression_ratio_threshold,
            options.log_prob_threshold,
            options.no_speech_threshold,
        )

    def is_repetitive(self, attempt: Attempt) -> bool:
        """Whether the text repeats itself more than real text does."""
        limit = self.compression_ratio
        return limit is not None and attempt.compression_ratio > limit

    def hears_nobody(self, attempt: Attempt) -> bool:
        """Whether the model itself says that nobody speaks."""
        return self.no_speech is not None and attempt.no_speech_prob > self.no_speech

    def is_silence(self, attempt: Attempt) -> bool:
        """Whether the model says that nobody speaks and is unsure of its words."""
        return self.hears_nobody(attempt) and self._is_unsure(attempt)

    def fails(self, attempt: Attempt) -> bool:
        """Whether the window deserves another attempt."""
        if self.is_silence(attempt):
            return False
        return self.is_repetitive(attempt) or self._is_unsure(attempt)

    def _is_unsure(self, attempt: Attempt) -> bool:
        return self.log_prob is not None and attempt.avg_logprob < self.log_prob


def average_logprob(score: float, n_tokens: int, length_penalty: float) -> float:
    """Average log-probability from CTranslate2's score, which is divided by
    ``n_tokens ** length_penalty``.
    """
    return float(score * n_tokens**length_penalty / (n_tokens + 1))


def compression_ratio(text: str) -> float:
    """Bytes of ``text`` over bytes of it compressed; above 2.4 it mostly repeats itself."""
    raw = text.encode()
    return len(raw) / len(zlib.compress(raw))


def ends_in_repetition(text: str) -> bool:
    """Whether the last words of ``text``, two or more, repeat the ones right before them.

    A decoder that hears too little silence most often invents this: "Turn off the light. Turn off
    the light." It is too short for the compression ratio to notice.
    """
    words = [word.strip(_PUNCTUATION).lower() for word in text.split()]
    return any(
        words[-n:] == words[-2 * n : -n] for n in range(_SHORTEST_REPETITION, len(words) // 2 + 1)
    )


def sampling_options(options: dict[str, Any], temperature: float, best_of: int) -> dict[str, Any]:
    """Decode options above temperature 0, as faster-whisper sets them."""
    kept = {name: value for name, value in options.items() if name != "patience"}
    return {
        **kept,
        "beam_size": 1,
        "num_hypotheses": best_of,
        "sampling_topk": 0,
        "sampling_temperature": temperature,
    }


def first_bound(attempt: Attempt, checks: Checks) -> int:
    """Tokens at which to stop samples of a window whose first attempt failed.

    The length of a text that repeats itself says nothing; otherwise half as much again is enough.
    """
    if checks.is_repetitive(attempt):
        return FIRST_BOUND
    return max(1, -(-3 * len(attempt.tokens) // (2 * FIRST_BOUND))) * FIRST_BOUND


def bounded(options: dict[str, Any], prompt_tokens: int, bound: int) -> dict[str, Any] | None:
    """``options`` with a ``max_length`` for ``bound`` new tokens; None if they allow no more.

    CTranslate2 4.8 (src/models/whisper.cc) decodes at most half of ``max_length``, and no more than
    it leaves beside the prompt.
    """
    length = max(2 * bound, prompt_tokens + bound)
    return None if length >= options["max_length"] else {**options, "max_length": length}


def settled(
    samples: Sequence[Attempt], bound: int, fails: Callable[[Attempt], bool]
) -> Attempt | None:
    """The most probable sample that has ended within ``bound`` tokens, or else one that fails.

    ``samples`` come most probable first. None if a more probable one has neither ended nor failed.
    """
    for sample in samples:
        if len(sample.tokens) < bound:
            return sample
        if not fails(sample):
            return None
    return samples[0]


def best_of_failed(attempts: Sequence[Attempt], checks: Checks) -> Attempt:
    """Of attempts that all failed, the most probable one that does not repeat itself."""
    sound = [attempt for attempt in attempts if not checks.is_repetitive(attempt)]
    return max(sound or attempts, key=lambda attempt: attempt.avg_logprob)
