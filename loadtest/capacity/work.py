"""From seconds of audio to the calls that the engine makes for them, phase by phase.

A request's pipeline runs in one thread: it queues some calls at once, waits for the decoder calls
among them, and goes on. That is a phase. A window's decoder calls enter the queue when it is
encoded, as in :meth:`serve_app.engine.scheduler.Scheduler.decode`.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.capacity.profile import Recipe
from serve_app.engine.pipeline_call import WINDOW_SECONDS
from serve_app.engine.policy import Stage

PIPELINE_WINDOWS = 8
"""``batch_size`` of the contract's example: so many windows of one request are queued at once."""

LEAST_SCALE, MOST_SCALE = 0.02, 1.3
"""By how much at most a recipe is stretched to another length of audio."""

ALIKE = 0.1
"""Recipes whose lengths differ by up to this, as a logarithm, are drawn from alike, unless some are
of that very length. Of those a calibration has every utterance in the order of its picks, so that
the recipe of a request is that of the utterance which the load run sends for it.
"""

STAGES = {"encode": Stage.ENCODE, "detect": Stage.DETECT, "generate": Stage.GENERATE}


@dataclass(frozen=True)
class Step:
    """One stage of the ``window``-th window that its request encodes."""

    window: int
    stage: Stage
    key: int
    tokens: float


Phase = tuple[Step, ...]
_Chain = list[list[tuple[Stage, int, float]]]


class Workload:
    """Recipes of a profile, taken for requests of any length."""

    def __init__(self, recipes: Sequence[Recipe]) -> None:
        self._recipes = [
            (
                recipe.audio_seconds,
                [
                    [(STAGES[call.stage], call.key, call.tokens) for call in calls]
                    for calls in recipe.told
                ],
            )
            for recipe in sorted(recipes, key=lambda recipe: recipe.audio_seconds)
        ]
        self._alike: dict[float, list[int]] = {}

    def phases(self, seconds: float, pick: int) -> list[Phase]:
        """The phases of a request of ``seconds``; ``pick`` chooses among recipes of that length.

        Each time that it comes round to one, that is told as it went the next time.
        """
        windows = max(1, math.ceil(seconds / WINDOW_SECONDS - 1e-9))
        each = seconds / windows
        chains = [self._chain(each, pick + number) for number in range(windows)]
        phases: list[Phase] = []
        encoded = itertools.count()
        for first in range(0, windows, PIPELINE_WINDOWS):
            phases += _side_by_side(chains[first : first + PIPELINE_WINDOWS], encoded)
        return phases

    def _chain(self, seconds: float, pick: int) -> _Chain:
        """Phases of one window: each encoding goes with the decoder call that follows it."""
        alike = self._of_length(seconds)
        turn, place = divmod(pick, len(alike))
        recorded_seconds, told = self._recipes[alike[place]]
        calls = told[turn % len(told)]
        scale = min(MOST_SCALE, max(LEAST_SCALE, seconds / recorded_seconds))
        chain: _Chain = []
        for stage, key, tokens in calls:
            step = (stage, key, max(1.0, tokens * scale) if tokens else 0.0)
            if chain and chain[-1][-1][0] is Stage.ENCODE:
                chain[-1].append(step)
            else:
                chain.append([step])
        return chain

    def _of_length(self, seconds: float) -> list[int]:
        """Which recipes are about as long, or else the nearest."""
        rounded = max(0.1, round(seconds, 1))
        if rounded not in self._alike:
            off = [abs(math.log(length / rounded)) for length, _ in self._recipes]
            furthest = min(off) + ALIKE if min(off) > 0 else 0.0
            self._alike[rounded] = [n for n, one in enumerate(off) if one <= furthest]
        return self._alike[rounded]


def _side_by_side(chains: Sequence[_Chain], encoded: "itertools.count[int]") -> list[Phase]:
    """Windows that are queued together: their first phases are one, then their second ones ..."""
    latest = [-1] * len(chains)
    phases = []
    for together in itertools.zip_longest(*chains):
        phase = []
        for number, steps in enumerate(together):
            for stage, key, tokens in steps or ():
                if stage is Stage.ENCODE or latest[number] < 0:
                    latest[number] = next(encoded)
                phase.append(Step(latest[number], stage, key, tokens))
        phases.append(tuple(phase))
    return phases
