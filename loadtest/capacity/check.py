"""The planner against this machine: ``python -m loadtest.capacity check --profile NAME``.

A server is started and loaded by locust at shares of the predicted saturation; its p95 is held
against the simulation's, of the very same arrivals and on average over other arrivals of the same
people. Saturation itself is measured with a closed loop, which the simulation repeats. Each load is
sent in several rounds of other arrivals; before and after each the machine's speed is probed. Loads
are shares of what saturates it at the speed found before, predictions are for that found around.
"""

import argparse
import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from loadtest.capacity.cluster import Cluster, Result, served_rtfx
from loadtest.capacity.core_use import CoreUse, CoreWatch
from loadtest.capacity.plan import Question, crowd, saturation_rtfx
from loadtest.capacity.probe import keep_busy, speed_of
from loadtest.capacity.profile import MachineProfile
from loadtest.capacity.stored_profiles import profile_path, read_profile
from loadtest.dialects import CONTRACT, CONTRACT_ONCE
from loadtest.dictation import Habit, Level, Piece
from loadtest.load import Span, latency_percentiles, machine, rate_between
from loadtest.locust_process import LoadPlan, run_locust
from loadtest.options import english_options
from loadtest.server import Server, start_server
from loadtest.utterances import speech_of
from serve_app.errors import WhisperOxError

BAR = 0.20
"""Largest relative error that passes."""

OTHER_SEEDS = range(1_000, 1_008)
QUIET_CORES = 0.1
"""More than this used by other programs, and a measurement says little."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of ``check``."""
    parser.add_argument("--profile", required=True, help="name or file; its model is served")
    parser.add_argument("--config", default="dev", help="Serve config")
    parser.add_argument("--load", type=float, nargs="*", default=[0.4, 0.7, 0.9])
    parser.add_argument("--rounds", type=int, default=3, help="of each load")
    parser.add_argument("--minutes", type=float, default=3.0, help="of each round")
    parser.add_argument("--chunk", type=float, default=15.0)
    parser.add_argument("--speaking-share", type=float, default=0.5)
    parser.add_argument("--dictation-seconds", type=float, default=60.0)
    parser.add_argument("--warm-up-seconds", type=float, default=30.0, help="not compared")
    parser.add_argument("--clients", type=int, default=24, help="of the closed loop")
    parser.add_argument("--saturation-minutes", type=float, default=4.0, help="0: leave it out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--once", action="store_true", help="temperature 0: no window is decoded again by chance"
    )


def compare(measured: float, predicted: float) -> dict[str, float]:
    """Both and the prediction's relative error."""
    return {
        "measured": measured,
        "predicted": predicted,
        "relative_error": predicted / measured - 1,
    }


def check(given: argparse.Namespace, earlier: dict[str, Any]) -> dict[str, Any]:
    """Measure and compare; results of ``earlier`` for other loads are kept."""
    about = machine()
    profile = read_profile(profile_path(given.profile))
    if given.once:
        profile = profile.without_fallback()
    habit = Habit(given.chunk, given.speaking_share, given.dictation_seconds)
    found = {
        "tool": "capacity_check",
        "machine": about,
        "profile": profile.name,
        "model": profile.model,
        "habit": asdict(habit),
        "once": given.once,
        "predicted_saturation_rtfx": saturation_rtfx(profile, habit),
        "saturation": earlier.get("saturation"),
        "loads": earlier.get("loads", []),
    }
    with start_server(profile.model, ["--config", given.config]) as server:
        probe = _Probe(server, profile)
        if given.saturation_minutes > 0:
            found["saturation"] = _check_saturation(server, probe, habit, given)
        for load in given.load:
            row = _check_load(server, probe, habit, load, given)
            others = [one for one in found["loads"] if one["load"] != load]
            found["loads"] = sorted([*others, row], key=lambda one: float(one["load"]))
    found["largest_error"] = max(abs(error) for error in _errors(found))
    found["passed"] = found["largest_error"] <= BAR
    return found


def _errors(found: dict[str, Any]) -> list[float]:
    rows = [row["p95_same_arrivals"] for row in found["loads"]]
    return [row["relative_error"] for row in [*rows, found["saturation"]] if row]


class _Probe:
    """The server's speed between one measurement and the next, as a share of the profile's."""

    def __init__(self, server: Server, profile: MachineProfile) -> None:
        self._server = server
        self.profile = profile
        self._probe()  # warms up
        self._latest = self._probe()

    def seen(self) -> tuple[float, MachineProfile]:
        """Mean speed before and after what has been measured since, and the profile at it."""
        before, self._latest = self._latest, self._probe()
        speed = (before + self._latest) / 2
        return speed, self.profile.at_speed(speed)

    def now(self) -> MachineProfile:
        """The profile at the speed that was found last."""
        return self.profile.at_speed(self._latest)

    def _probe(self) -> float:
        return speed_of(self._server.url, self.profile)


def _check_saturation(
    server: Server, probe: _Probe, habit: Habit, given: argparse.Namespace
) -> dict[str, Any]:
    seconds, warm_up = given.saturation_minutes * 60, given.warm_up_seconds
    speech, model = speech_of(habit), probe.profile.model
    said = (speech.utterance(piece.seconds, piece.pick) for piece in habit.pieces(0, 0))
    options = english_options(model, once=given.once)
    watch = CoreWatch(server)
    outcomes = keep_busy(server.url, said, options, clients=given.clients, seconds=seconds)
    use = watch.seen()
    speed, profile = probe.seen()
    began = min(outcome.began for outcome in outcomes)
    spans = [Span(o.client, o.began, o.ended, o.seconds) for o in outcomes]
    rate = rate_between(spans, began + warm_up, began + seconds)
    as_calibrated, simulated = (
        Cluster(one).closed_loop(given.clients, habit.pieces(0, 0), seconds)
        for one in (probe.profile, profile)
    )
    return {
        **compare(rate, served_rtfx(simulated, warm_up)),
        "predicted_as_calibrated": served_rtfx(as_calibrated, warm_up),
        "speed": speed,
        "clients": given.clients,
        "seconds": seconds,
        "latency": compare(
            latency_percentiles([o.latency for o in outcomes])["p95"], simulated.percentiles["p95"]
        ),
        "work": compare(use.work_seconds(profile.server.idle_cores), simulated.core_seconds),
        **asdict(use),
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


def _check_load(
    server: Server, probe: _Probe, habit: Habit, load: float, given: argparse.Namespace
) -> dict[str, Any]:
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


def _crowd_now(probe: _Probe, habit: Habit, load: float) -> Question:
    profile = probe.now()
    return crowd(profile, habit, load, saturation_rtfx(profile, habit))


def _round(
    server: Server, probe: _Probe, question: Question, seed: int, given: argparse.Namespace
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


def read_earlier(path: Path | None, profile: str, *, once: bool) -> dict[str, Any]:
    """What ``path`` holds of the same profile, asked alike; {} where it is new."""
    if path is None or not path.exists():
        return {}
    earlier: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    asked = (read_profile(profile_path(profile)).name, once)
    return earlier if (earlier.get("profile"), earlier.get("once")) == asked else {}


def print_check(found: dict[str, Any]) -> None:
    """Errors by load, in words."""
    rows: list[tuple[str, dict[str, Any] | None]] = [("saturation, RTFx", found["saturation"])]
    for kind in ("same_arrivals", "expected"):
        rows += [
            (f"p95 at {row['load']:.0%}, {kind.replace('_', ' ')}, s", row[f"p95_{kind}"])
            for row in found["loads"]
        ]
    for name, row in rows:
        if row:
            print(
                f"{name:<36} measured {row['measured']:7.2f}  predicted {row['predicted']:7.2f}  "
                f"{row['relative_error']:+.1%}"
            )
    for row in [*found["loads"], *([found["saturation"]] if found["saturation"] else [])]:
        print(f"the machine was {row['speed']:.2f} times as fast as the profile")
        if work := row.get("work"):  # results of an earlier version have none
            print(
                f"requests took {work['measured']:.0f} core seconds, "
                f"predicted {work['predicted']:.0f}"
            )
        if row["others"] > QUIET_CORES:
            print(f"other programs used {row['others']:.2f} cores meanwhile: measure again")
    print(f"largest error {found['largest_error']:.1%}, bar {BAR:.0%}")
