"""The steps that the engine takes for seconds of audio, window by window."""

import math
from collections.abc import Sequence
from itertools import zip_longest

from loadtest.capacity.profile import Call, Recipe
from serve_app.engine.queue import Stage, Step
from serve_app.engine.request import WINDOW_SECONDS

PIPELINE_WINDOWS = 8
"""``batch_size`` of the contract's example: so many windows of one request are in flight."""

LEAST_SCALE, MOST_SCALE = 0.02, 1.3
"""The largest factor by which a recipe is stretched to another length of audio."""

ALIKE = 0.1
"""Recipes whose lengths differ by up to this, as a logarithm, are chosen from alike, unless some
have that very length. A calibration has every utterance of such a length in the order of its picks,
so a request gets the recipe of the utterance that the load run sends for it."""


class Workload:
    """The recipes of a profile, applied to requests of any length."""

    def __init__(self, recipes: Sequence[Recipe]) -> None:
        self._recipes = sorted(recipes, key=lambda recipe: recipe.audio_seconds)
        self._alike: dict[float, list[int]] = {}

    def rounds(self, seconds: float, pick: int) -> list[list[list[Step]]]:
        """The steps of each window of a request of ``seconds``, with the call as the payload, in
        the rounds of :data:`loadtest.capacity.profile.Rounds`.

        ``pick`` chooses among recipes of that length. Audio of several windows has a recipe for
        each of them.
        """
        count = max(1, math.ceil(seconds / WINDOW_SECONDS - 1e-9))
        alike = self._of_length(seconds / count)
        taken = [self._recipes[alike[(pick + n) % len(alike)]] for n in range(count)]
        scales = [
            min(MOST_SCALE, max(LEAST_SCALE, seconds / count / recipe.audio_seconds))
            for recipe in taken
        ]
        return [
            [
                [_step(call, scale) for call in window]
                for scale, windows in zip(scales, one_round, strict=True)
                for window in windows
            ]
            for one_round in zip_longest(*(recipe.rounds for recipe in taken), fillvalue=())
        ]

    def _of_length(self, seconds: float) -> list[int]:
        """Which recipes are about as long, or else the nearest."""
        rounded = max(0.1, round(seconds, 1))
        if rounded not in self._alike:
            off = [abs(math.log(recipe.audio_seconds / rounded)) for recipe in self._recipes]
            furthest = min(off) + ALIKE if min(off) > 0 else 0.0
            self._alike[rounded] = [n for n, one in enumerate(off) if one <= furthest]
        return self._alike[rounded]


def _step(call: Call, scale: float) -> Step:
    if call.tokens:
        call = call._replace(tokens=max(1.0, call.tokens * scale))
    return Step(Stage[call.stage.upper()], call.key, call, call.charged_seconds)
