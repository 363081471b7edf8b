"""Quotas of a key: requests at once, and audio per minute, on a clock that the tests move."""

import asyncio
import math
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.api.edge.keys_file import NamedKey, digest_of
from serve_app.api.edge.quotas import Quotas
from serve_app.errors import NotReady, Overloaded, QuotaExceeded
from serve_app.settings import QuotaSettings


class Bench:
    """Quotas that are alike for every key, and their clock."""

    def __init__(self, *, concurrent: int | None = None, audio: float | None = None) -> None:
        self.now = 1000.0
        self.bounds = QuotaSettings(concurrent_requests=concurrent, audio_seconds_per_minute=audio)
        self.quotas = Quotas(lambda: self.now)

    def key(self, name: str = "alice") -> NamedKey:
        return NamedKey(name, digest_of(name.encode()), self.bounds)

    def wait_for(self, seconds: float, name: str = "alice") -> float:
        """How long a clip of ``seconds`` is told to wait; 0.0: it is taken."""
        try:
            self.quotas.charge(self.key(name), seconds)
        except QuotaExceeded as exceeded:
            assert exceeded.retry_after_seconds is not None
            return exceeded.retry_after_seconds
        return 0.0

    def fail(self, seconds: float, error: BaseException) -> None:
        """A clip of alice's ends with ``error``."""
        with pytest.raises(type(error)), self.quotas.charging(self.key(), seconds):
            raise error


def test_requests_at_once_are_bounded_per_key() -> None:
    bench = Bench(concurrent=2)
    with ExitStack() as running:
        for name in ("alice", "alice", "bob"):
            running.enter_context(bench.quotas.running(bench.key(name)))
        with pytest.raises(QuotaExceeded, match="at most 2") as raised:
            running.enter_context(bench.quotas.running(bench.key()))
        assert (raised.value.status, raised.value.retry_after_seconds) == (429, 1.0)
        running.enter_context(bench.quotas.running(bench.key("bob")))


def test_a_request_that_ends_makes_room_and_a_refused_one_takes_none() -> None:
    bench = Bench(concurrent=1)
    with bench.quotas.running(bench.key()):
        for _ in range(3):
            with pytest.raises(QuotaExceeded), bench.quotas.running(bench.key()):
                pass
    with bench.quotas.running(bench.key()):
        pass


def test_without_bounds_nothing_is_refused() -> None:
    bench = Bench()
    with ExitStack() as running:
        for _ in range(1000):
            running.enter_context(bench.quotas.running(bench.key()))
            assert bench.wait_for(3600) == 0


def test_a_minutes_audio_may_come_at_once_and_then_as_it_flows_in() -> None:
    bench = Bench(audio=120)
    assert [bench.wait_for(40) for _ in range(4)] == [0, 0, 0, 20]
    bench.now += 19
    assert bench.wait_for(40) == pytest.approx(1)
    bench.now += 1
    assert bench.wait_for(40) == 0


def test_keys_do_not_share_their_minutes() -> None:
    bench = Bench(audio=60)
    assert bench.wait_for(60, "alice") == bench.wait_for(60, "bob") == 0
    assert bench.wait_for(1, "alice") == pytest.approx(1)


def test_audio_longer_than_the_bound_is_taken_when_nothing_was_used_and_paid_off_after() -> None:
    bench = Bench(audio=60)
    assert bench.wait_for(1) == 0
    assert bench.wait_for(600) == pytest.approx(1)
    bench.now += 1
    assert bench.wait_for(600) == 0
    assert bench.wait_for(60) == pytest.approx(600)
    assert bench.wait_for(1) == pytest.approx(541)


def test_audio_that_is_refused_before_any_work_costs_nothing() -> None:
    bench = Bench(audio=60)
    for _ in range(2):
        bench.fail(60, Overloaded("full"))
    bench.now += 10
    assert bench.wait_for(60) == 0


@pytest.mark.parametrize(
    "error", [asyncio.CancelledError(), NotReady("died twice"), RuntimeError("out of memory")]
)
def test_audio_that_was_worked_on_is_charged_whatever_came_of_it(error: BaseException) -> None:
    bench = Bench(audio=60)
    bench.fail(60, error)
    assert bench.wait_for(60) == pytest.approx(60)


def test_without_a_key_there_is_no_quota() -> None:
    quotas = Bench(audio=60).quotas
    for _ in range(2):
        with quotas.charging(None, 3600):
            pass


def test_a_key_that_pays_off_audio_is_told_so_before_it_sends_more() -> None:
    bench = Bench(audio=60)
    assert [bench.wait_for(seconds) for seconds in (0, 90)] == [0, 0]
    assert bench.wait_for(0) == pytest.approx(30)
    bench.now += 30
    assert bench.wait_for(0) == 0


def test_a_changed_bound_holds_from_then_on() -> None:
    bench = Bench(audio=60)
    assert bench.wait_for(60) == 0
    bench.bounds = QuotaSettings(audio_seconds_per_minute=None)
    assert bench.wait_for(600) == 0
    bench.bounds = QuotaSettings(audio_seconds_per_minute=600)
    bench.now += 30
    assert bench.wait_for(301) == pytest.approx(0.1)


@given(
    bound=st.floats(0.1, 10_000),
    clips=st.lists(st.tuples(st.floats(0, 20_000), st.floats(0, 100)), max_size=40),
)
def test_who_waits_as_told_is_taken_and_the_bound_holds(
    bound: float, clips: list[tuple[float, float]]
) -> None:
    bench = Bench(audio=bound)
    taken = 0.0
    for seconds, pause in clips:
        bench.now += pause
        if wait := bench.wait_for(seconds):
            bench.now += math.ceil(wait)
            assert bench.wait_for(seconds) == 0
        taken += seconds
        flowed_in = bound * (bench.now - 1000) / 60
        assert taken <= (max(bound, seconds) + flowed_in) * 1.000_1
