import math
from typing import Any

import pytest

from loadtest.bench.throughput import level, ratios
from loadtest.chunks import Chunk
from loadtest.load import Outcome

CHUNKS = [Chunk(text, b"", text, 15.0) for text in ("red car", "green tree", "blue sky")]


def answer(number: int, text: str, seconds: float = 1.0, status: int | None = 200) -> Outcome:
    return Outcome(number, 0, number * 10.0, number * 10.0 + seconds, 15.0, status, text)


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
    found = level(CHUNKS, 1, {"ours": [ours], "naive": [theirs]})
    assert found["scored_requests"] == found["identical_texts"] == 1
    assert found["servers"]["ours"]["wer"] == 0.0
    assert found["servers"]["naive"]["failed"] == 1


def test_word_errors_are_those_of_the_requests_chunk() -> None:
    found = level(CHUNKS, 1, {"ours": [[answer(4, "green three")]]})
    assert found["servers"]["ours"]["wer"] == 0.5


def test_the_rate_is_the_mean_of_the_rounds() -> None:
    found = level(CHUNKS, 1, {"ours": [[answer(0, "", 1.0)], [answer(1, "", 3.0)]]})
    assert found["servers"]["ours"]["rtfx"] == pytest.approx((15.0 + 5.0) / 2)
