import math
from typing import Any

import pytest

from loadtest.load import Chunk, Outcome
from loadtest.throughput import FEWEST_REQUESTS, REQUESTS_PER_CLIENT, Plan, level, ratios

CHUNKS = [Chunk(text, b"", text, 15.0) for text in ("red car", "green tree", "blue sky")]
PLAN = Plan(CHUNKS, options={})


def answer(number: int, text: str, seconds: float = 1.0, status: int | None = 200) -> Outcome:
    return Outcome(number, 0, number * 10.0, number * 10.0 + seconds, 15.0, status, text)


def test_a_turn_posts_the_chunks_in_a_circle() -> None:
    plan = Plan(CHUNKS, {"beam_size": 5}, requests=4)
    assert [post.number for post in plan.posts(2, 0)] == [0, 1, 2, 3]
    assert all(post.options == {"beam_size": 5} for post in plan.posts(2, 0))


def test_requests_of_two_rounds_share_no_number() -> None:
    first, second = ({post.number for post in PLAN.posts(16, n)} for n in (0, 1))
    assert len(first) == len(second) == REQUESTS_PER_CLIENT * 16
    assert not first & second


def test_one_client_still_makes_enough_requests_for_percentiles() -> None:
    assert len(list(PLAN.posts(1, 0))) == FEWEST_REQUESTS


def test_a_turn_of_seconds_ends_by_itself() -> None:
    assert len(list(Plan(CHUNKS, {}, seconds=0.01).posts(1, 0))) > 0


def test_ratios_are_ours_over_theirs() -> None:
    ours: dict[str, Any] = {"rtfx": 24.0, "latency_seconds": {"p95": 3.0}, "wer": 0.05}
    theirs: dict[str, Any] = {"rtfx": 12.0, "latency_seconds": {"p95": 6.0}, "wer": 0.04}
    found = ratios(ours, theirs)
    assert (found["rtfx"], found["p95"]) == (2.0, 0.5)
    assert math.isclose(found["wer_difference_points"], 1.0)


def test_a_figure_that_is_missing_has_no_ratio() -> None:
    failed: dict[str, Any] = {"rtfx": 0.0, "latency_seconds": {}, "wer": None}
    assert ratios(failed, failed) == {}


def test_only_requests_that_both_transcribed_are_scored() -> None:
    ours = [answer(0, "red car"), answer(1, "wrong words")]
    theirs = [answer(0, "red car"), answer(1, "", status=None)]
    found = level(PLAN, 1, {"ours": [ours], "naive": [theirs]})
    assert found["scored_requests"] == found["identical_texts"] == 1
    assert found["servers"]["ours"]["wer"] == 0.0
    assert found["servers"]["naive"]["failed"] == 1


def test_word_errors_are_those_of_the_requests_chunk() -> None:
    found = level(PLAN, 1, {"ours": [[answer(4, "green three")]]})
    assert found["servers"]["ours"]["wer"] == 0.5
    assert "ratios" not in found


def test_the_rate_is_the_mean_of_the_rounds() -> None:
    found = level(PLAN, 1, {"ours": [[answer(0, "", 1.0)], [answer(1, "", 3.0)]]})
    assert found["servers"]["ours"]["rtfx_per_round"] == [15.0, pytest.approx(5.0)]
    assert found["servers"]["ours"]["rtfx"] == pytest.approx(10.0)
