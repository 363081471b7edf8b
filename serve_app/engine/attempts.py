"""Attempts at a window: whether one is good enough, and which one follows if it is not.

The checks are faster-whisper's own, as pure functions. Formulas and thresholds: openai/whisper
``transcribe.py`` and ``decoding.py``, which faster-whisper 1.2.1 follows in
``generate_with_fallback``.

A window that fails them is decoded again at higher temperatures, at most ``MOST_SAMPLINGS`` times.
faster-whisper's sequential pipeline does this too, its batched pipeline does not. Every attempt has
a bound, because a bad one often does not end by itself: it repeats a phrase or babbles up to the
window's limit of 224 tokens, while finished samples wait for it.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from serve_app.options import TranscribeOptions

BOUND_STEP = 64
"""In tokens: about 15 s of English. Bounds of samples are multiples of it, so that windows share
batches."""

TOKENS_PER_SECOND = 12
"""Enough for most languages. A text that is cut here is decoded again with twice as much room, and
what is decoded only once has twice as much at once."""

MOST_SAMPLINGS = 2

_PUNCTUATION = ".,!?;:…-\"'“”«»。、！？"
_SHORTEST_REPETITION = 2


@dataclass(frozen=True)
class Attempt:
    """One attempt at a window.

    ``tokens`` are ids of the model's vocabulary, timestamps included; ``text`` is what they spell,
    without outer spaces. ``avg_logprob`` is per token, the end of the text included. ``is_cut``:
    the text had not ended when the attempt reached its bound.
    """

    tokens: tuple[int, ...]
    text: str
    avg_logprob: float
    no_speech_prob: float
    temperature: float = 0.0
    is_cut: bool = False

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
        """The thresholds of a request."""
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
        """Whether the window needs another attempt."""
        if self.is_silence(attempt):
            return False
        return attempt.is_cut or self.is_repetitive(attempt) or self._is_unsure(attempt)

    def _is_unsure(self, attempt: Attempt) -> bool:
        return self.log_prob is not None and attempt.avg_logprob < self.log_prob


def average_logprob(score: float, n_tokens: int, length_penalty: float) -> float:
    """Average log-probability, from CTranslate2's score, which is the sum divided by ``n_tokens **
    length_penalty``.
    """
    return float(score * n_tokens**length_penalty / (n_tokens + 1))


def compression_ratio(text: str) -> float:
    """Bytes of ``text`` divided by its compressed bytes. Above 2.4 it mostly repeats itself."""
    raw = text.encode()
    return len(raw) / len(zlib.compress(raw))


def ends_in_repetition(text: str) -> bool:
    """Whether the last words of ``text``, two or more, repeat the ones right before them.

    This is what a decoder mostly invents when it hears too little silence: "Turn off the light.
    Turn off the light." It is too short for the compression ratio to notice.
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


def samplings(temperatures: Sequence[float]) -> Sequence[float]:
    """The temperatures above 0 that are tried: at most ``MOST_SAMPLINGS`` of those that the caller
    allows, spread evenly.
    """
    hot = [temperature for temperature in temperatures if temperature > 0]
    if len(hot) <= MOST_SAMPLINGS:
        return hot
    return [hot[(2 * n + 1) * len(hot) // (2 * MOST_SAMPLINGS)] for n in range(MOST_SAMPLINGS)]


def length_bound(seconds: float) -> int:
    """Tokens at which to stop the first attempt at a window of up to this many seconds."""
    return ceil(seconds * TOKENS_PER_SECOND)


def sample_bound(attempt: Attempt, checks: Checks) -> int:
    """Tokens at which to stop the samples of a window whose first attempt failed.

    If its text repeats itself, its length says nothing. Otherwise half as much again is enough.
    """
    if checks.is_repetitive(attempt):
        return BOUND_STEP
    return max(1, ceil(1.5 * len(attempt.tokens) / BOUND_STEP)) * BOUND_STEP


def bounded(options: dict[str, Any], prompt_tokens: int, bound: int) -> dict[str, Any]:
    """``options`` with a ``max_length`` for at most ``bound`` new tokens.

    CTranslate2 4.8 (src/models/whisper.cc) decodes at most half of ``max_length``, and at most what
    the prompt leaves of it.
    """
    length = max(2 * bound, prompt_tokens + bound)
    return {**options, "max_length": min(length, options["max_length"])}


def best_of_samples(samples: Sequence[Attempt], checks: Checks) -> Attempt:
    """The first of ``samples`` that passes, or else the first. They come most probable first."""
    return next((sample for sample in samples if not checks.fails(sample)), samples[0])


def best_of_failed(attempts: Sequence[Attempt], checks: Checks) -> Attempt:
    """The most probable of failed attempts that ends and does not repeat itself."""
    sound = [one for one in attempts if not one.is_cut and not checks.is_repetitive(one)]
    return max(sound or attempts, key=lambda attempt: attempt.avg_logprob)
