"""Stopping samples that run away: attempts above temperature 0 are decoded in two stages.

A sampled hypothesis often never ends by itself: it repeats a phrase or babbles until the window's
limit of 224 tokens, and the four beside it, long done, wait. So samples are first decoded up to a
bound that most true texts keep. What has ended by then is judged as it is; what has not and already
fails the checks is out; only where one that has not ended is sound is the window decoded again
without the bound.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

FIRST_BOUND = 64
"""Tokens, and what bounds are multiples of, so that windows share batches: some 15 s of English."""


@dataclass(frozen=True)
class Hypothesis:
    """One of a ``WhisperGenerationResult``, with as much of its form as faster-whisper reads."""

    sequences_ids: list[list[int]]
    scores: list[float]
    no_speech_prob: float

    @classmethod
    def of(cls, result: Any, rank: int) -> "Hypothesis":
        """The one at ``rank``, 0 for the most probable."""
        return cls([result.sequences_ids[rank]], [result.scores[rank]], result.no_speech_prob)


def bound_after(n_tokens: int) -> int:
    """Tokens to stop samples at, where the attempt before came to ``n_tokens``."""
    return max(1, -(-3 * n_tokens // (2 * FIRST_BOUND))) * FIRST_BOUND


def bounded(options: dict[str, Any], prompt_tokens: int, bound: int) -> dict[str, Any] | None:
    """``options`` with a ``max_length`` for ``bound`` new tokens; None where theirs allows no more.

    CTranslate2 4.8 (src/models/whisper.cc) decodes at most half of ``max_length``, and no more than
    it leaves beside the prompt.
    """
    length = max(2 * bound, prompt_tokens + bound)
    return None if length >= options["max_length"] else {**options, "max_length": length}


def settled(result: Any, bound: int, fails: Callable[[Any], bool]) -> Hypothesis | None:
    """The most probable hypothesis that has ended within ``bound`` tokens, or else one that fails.

    None where a more probable one has not ended and does not fail yet.
    """
    for rank, tokens in enumerate(result.sequences_ids):
        hypothesis = Hypothesis.of(result, rank)
        if len(tokens) < bound:
            return hypothesis
        if not fails(hypothesis):
            return None
    return Hypothesis.of(result, 0)
