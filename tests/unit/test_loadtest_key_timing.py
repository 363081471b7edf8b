"""The test of key timing: fair guesses, the right statistics, and a leak that is found."""

import json
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest

from loadtest.key_timing import (
    Guess,
    control,
    guesses,
    in_process,
    is_passed,
    mann_whitney,
    summary,
)

KEY = "s3cretKeyOf32CharactersOrSo12345"


def test_every_guess_is_wrong_in_exactly_one_character() -> None:
    for guess in guesses(KEY, 500, seed=1):
        wrong = [n for n, (a, b) in enumerate(zip(KEY, guess.key, strict=True)) if a != b]
        assert wrong == [len(KEY) - 1 if guess.late else 0]


def test_half_of_the_guesses_are_late_and_their_order_is_no_pattern() -> None:
    found = [guess.late for guess in guesses(KEY, 1000, seed=1)]
    assert sum(found) == 500
    assert 400 < sum(a != b for a, b in pairwise(found)) < 600


def test_u_is_the_share_of_pairs_in_which_the_late_one_is_slower() -> None:
    chance = np.random.default_rng(3)
    late, early = chance.integers(0, 9, 40), chance.integers(0, 9, 30)  # many ties
    wins = sum((a > b) + (a == b) / 2 for a in late for b in early)
    assert mann_whitney(list(late), list(early)).late_slower == pytest.approx(wins / 1200)


@pytest.mark.parametrize("tied", [False, True])
def test_the_p_value_is_near_that_of_all_ways_to_choose_the_late_ones(tied: bool) -> None:
    values = [8, 6, 6, 3, 3, 1, 1, 5] if tied else [8, 7, 6, 3, 1, 2, 4, 5]
    found = mann_whitney(values[:4], values[4:])
    shares = [
        mann_whitney(
            [values[n] for n in late], [values[n] for n in range(8) if n not in late]
        ).late_slower
        for late in combinations(range(8), 4)
    ]
    extreme = abs(np.array(shares) - 0.5) >= abs(found.late_slower - 0.5) - 1e-9
    # Of so few values the approximation without continuity correction is a little low.
    assert 0.4 * extreme.mean() < found.p_value <= extreme.mean()


def test_p_values_are_uniform_where_nothing_differs() -> None:
    chance = np.random.default_rng(5)
    found = [mann_whitney(*chance.lognormal(size=(2, 200)).tolist()).p_value for _ in range(1000)]
    assert np.mean(np.array(found) < 0.05) == pytest.approx(0.05, abs=0.025)
    assert np.mean(found) == pytest.approx(0.5, abs=0.04)


def test_the_margin_holds_95_of_100_shares_where_nothing_differs() -> None:
    chance = np.random.default_rng(7)
    found = [mann_whitney(*chance.integers(0, 20, (2, 100)).tolist()) for _ in range(1000)]
    inside = [abs(one.late_slower - 0.5) <= one.margin for one in found]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.025)


def test_a_small_shift_is_found() -> None:
    chance = np.random.default_rng(9)
    late, early = chance.lognormal(size=(2, 5000))
    found = mann_whitney((late * 1.1).tolist(), early.tolist())
    assert found.p_value < 0.001
    assert found.late_slower > 0.5 + found.margin


def test_equal_times_are_no_difference() -> None:
    assert mann_whitney([1.0] * 30, [1.0] * 30).p_value == 1


def test_a_summary_keeps_the_kinds_apart() -> None:
    tries = [Guess("a", late=True), Guess("b", late=False)] * 30
    found = summary(tries, [3e-6, 1e-6] * 30)
    assert (found["late_us"]["p50"], found["early_us"]["p50"]) == (3, 1)
    assert found["late_slower"] == 1
    assert json.loads(json.dumps(found)) == found


def test_a_comparison_that_stops_early_is_found_out() -> None:
    assert control(KEY, 4000, seed=1)["p_value"] < 1e-6


def test_the_key_rings_lookups_are_timed() -> None:
    found = in_process(KEY, 1000, seed=1)
    assert found["guesses"] == 1000
    assert 0 < found["late_us"]["p50"] < 10_000


SERIES: dict[str, dict[str, Any]] = {
    "http": {"statuses": {"401": 9}, "p_value": 0.3},
    "key_ring": {"p_value": 0.5},
    "control": {"p_value": 0.0},
}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("http", {"statuses": {"401": 8, "200": 1}}),
        ("http", {"statuses": {"401": 8, "500": 1}}),
        ("http", {"p_value": 0.001}),
        ("key_ring", {"p_value": 0.001}),
        ("control", {"p_value": 0.2}),
    ],
)
def test_one_thing_amiss_fails_the_run(name: str, change: dict[str, Any]) -> None:
    assert is_passed(SERIES)
    assert not is_passed({**SERIES, name: {**SERIES[name], **change}})
