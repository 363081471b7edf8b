"""Which replica of a model gets a request: the one where it is estimated to wait least.

The fewest requests, by which Serve goes, say little: one file of two hours keeps a replica busy for
longer than fifty dictated sentences. So every replica reports its estimated waits, which Serve
passes to the routers about once a second. In between, a router adds the work that it has sent
itself, as far as it is not done by now, or a burst would all go to the same replica. While some
replica has not reported, the router tries two at random, and Serve takes the one of them with fewer
requests.

A profile names the class as ``request_router_class`` of its Transcriber.
"""

import math
import random
import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ray.serve.request_router import FIFOMixin, PendingRequest, RequestRouter, RunningReplica
from typing_extensions import override

from serve_app.engine.admission import Load
from serve_app.engine.request import NO_DEMAND, Demand
from serve_app.engine.work import least_demand

Replica = TypeVar("Replica", bound=Hashable)


def stats_of(load: Load, received: int) -> dict[str, float]:
    """What a replica reports. ``received``, its requests so far, marks each report as a new one."""
    return {
        "wait_seconds": load.wait_seconds,
        "bulk_wait_seconds": load.bulk_wait_seconds,
        "work_per_second": load.work_per_second,
        "received": received,
    }


@dataclass(frozen=True)
class Report:
    """What one replica has reported, and what it was sent since.

    Each of ``sent`` is a time, in seconds of any monotonic clock, and work, in window seconds.
    """

    stats: Mapping[str, float]
    sent: tuple[tuple[float, float], ...] = ()

    def wait_seconds(self, demand: Demand, now: float) -> float:
        """How long a request waits there: the reported wait, and what was sent since and is left.

        As in :mod:`serve_app.engine.admission`, a short request shares its turns with those before
        it, so that each costs it no more than it costs itself.
        """
        most = demand.work_seconds if demand.is_short else math.inf
        left, then = 0.0, -math.inf
        for sent_at, work in self.sent:
            left = max(0.0, left - (sent_at - then)) + min(work, most) / self.rate
            then = sent_at
        reported = self.stats["wait_seconds" if demand.is_short else "bulk_wait_seconds"]
        return reported + max(0.0, left - (now - then))

    @property
    def rate(self) -> float:
        """Window seconds that the replica does per second; 0 until that is known."""
        return self.stats.get("work_per_second", 0.0)


def by_wait(reports: Mapping[Replica, Report], demand: Demand, now: float) -> list[Replica]:
    """The replicas from the shortest wait to the longest; equal ones in random order.

    Empty if a replica has not reported how fast it is.
    """
    if any(report.rate <= 0 for report in reports.values()):
        return []
    waits = {replica: report.wait_seconds(demand, now) for replica, report in reports.items()}
    return sorted(waits, key=lambda replica: (waits[replica], random.random()))


class LeastWait(FIFOMixin, RequestRouter):  # type: ignore[misc]  # ray has no types
    """Serve's router of one handle; see https://docs.ray.io, Serve, custom request router."""

    @override
    def initialize_state(self, **kwargs: Any) -> None:
        self._reports: dict[Any, Report] = {}

    @override
    async def choose_replicas(
        self,
        candidate_replicas: Sequence[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        if pending_request is not None:  # if all are full, Serve then waits before it asks again
            pending_request.routing_context.should_backoff = True
        replicas = {replica.replica_id: replica for replica in candidate_replicas}
        self._reports = {
            each: self._report(each, one.routing_stats) for each, one in replicas.items()
        }
        demand, now = demand_of(pending_request), time.monotonic()
        order = by_wait(self._reports, demand, now)
        if not order:
            return [random.sample([*replicas.values()], min(2, len(replicas)))]
        first = self._reports[order[0]]
        if demand.work_seconds:
            self._reports[order[0]] = Report(first.stats, (*first.sent, (now, demand.work_seconds)))
        return [[replicas[each]] for each in order]

    def _report(self, replica: Any, stats: Mapping[str, float]) -> Report:
        known = self._reports.get(replica)
        return known if known is not None and known.stats == stats else Report(dict(stats))


def demand_of(request: PendingRequest | None) -> Demand:
    """The demand of a call of ``Transcriber``, which is ``NO_DEMAND`` if it does not transcribe."""
    if request is None or not request.metadata.call_method.startswith("transcribe"):
        return NO_DEMAND
    clip, options, caller, *_ = request.args
    return least_demand(options, clip.seconds, caller.priority)
