from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.load import (
    FEWEST_CHUNKS,
    GAP_SECONDS,
    LONGEST_CHUNK,
    SHORTEST_CHUNK,
    Outcome,
    Span,
    joined,
    latency_percentiles,
    loaded_rate,
    plan_chunks,
    served_rate,
)
from loadtest.speech import Clip

clip_lengths = st.lists(st.floats(1.0, 40.0), min_size=1, max_size=30)


def chunk_seconds(lengths: Sequence[float], chunk: Sequence[int]) -> float:
    return sum(lengths[n] for n in chunk) + GAP_SECONDS * (len(chunk) - 1)


def outcome(client: int, began: float, ended: float, status: int | None = 200) -> Outcome:
    return Outcome(0, client, began, ended, seconds=15.0, status=status)


@given(clip_lengths, st.floats(4.0, 30.0))
def test_every_chunk_is_about_as_long_as_asked_for(lengths: list[float], target: float) -> None:
    for chunk in plan_chunks(lengths, target):
        seconds = chunk_seconds(lengths, chunk)
        assert SHORTEST_CHUNK * target <= seconds <= LONGEST_CHUNK * target + 1e-9


@given(st.lists(st.floats(1.0, 3.0), min_size=1, max_size=20))
def test_no_short_clip_is_left_out(lengths: list[float]) -> None:
    plan = plan_chunks(lengths, 15.0)
    assert {n for chunk in plan for n in chunk} == set(range(len(lengths)))
    assert len(plan) >= FEWEST_CHUNKS


def test_little_speech_is_used_again() -> None:
    assert len(plan_chunks([3.0, 1.1, 2.9], 15.0)) == FEWEST_CHUNKS


def test_chunks_are_the_same_in_every_run() -> None:
    lengths = [1.0 + n % 7 for n in range(40)]
    assert plan_chunks(lengths, 15.0) == plan_chunks(lengths, 15.0)


@pytest.mark.parametrize("lengths", [[], [30.0], [10.0]])
def test_clips_that_make_no_chunk_give_none(lengths: list[float]) -> None:
    assert plan_chunks(lengths, 15.0) == []


def test_a_joined_chunk_keeps_its_references_exact() -> None:
    clips = [
        Clip(text, Path(), "en", text, 1.0, "read", "prompt", "00") for text in ("One.", "Two.")
    ]
    chunk = joined(clips, [np.zeros(16_000, dtype=np.float32)] * 2)
    assert chunk.text == "One. Two."
    assert chunk.seconds == 2 + GAP_SECONDS
    assert len(chunk.audio) == 44 + 2 * 16_000 * chunk.seconds


def test_the_rate_of_one_busy_worker_is_audio_over_time() -> None:
    assert loaded_rate([Span(0, 10.0, 12.0, 30.0), Span(0, 12.0, 15.0, 45.0)]) == 15.0


def test_rates_of_busy_workers_add_up() -> None:
    assert loaded_rate([Span(0, 0.0, 2.0, 30.0), Span(1, 0.0, 2.0, 10.0)]) == 20.0


def test_the_tail_with_idle_workers_does_not_count() -> None:
    both_busy = [Span(0, 0.0, 2.0, 20.0), Span(1, 0.0, 2.0, 20.0)]
    assert loaded_rate([*both_busy, Span(1, 2.0, 10.0, 8.0)]) == 20.0


def test_work_that_reaches_into_the_tail_counts_in_part() -> None:
    assert loaded_rate([Span(0, 0.0, 2.0, 20.0), Span(1, 0.0, 4.0, 20.0)]) == 15.0


def test_no_work_is_no_rate() -> None:
    assert loaded_rate([]) == 0.0


def test_failed_requests_yield_nothing() -> None:
    assert served_rate([outcome(0, 0.0, 1.0), outcome(0, 1.0, 2.0, status=503)]) == 7.5


def test_latency_percentiles_of_known_values() -> None:
    expected = {"p50": 50.0, "p95": 95.0, "p99": 99.0, "max": 100}
    assert latency_percentiles(range(101)) == expected
    assert latency_percentiles([]) == {}
