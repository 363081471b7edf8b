"""Which replica a request goes to: pure policy over what the replicas have reported."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from ray.serve._private.common import (
    DeploymentID,
    ReplicaID,
    RequestMetadata,
    RunningReplicaInfo,
)
from ray.serve.request_router import PendingRequest, RunningReplica

from serve_app.audio.clip import AudioClip
from serve_app.caller import Caller, Priority
from serve_app.engine.request import Demand
from serve_app.options import TranscribeOptions
from serve_app.serving.least_wait import LeastWait, Report, by_wait, demand_of

NOW = 100.0
SHORT = Demand(5.0, 8.0)
FILE = Demand(3600.0, 3600.0)


def report(
    wait: float = 0.0, bulk: float = 0.0, rate: float = 10.0, sent: Sequence[float] = ()
) -> Report:
    stats = {"wait_seconds": wait, "bulk_wait_seconds": bulk, "work_per_second": rate}
    return Report(stats, tuple((NOW, work) for work in sent))


@pytest.mark.parametrize(
    ("busy", "free", "demand"),
    [
        (report(wait=3.0), report(), SHORT),
        (report(bulk=700.0), report(bulk=20.0), FILE),
        # One file of two hours makes another file wait longer than three of five minutes do.
        (report(bulk=720.0), report(wait=2.0, bulk=90.0), FILE),
        (report(bulk=700.0), report(wait=2.0, bulk=9.0), Demand(5.0, 8.0, Priority.BULK)),
        (report(sent=[8.0, 8.0]), report(sent=[8.0]), SHORT),
        (report(sent=[3600.0]), report(), FILE),
        # The faster machine, after as much work was sent to both.
        (report(rate=5.0, sent=[8.0]), report(rate=10.0, sent=[8.0]), SHORT),
    ],
)
def test_the_shortest_wait_comes_first(busy: Report, free: Report, demand: Demand) -> None:
    assert by_wait({"busy": busy, "free": free}, demand, NOW) == ["free", "busy"]


def test_a_file_that_was_just_sent_costs_a_short_request_no_more_than_itself() -> None:
    with_file, with_two = report(sent=[3600.0]), report(sent=[8.0, 8.0])
    assert by_wait({"with two": with_two, "with file": with_file}, SHORT, NOW)[0] == "with file"


def test_what_was_sent_is_worked_off_until_the_next_report() -> None:
    served = Report(report().stats, ((NOW - 3.0, 8.0), (NOW - 2.0, 8.0), (NOW - 1.0, 8.0)))
    busy = report(wait=0.1)
    assert by_wait({"busy": busy, "served": served}, SHORT, NOW) == ["served", "busy"]
    assert by_wait({"busy": busy, "served": served}, SHORT, NOW - 1.0) == ["busy", "served"]


def test_replicas_that_are_alike_take_turns_by_chance() -> None:
    alike = {name: report() for name in ("a", "b")}
    assert {by_wait(alike, SHORT, NOW)[0] for _ in range(100)} == {"a", "b"}


@pytest.mark.parametrize("unknown", [Report({}), report(rate=0.0)])
def test_nothing_is_known_until_every_replica_has_reported_how_fast_it_is(unknown: Report) -> None:
    assert by_wait({"new": unknown, "old": report()}, SHORT, NOW) == []


def replica(name: str, **stats: float) -> RunningReplica:
    """Ray's own object for a replica that has reported ``stats``, without a process behind it."""
    running = RunningReplica.__new__(RunningReplica)
    running._replica_info = RunningReplicaInfo(
        replica_id=ReplicaID(name, DeploymentID("Transcriber")),
        node_id="node",
        node_ip="127.0.0.1",
        availability_zone=None,
        actor_name=name,
        max_ongoing_requests=8,
        routing_stats=stats,
    )
    return running


def call(method: str, seconds: float = 5.0) -> PendingRequest:
    """Ray's own object for a call that waits for a replica."""
    clip = AudioClip(np.zeros(round(seconds * 16_000), np.int16), seconds)
    metadata = RequestMetadata("id", "internal id", call_method=method)
    return PendingRequest(
        [clip, TranscribeOptions(), Caller("id")], {}, metadata, future=asyncio.Future()
    )


def test_a_burst_between_two_reports_is_spread() -> None:
    async def burst() -> list[str]:
        router = LeastWait.__new__(LeastWait)
        router.initialize_state()
        stats = {"wait_seconds": 0.0, "bulk_wait_seconds": 0.0, "work_per_second": 10.0}
        replicas = [replica(name, **stats) for name in "abc"]
        ranks = [await router.choose_replicas(replicas, call("transcribe")) for _ in range(6)]
        return [best.replica_id.unique_id for [best], *_ in ranks]

    assert sorted(asyncio.run(burst())) == ["a", "a", "b", "b", "c", "c"]


def test_two_are_tried_while_nothing_is_known_and_serve_may_pause_if_all_are_full() -> None:
    async def choose() -> tuple[int, bool]:
        router = LeastWait.__new__(LeastWait)
        router.initialize_state()
        request = call("describe")
        [rank] = await router.choose_replicas([replica(name) for name in "abc"], request)
        return len(rank), request.routing_context.should_backoff

    assert asyncio.run(choose()) == (2, True)


@pytest.mark.parametrize(
    ("method", "short"), [("transcribe", False), ("transcribe_aloud", False), ("describe", True)]
)
def test_what_a_call_asks_for_is_read_from_its_arguments(method: str, short: bool) -> None:
    async def demand() -> Demand:
        return demand_of(call(method, 120.0))

    assert asyncio.run(demand()).is_short is short
