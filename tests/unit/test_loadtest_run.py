from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.dictation import Level
from loadtest.engine_metrics import engine_figures, engine_series, parse
from loadtest.load_figures import by_level, covered_seconds, figures, over_time
from loadtest.sent import BAD, DICTATION, Sent
from loadtest.sizing import row_of, verdict

SIZING_ROW = row_of("gpu-t4")


def sent(
    due: float,
    latency: float = 1.0,
    *,
    text: str | None = "red car",
    reference: str | None = None,
    status: int | None = 200,
    retry_after: float | None = None,
) -> Sent:
    """A dictation chunk of 15 s."""
    return Sent(
        DICTATION,
        due=due,
        posted=due + 0.25,
        ended=due + latency,
        seconds=15.0,
        status=status,
        text=text,
        reference=reference,
        retry_after=retry_after,
    )


def refused(due: float, retry_after: float | None = 3.0) -> Sent:
    return sent(due, 0.0, text=None, status=429, retry_after=retry_after)


def bad(status: int) -> Sent:
    return Sent(BAD, due=0.0, seconds=0.0, status=status, expected=415)


def test_latency_counts_from_when_a_request_was_due() -> None:
    found = figures([sent(0.0, 2.0), sent(5.0, 4.0)], 10.0)
    assert found["latency_seconds"]["p50"] == 3.0
    assert found["posted_late_seconds"]["max"] == 0.25


def test_rates_of_a_run() -> None:
    found = figures([sent(0.0, 1.25), sent(1.0, 1.25), sent(8.0, text=None, status=500)], 30.0)
    assert found["offered_rtfx"] == 1.5
    assert found["served_rtfx"] == 1.0
    assert found["busy_rtfx"] == pytest.approx(30 / 2)  # under way from 0.25 to 2.25


def test_a_refusal_with_its_time_is_no_error() -> None:
    found = figures([refused(0.0), refused(1.0, retry_after=None)], 10.0)
    assert (found["refused"], found["errors"]) == (1, 1)


def test_a_bad_request_succeeds_by_its_own_refusal() -> None:
    assert not bad(415).is_error
    assert bad(200).is_error


def test_words_are_scored_where_speech_was_whole() -> None:
    scored = sent(0.0, text="red cart", reference="red car")
    found = figures([scored, sent(1.0, text="nonsense")], 10.0)
    assert (found["wer"], found["scored_words"]) == (0.5, 2)


def test_a_run_without_requests_has_no_latency() -> None:
    found = figures([], 10.0)
    assert (found["latency_seconds"], found["wer"], found["busy_rtfx"]) == ({}, None, 0.0)


def test_levels_get_the_requests_that_were_due_in_them() -> None:
    levels = [Level(2, 10.0), Level(4, 10.0)]
    found = by_level([sent(0.0), sent(9.9), sent(10.0)], levels)
    assert [(one["users"], one["requests"]) for one in found] == [(2, 2), (4, 1)]


def test_series_over_time_keep_every_request() -> None:
    series = over_time([sent(0.5), sent(1.0, 3.0), sent(12.0)], seconds=20.0, bin_seconds=5.0)
    assert series["at"] == [2.5, 7.5, 12.5, 17.5]
    assert sum(series["offered_rtfx"]) * 5 == sum(series["served_rtfx"]) * 5 == 45.0


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20))))
def test_covered_time_is_that_of_the_union(spans: list[tuple[int, int]]) -> None:
    covered = {at for start, length in spans for at in range(start, start + length)}
    assert covered_seconds((start, start + length) for start, length in spans) == len(covered)


@pytest.mark.parametrize(
    ("requests", "broken"),
    [
        ([sent(0.0, 1.25)], []),
        ([sent(0.0, 1.25), refused(1.0)], ["nobody turned away"]),
        ([sent(0.0, 1.25), sent(0.0, text=None, status=500)], ["no errors"]),
        ([sent(0.0, 6.0)], ["p95 latency up to 5 s", "at least 5 times real time (one NVIDIA T4)"]),
    ],
)
def test_a_promise_is_broken_by_what_breaks_it(requests: Sequence[Sent], broken: list[str]) -> None:
    checks = verdict(SIZING_ROW, figures(requests, 10.0), p95_limit=5.0)
    assert [check.name for check in checks if not check.passed] == broken


def test_a_run_without_transcripts_keeps_no_promise() -> None:
    checks = verdict(SIZING_ROW, figures([], 10.0), p95_limit=5.0)
    assert {check.name for check in checks if check.passed} == {"no errors", "nobody turned away"}


def scraped(windows: int, batches: int, audio: float, active: float) -> str:
    return f"""
ray_whisper_ox_stage_windows_total{{stage="generate",replica="a"}} {windows}
ray_whisper_ox_stage_windows_total{{stage="encode",replica="a"}} 1000
ray_whisper_ox_stage_batches_total{{stage="generate",replica="a"}} {batches}
ray_whisper_ox_stage_slots_total{{stage="generate",replica="a"}} {8 * batches}
ray_whisper_ox_audio_transcribed_seconds_total{{replica="a"}} {audio}
ray_whisper_ox_engine_active_seconds_total{{replica="a"}} {active}
ray_whisper_ox_open_requests{{replica="a"}} 2
ray_whisper_ox_open_requests{{replica="b"}} 3
python_gc_objects_collected_total{{generation="0"}} 1
"""


def test_batches_and_rates_are_differences_of_counters() -> None:
    samples = [parse(scraped(10, 5, 100, 10), 50.0), parse(scraped(50, 15, 400, 30), 60.0)]
    series = engine_series(samples, began_unix=50.0)
    assert (series["at"], series["batch"], series["fill"]) == ([5.0], [4.0], [0.5])
    assert engine_figures(samples)["rtfx"] == 15.0
    assert engine_figures(samples)["most_open_requests"] == 5.0
