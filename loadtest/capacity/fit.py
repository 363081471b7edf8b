"""Fits the costs of a profile to timed calls: least squares without negative costs."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import NamedTuple

import numpy as np

from loadtest.capacity.profile import CallCost, MeasuredCalls, PrepareCost, StageCosts, StageName

TERMS: Mapping[StageName, Sequence[str]] = {
    "encode": ("call", "second", "square"),
    "detect": ("call", "second"),
    "generate": ("call", "window", "second", "step", "token", "token_second"),
    "align": ("call", "window", "second", "step", "token", "token_second"),
}
"""Which terms of a :class:`~loadtest.capacity.profile.CallCost` a stage has."""


class TimedCall(NamedTuple):
    """One call of the model: ``tokens`` of each of its windows, 0 where it does not decode."""

    stage: StageName
    context_seconds: float
    tokens: Sequence[int]
    seconds: float


def least_squares(table: Sequence[Sequence[float]], seconds: Sequence[float]) -> list[float]:
    """Coefficients of at least 0 for the columns of ``table``, for small relative errors.

    Columns whose best coefficient would be negative are left out, the worst first.
    """
    target = np.asarray(seconds, dtype=float)
    weighted = np.asarray(table, dtype=float) / target[:, None]
    scale = np.linalg.norm(weighted, axis=0)
    scale[scale == 0] = 1.0
    found = np.zeros(len(scale))
    columns = list(range(len(scale)))
    while columns:
        best, *_ = np.linalg.lstsq((weighted / scale)[:, columns], np.ones(len(target)), rcond=None)
        if best.min() >= 0:
            found[columns] = best / scale[columns]
            break
        columns.pop(int(best.argmin()))
    return [float(value) for value in found]


def call_cost(stage: StageName, calls: Sequence[TimedCall]) -> CallCost:
    """The costs of one stage, over batches of several sizes and contexts; 0 if there are no
    calls.
    """
    if not calls:
        return CallCost()
    terms = TERMS[stage]
    # What each term alone would cost is what its coefficient is multiplied by.
    ones = [CallCost.model_validate({term: 1.0}) for term in terms]
    table = [[one.seconds(call.tokens, call.context_seconds) for one in ones] for call in calls]
    found = least_squares(table, [call.seconds for call in calls])
    return CallCost.model_validate(dict(zip(terms, found, strict=True)))


def stage_costs(calls: Sequence[TimedCall]) -> StageCosts:
    """The costs of a worker, from all of its calls."""
    return StageCosts.model_validate(
        {stage: call_cost(stage, [c for c in calls if c.stage == stage]) for stage in TERMS}
    )


def lone_factors(calls: Sequence[TimedCall], loaded: StageCosts) -> dict[StageName, float]:
    """How many times as long as ``loaded`` predicts lone calls took, by stage."""
    ratios: dict[StageName, list[float]] = defaultdict(list)
    for call in calls:
        expected = loaded.of(call.stage).seconds(call.tokens, call.context_seconds)
        ratios[call.stage].append(call.seconds / expected)
    return {stage: mean(found) for stage, found in ratios.items()}


def prepare_cost(audio_seconds: Sequence[float], seconds: Sequence[float]) -> PrepareCost:
    """A straight line through what requests took beside the model."""
    if len(set(audio_seconds)) == 1:
        return PrepareCost(call=mean(seconds))
    call, each = least_squares([[1.0, audio] for audio in audio_seconds], seconds)
    return PrepareCost(call=call, audio_second=each)


def evidence(calls: Sequence[TimedCall]) -> tuple[MeasuredCalls, ...]:
    """Mean times of calls that are alike."""
    alike: dict[tuple[StageName, float, int], list[float]] = defaultdict(list)
    for call in calls:
        alike[call.stage, call.context_seconds, len(call.tokens)].append(call.seconds)
    return tuple(
        MeasuredCalls(*key, len(found), mean(found)) for key, found in sorted(alike.items())
    )


def mean_error(calls: Sequence[TimedCall], costs: StageCosts, stage: StageName) -> float:
    """Mean relative error of a stage's fit, without sign."""
    cost, own = costs.of(stage), [call for call in calls if call.stage == stage]
    errors = [abs(cost.seconds(one.tokens, one.context_seconds) / one.seconds - 1) for one in own]
    return mean(errors or [0.0])
