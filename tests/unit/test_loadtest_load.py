import pytest

from loadtest.load import Outcome, Span, latency_percentiles, loaded_rate, served_rate


def outcome(client: int, began: float, ended: float, status: int | None = 200) -> Outcome:
    return Outcome(0, client, began, ended, seconds=15.0, status=status)


@pytest.mark.parametrize(
    ("spans", "rate"),
    [
        ([], 0.0),
        ([Span(0, 10.0, 12.0, 30.0), Span(0, 12.0, 15.0, 45.0)], 15.0),
        ([Span(0, 0.0, 2.0, 30.0), Span(1, 0.0, 2.0, 10.0)], 20.0),
        # The tail, in which one is idle, does not count; work that reaches into it counts in part.
        ([Span(0, 0.0, 2.0, 20.0), Span(1, 0.0, 2.0, 20.0), Span(1, 2.0, 10.0, 8.0)], 20.0),
        ([Span(0, 0.0, 2.0, 20.0), Span(1, 0.0, 4.0, 20.0)], 15.0),
    ],
)
def test_the_rate_is_of_the_time_when_every_worker_is_busy(spans: list[Span], rate: float) -> None:
    assert loaded_rate(spans) == rate


def test_failed_requests_yield_nothing() -> None:
    assert served_rate([outcome(0, 0.0, 1.0), outcome(0, 1.0, 2.0, status=503)]) == 7.5


def test_latency_percentiles_of_known_values() -> None:
    expected = {"p50": 50.0, "p95": 95.0, "p99": 99.0, "max": 100}
    assert latency_percentiles(range(101)) == expected
    assert latency_percentiles([]) == {}
