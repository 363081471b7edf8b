"""Machine profiles with invented costs."""

import math
from collections.abc import Sequence

from loadtest.capacity.profile import (
    Call,
    CallCost,
    MachineProfile,
    Recipe,
    StageCosts,
)

ENCODE, GENERATE = Call(stage="encode", charged_seconds=30), Call(stage="generate")


def machine(
    *,
    calls: Sequence[Sequence[Call]] = ((ENCODE, GENERATE),),
    encode: float = 0.0,
    decode: CallCost | None = None,
    workers: int = 1,
    decode_batch: int = 8,
    audio_seconds: float = 15.0,
) -> MachineProfile:
    """One core per worker, no overhead, nothing alone; a recipe of one window and ``audio_seconds``
    for each of ``calls``.
    """
    return MachineProfile(
        name="made up",
        kind="predicted",
        basis="a test's",
        model="none",
        compute_type="none",
        cores=workers,
        workers=workers,
        decode_batch=decode_batch,
        loaded=StageCosts(encode=CallCost(window=encode), generate=decode or CallCost()),
        recipes=tuple(recipe(audio_seconds, own) for own in calls),
    )


def recipe(audio_seconds: float, calls: Sequence[Call]) -> Recipe:
    """The cost of a single window."""
    return Recipe(audio_seconds, ((tuple(calls),),))


def exponential_recipes(mean_tokens: float, count: int) -> list[list[Call]]:
    """Windows whose texts have exponentially distributed lengths: its quantiles, evenly."""
    quantiles = ((n + 0.5) / count for n in range(count))
    return [
        [ENCODE, Call(stage="generate", tokens=-mean_tokens * math.log(1 - quantile))]
        for quantile in quantiles
    ]
