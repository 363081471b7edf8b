"""From seconds of audio to the steps that the engine takes for them, window by window."""

import math
from collections.abc import Sequence

from loadtest.capacity.profile import Recipe
from serve_app.engine.queue import Stage, Step
from serve_app.engine.request import WINDOW_SECONDS

PIPELINE_WINDOWS = 8
"""``batch_size`` of the contract's example: so many windows of one request are in flight."""

LEAST_SCALE, MOST_SCALE = 0.02, 1.3
"""By how much at most a recipe is stretched to another length of audio."""

ALIKE = 0.1
"""Recipes whose lengths differ by up to this, as a logarithm, are drawn from alike, unless some are
of that very length. Of those a calibration has every utterance in the order of its picks, so that
the recipe of a request is that of the utterance which the load run sends for it.
"""

STAGES = {"encode": Stage.ENCODE, "detect": Stage.DETECT, "generate": Stage.GENERATE}


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

    def windows(self, seconds: float, pick: int) -> list[list[Step]]:
        """The steps of each window of a request of ``seconds``, with its tokens as the payload.

        ``pick`` chooses among recipes of that length. Each time that it comes round to one, that is
        told as it went the next time.
        """
        count = max(1, math.ceil(seconds / WINDOW_SECONDS - 1e-9))
        return [self._window(seconds / count, pick + number) for number in range(count)]

    def _window(self, seconds: float, pick: int) -> list[Step]:
        alike = self._of_length(seconds)
        turn, place = divmod(pick, len(alike))
        recorded_seconds, told = self._recipes[alike[place]]
        scale = min(MOST_SCALE, max(LEAST_SCALE, seconds / recorded_seconds))
        return [
            Step(
                stage,
                key,
                max(1.0, tokens * scale) if tokens else 0.0,
                WINDOW_SECONDS if stage is Stage.ENCODE else 0.0,
            )
            for stage, key, tokens in told[turn % len(told)]
        ]

    def _of_length(self, seconds: float) -> list[int]:
        """Which recipes are about as long, or else the nearest."""
        rounded = max(0.1, round(seconds, 1))
        if rounded not in self._alike:
            off = [abs(math.log(length / rounded)) for length, _ in self._recipes]
            furthest = min(off) + ALIKE if min(off) > 0 else 0.0
            self._alike[rounded] = [n for n, one in enumerate(off) if one <= furthest]
        return self._alike[rounded]
