"""What a load run makes of requests that end in odd ways: each is counted once."""

import time
from collections.abc import Callable

import gevent  # type: ignore[import-untyped]  # it has no types
import httpx
import pytest
from gevent.event import Event  # type: ignore[import-untyped]  # it has no types

from loadtest.dialects import Answer
from loadtest.journal import DICTATION, Sent
from loadtest.sending import InFlight

PLANNED = Sent(DICTATION, 0, due=0.0, posted=0.0, ended=0.0, seconds=5.0)


def raising(error: Exception) -> Callable[[], Answer]:
    def ask() -> Answer:
        raise error

    return ask


@pytest.mark.parametrize("error", [httpx.ReadError("reset"), KeyError("a bug of ours")])
def test_a_request_without_an_answer_is_an_error_whatever_broke(error: Exception) -> None:
    ended: list[Sent] = []
    in_flight = InFlight(time.perf_counter)
    in_flight.send(PLANNED, raising(error), ended.append)
    in_flight.end(10.0)
    assert [sent.error for sent in ended] == [f"{type(error).__name__}: {error}"]
    assert ended[0].is_error


def test_an_answer_is_kept_with_the_time_of_its_post() -> None:
    ended: list[Sent] = []
    in_flight = InFlight(time.perf_counter)
    in_flight.send(PLANNED, lambda: Answer(200, "red car"), ended.append)
    in_flight.end(10.0)
    assert [(sent.status, sent.text) for sent in ended] == [(200, "red car")]
    assert 0 < ended[0].posted <= ended[0].ended


def test_a_request_that_was_given_up_is_not_counted_again_by_its_late_answer() -> None:
    ended: list[Sent] = []
    answered = Event()
    in_flight = InFlight(time.perf_counter)

    def ask() -> Answer:
        answered.wait()
        return Answer(200, "too late")

    greenlet = in_flight.send(PLANNED, ask, ended.append)
    gevent.sleep(0)  # so that it asks
    answered.set()
    in_flight.end(0.0)
    gevent.joinall([greenlet], timeout=10)
    assert len(ended) == 1
