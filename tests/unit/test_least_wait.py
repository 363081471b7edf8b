"""Which replica a request goes to: pure policy over what the replicas have reported."""

from collections.abc import Sequence

import pytest

from serve_app.caller import Priority
from serve_app.engine.request import Demand
from serve_app.serving.least_wait import Report, by_wait

SHORT = Demand(5.0, 8.0)
FILE = Demand(3600.0, 3600.0)


def report(
    wait: float = 0.0, bulk: float = 0.0, rate: float = 10.0, sent: Sequence[float] = ()
) -> Report:
    stats = {"wait_seconds": wait, "bulk_wait_seconds": bulk, "work_per_second": rate}
    return Report(stats, tuple(sent))


@pytest.mark.parametrize(
    ("busy", "free", "demand"),
    [
        (report(wait=3.0), report(), SHORT),
        (report(bulk=700.0), report(bulk=20.0), FILE),
        # One long file makes others wait longer than many short requests do.
        (report(bulk=700.0), report(wait=2.0, bulk=9.0), Demand(5.0, 8.0, Priority.BULK)),
        (report(sent=[8.0, 8.0]), report(sent=[8.0]), SHORT),
        (report(sent=[3600.0]), report(), FILE),
        # The faster machine, after as much work was sent to both.
        (report(rate=5.0, sent=[8.0]), report(rate=10.0, sent=[8.0]), SHORT),
    ],
)
def test_the_shortest_wait_comes_first(busy: Report, free: Report, demand: Demand) -> None:
    assert by_wait({"busy": busy, "free": free}, demand) == ["free", "busy"]


def test_a_file_that_was_just_sent_costs_a_short_request_no_more_than_itself() -> None:
    with_file, with_two = report(sent=[3600.0]), report(sent=[8.0, 8.0])
    assert by_wait({"with two": with_two, "with file": with_file}, SHORT)[0] == "with file"


def test_replicas_that_are_alike_take_turns_by_chance() -> None:
    alike = {name: report() for name in ("a", "b")}
    assert {by_wait(alike, SHORT)[0] for _ in range(100)} == {"a", "b"}


@pytest.mark.parametrize("unknown", [Report({}), report(rate=0.0)])
def test_nothing_is_known_until_every_replica_has_reported_how_fast_it_is(unknown: Report) -> None:
    assert by_wait({"new": unknown, "old": report()}, SHORT) == []
