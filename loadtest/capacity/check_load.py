"""One load of the planner's check: people dictate to a real server, and to a simulated one."""

import argparse
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any

from loadtest.capacity.cluster import Cluster, Result
from loadtest.capacity.core_use import CoreUse, CoreWatch
from loadtest.capacity.plan import Question, crowd, saturation_rtfx
from loadtest.capacity.probe import SpeedWatch
from loadtest.capacity.profile import MachineProfile
from loadtest.dialects import CONTRACT, CONTRACT_ONCE
from loadtest.dictation import Habit, Level, Piece
from loadtest.load import latency_percentiles
from loadtest.locust_process import LoadPlan, run_locust
from loadtest.server import Server
from serve_app.errors import WhisperOxError

OTHER_SEEDS = range(1_000, 1_008)


def compare(measured: float, predicted: float) -> dict[str, float]:
    """Both and the prediction's relative error."""
    return {
        "measured": measured,
        "predicted": predicted,
        "relative_error": predicted / measured - 1,
    }


@dataclass(frozen=True)
class _Round:
    """One run of locust, and the simulation of what it sent, at the speed found around it."""

    question: Question
    measured: list[float]
    same: Result
    as_calibrated: Result
    speed: float
    use: CoreUse
    sender_cores: float
    work_seconds: float

    def described(self) -> dict[str, float]:
        """What the machine did meanwhile."""
        return {
            "users": self.question.users,
            "speed": self.speed,
            "sender_cores": self.sender_cores,
            **asdict(self.use),
        }


def check_load(
    server: Server, probe: SpeedWatch, habit: Habit, load: float, given: argparse.Namespace
) -> dict[str, Any]:
    """Locust at ``load`` times saturation for the rounds of ``given``, beside the simulation.

    Raises ``WhisperOxError`` where a request fails.
    """
    rounds = [
        _round(server, probe, _crowd_now(probe, habit, load), given.seed + number, given)
        for number in range(given.rounds)
    ]
    measured = _percentiles(one.measured for one in rounds)
    same = _percentiles(one.same.latencies for one in rounds)
    other_p95s = sorted(
        _percentiles(
            _simulated(
                probe.profile.at_speed(one.speed),
                one.question.pieces(seed * given.rounds + number),
                given,
            ).latencies
            for number, one in enumerate(rounds)
        )["p95"]
        for seed in OTHER_SEEDS
    )
    return {
        "load": load,
        "users": mean(one.question.users for one in rounds),
        "seconds": given.minutes * 60,
        "requests": sum(len(one.measured) for one in rounds),
        "speed": mean(one.speed for one in rounds),
        "p50_same_arrivals": compare(measured["p50"], same["p50"]),
        "p95_same_arrivals": compare(measured["p95"], same["p95"]),
        "p95_as_calibrated": _percentiles(one.as_calibrated.latencies for one in rounds)["p95"],
        "p95_expected": compare(measured["p95"], mean(other_p95s)),
        "p95_of_other_arrivals": other_p95s,
        "work": compare(
            sum(one.work_seconds for one in rounds), sum(one.same.core_seconds for one in rounds)
        ),
        "others": max(one.use.others for one in rounds),
        "rounds": [one.described() for one in rounds],
    }


def _crowd_now(probe: SpeedWatch, habit: Habit, load: float) -> Question:
    profile = probe.now()
    return crowd(profile, habit, load, saturation_rtfx(profile, habit))


def _round(
    server: Server, probe: SpeedWatch, question: Question, seed: int, given: argparse.Namespace
) -> _Round:
    levels = (Level(question.users, given.minutes * 60),)
    dialect = CONTRACT_ONCE if given.once else CONTRACT
    model = probe.profile.model
    watch = CoreWatch(server)
    about, sent = run_locust(
        server.url, LoadPlan(levels, question.habit, model=model, dialect=dialect, seed=seed)
    )
    use = watch.seen(about["sender_cpu_seconds"])
    speed, profile = probe.seen()
    wrong = [one for one in sent if not one.is_transcript]
    if wrong:
        raise WhisperOxError(f"{len(wrong)} requests failed, the first with: {wrong[0].error}")
    same, as_calibrated = (
        _simulated(one, question.pieces(seed), given) for one in (profile, probe.profile)
    )
    return _Round(
        question=question,
        measured=[one.latency for one in sent if one.due >= given.warm_up_seconds],
        same=same,
        as_calibrated=as_calibrated,
        speed=speed,
        use=use,
        sender_cores=about["sender_cpu_seconds"] / (given.minutes * 60),
        work_seconds=use.work_seconds(profile.server.idle_cores),
    )


def _simulated(
    profile: MachineProfile, pieces: Iterator[Piece], given: argparse.Namespace
) -> Result:
    return Cluster(profile).run(pieces, given.minutes * 60).after(given.warm_up_seconds)


def _percentiles(latencies: Iterable[list[float]]) -> dict[str, float]:
    """Of all rounds together."""
    return latency_percentiles(list(itertools.chain.from_iterable(latencies)))
