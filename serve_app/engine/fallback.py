"""Decoding a window again at higher temperatures where the first attempt fails its checks.

faster-whisper's sequential pipeline has this ladder, its batched one has none. Ours differs in one
thing: samples that run away are stopped. A sampled hypothesis often never ends by itself. It
repeats a phrase or babbles until the window's limit of 224 tokens, while the four beside it, long
done, wait. So samples are first decoded up to a bound that most true texts keep. What has ended by
then is judged as it is, and what has not ended but already fails the checks is out. Only if one
that has not ended is sound is the window decoded again without the bound.
"""

from collections.abc import Callable, Sequence
from typing import Any

from serve_app.engine.checks import Attempt, Checks

FIRST_BOUND = 64
"""Tokens: some 15 s of English. Bounds are multiples of it, so that windows share batches."""


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
