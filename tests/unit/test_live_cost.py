"""What live sessions cost an engine, as plain data."""

import pytest

from serve_app.caller import Live
from serve_app.engine.live_cost import DRAFT_SHARE, LEAST_SECONDS, SEEN_SECONDS, LiveCost
from serve_app.engine.queue import Job, Stage, Step
from serve_app.engine.request import Demand, Request

ENCODE = Step(Stage.ENCODE)
DICTATION = Job(Request(), ENCODE)


def final(session: str = "a") -> Job:
    return Job(Request(Demand(live=Live(session))), ENCODE)


def draft(session: str = "a") -> Job:
    return Job(Request(Demand(live=Live(session, 3.0))), ENCODE)


def speak(cost: LiveCost, seconds: float) -> None:
    """The final text of an utterance has been told."""
    cost.close(Request(Demand(15.0, live=Live("a", new_seconds=seconds)), done_seconds=8.0))


def work(cost: LiveCost, batch: list[Job], seconds: float) -> None:
    cost.begin(0, 0.0)
    cost.finish(0, batch, seconds)


def test_nothing_is_said_about_the_cost_before_it_has_been_measured() -> None:
    cost = LiveCost(workers=2)
    work(cost, [draft()], 0.1)
    speak(cost, LEAST_SECONDS / 2)
    assert cost.capacity is None


def test_workers_that_are_busy_for_a_tenth_of_the_time_can_follow_ten_times_as_many() -> None:
    cost = LiveCost(workers=2)
    for _ in range(100):
        work(cost, [final()], 1.0)
        speak(cost, 10.0)
    assert cost.capacity == pytest.approx(2 * 10, rel=0.01)


def test_drafts_count_in_part_because_some_of_them_can_be_left_out() -> None:
    cost = LiveCost(workers=1)
    for _ in range(100):
        work(cost, [draft()], 1.0)
        speak(cost, 10.0)
    assert cost.capacity == pytest.approx(10 / DRAFT_SHARE, rel=0.01)


def test_windows_of_others_in_a_batch_are_not_charged() -> None:
    cost = LiveCost(workers=1)
    for _ in range(100):
        work(cost, [final(), DICTATION, DICTATION, DICTATION], 4.0)
        cost.close(Request(Demand(100.0), done_seconds=30.0))
        speak(cost, 10.0)
    assert cost.capacity == pytest.approx(10, rel=0.01)


def test_a_session_counts_for_a_while_after_its_latest_request() -> None:
    cost = LiveCost(workers=1)
    work(cost, [draft("a"), draft("a"), draft("b")], 1.0)
    assert cost.sessions(SEEN_SECONDS) == {"a", "b"}
    assert cost.sessions(2 * SEEN_SECONDS) == set()
