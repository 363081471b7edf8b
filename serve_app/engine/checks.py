"""Is an attempt at a window good enough? faster-whisper's own checks, as pure functions.

Formulas and thresholds: openai/whisper ``transcribe.py`` and ``decoding.py``, which faster-whisper
1.2.1 follows in ``generate_with_fallback``.
"""

import zlib
from dataclasses import dataclass

from serve_app.options import TranscribeOptions


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


_PUNCTUATION = ".,!?;:…-\"'“”«»。、！？"
_SHORTEST_REPETITION = 2
