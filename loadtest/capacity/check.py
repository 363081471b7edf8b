"""Compares the planner with this machine: ``python -m loadtest.capacity check --profile NAME``.

It starts a server and measures its saturation with a closed loop, which the simulation repeats.
Then locust loads the server at shares of the predicted saturation. Its p95 is compared with the
simulation's, both of the same arrivals and on average over other arrivals of the same people. A
probe measures the machine's speed before and after each measurement. Loads are shares of what
saturates the machine at the speed found before, and predictions are for the mean of both.
"""

import argparse
from dataclasses import asdict
from statistics import mean
from typing import Any

from loadtest.capacity.cluster import Cluster, served_rtfx
from loadtest.capacity.plan import Question, crowd, saturation_rtfx
from loadtest.capacity.probe import keep_busy, rate_of, speed_of
from loadtest.capacity.profile import MachineProfile, read_profile
from loadtest.chunks import Speech
from loadtest.dictation import Habit
from loadtest.load import latency_percentiles, machine
from loadtest.load_plan import LoadPlan, run_locust
from loadtest.server import start_server
from serve_app.errors import WhisperOxError

BAR = 0.20
"""Largest relative error that passes."""

OTHER_SEEDS = range(1_000, 1_008)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of ``check``."""
    parser.add_argument("--profile", required=True, help="name or file; its model is served")
    parser.add_argument("--config", default="dev", help="Serve config")
    parser.add_argument("--load", type=float, nargs="*", default=[0.4, 0.7, 0.9])
    parser.add_argument("--minutes", type=float, default=9.0, help="of each load")
    parser.add_argument("--warm-up-seconds", type=float, default=30.0, help="not compared")
    parser.add_argument("--clients", type=int, default=24, help="of the closed loop")
    parser.add_argument("--saturation-minutes", type=float, default=4.0, help="0: leave it out")
    parser.add_argument("--seed", type=int, default=0)


def compare(measured: float, predicted: float) -> dict[str, float]:
    """The measured and the predicted value, and the prediction's relative error."""
    error = predicted / measured - 1
    return {"measured": measured, "predicted": predicted, "relative_error": error}


class Check:
    """Measurements of one server, each between two probes of its speed."""

    def __init__(self, url: str, profile: MachineProfile, given: argparse.Namespace) -> None:
        self._url = url
        self._profile = profile
        self._given = given
        self._habit = Habit(given.chunk, given.speaking_share, given.dictation_seconds)
        speed_of(url, profile)  # warms up
        self._speed = speed_of(url, profile)

    def saturation(self) -> dict[str, Any]:
        """Audio seconds per second with clients who never pause."""
        given, habit = self._given, self._habit
        seconds, warm_up = given.saturation_minutes * 60, given.warm_up_seconds
        speech = Speech.of(habit)
        said = (speech.chunk(piece.seconds, piece.pick) for piece in habit.pieces(0, 0))
        outcomes = keep_busy(self._url, self._profile.model, said, given.clients, seconds)
        speed, profile = self._seen()
        simulated = Cluster(profile).closed_loop(given.clients, habit.pieces(0, 0), seconds)
        rate = rate_of(outcomes, warm_up, seconds)
        return {
            "speed": speed,
            "clients": given.clients,
            "seconds": seconds,
            "rtfx": compare(rate, served_rtfx(simulated, warm_up)),
        }

    def latency(self, load: float) -> dict[str, Any]:
        """Percentiles under locust at ``load`` times saturation.

        Raises ``WhisperOxError`` where a request fails.
        """
        given, habit = self._given, self._habit
        profile = self._profile.at_speed(self._speed)
        question = crowd(habit, load * saturation_rtfx(profile, habit))
        plan = LoadPlan(
            levels=f"{question.users}:{given.minutes * 60:g}",
            chunk=habit.chunk_seconds,
            speaking_share=habit.speaking_share,
            dictation_seconds=habit.dictation_seconds,
            model=profile.model,
            seed=given.seed,
        )
        _, sent = run_locust(self._url, plan)
        if wrong := [one for one in sent if not one.is_transcript]:
            raise WhisperOxError(f"{len(wrong)} requests failed, the first with: {wrong[0].error}")
        latencies = [one.latency for one in sent if one.due >= given.warm_up_seconds]
        speed, profile = self._seen()
        measured = latency_percentiles(latencies)
        same = self._simulated(profile, question, given.seed)
        others = sorted(self._simulated(profile, question, seed)["p95"] for seed in OTHER_SEEDS)
        return {
            "load": load,
            "users": question.users,
            "seconds": plan.seconds,
            "requests": len(latencies),
            "speed": speed,
            "p50_same_arrivals": compare(measured["p50"], same["p50"]),
            "p95_same_arrivals": compare(measured["p95"], same["p95"]),
            "p95_expected": compare(measured["p95"], mean(others)),
            "p95_of_other_arrivals": others,
        }

    def _seen(self) -> tuple[float, MachineProfile]:
        """The mean speed before and after the latest measurements, and the profile at that
        speed.
        """
        before, self._speed = self._speed, speed_of(self._url, self._profile)
        speed = (before + self._speed) / 2
        return speed, self._profile.at_speed(speed)

    def _simulated(
        self, profile: MachineProfile, question: Question, seed: int
    ) -> dict[str, float]:
        run = Cluster(profile).run(question.pieces(seed), self._given.minutes * 60)
        return run.after(self._given.warm_up_seconds).percentiles


def check(given: argparse.Namespace) -> dict[str, Any]:
    """Measure and compare."""
    about, profile = machine(), read_profile(given.profile)
    habit = Habit(given.chunk, given.speaking_share, given.dictation_seconds)
    with start_server(profile.model, ["--config", given.config]) as server:
        own = Check(server.url, profile, given)
        saturation = own.saturation() if given.saturation_minutes > 0 else None
        loads = [own.latency(load) for load in given.load]
    compared = [row["p95_same_arrivals"] for row in loads]
    if saturation:
        compared.append(saturation["rtfx"])
    largest = max((abs(row["relative_error"]) for row in compared), default=0.0)
    return {
        "tool": "capacity_check",
        "machine": about,
        "profile": profile.name,
        "model": profile.model,
        "habit": asdict(habit),
        "predicted_saturation_rtfx": saturation_rtfx(profile, habit),
        "saturation": saturation,
        "loads": loads,
        "largest_error": largest,
        "passed": largest <= BAR,
    }


def print_check(found: dict[str, Any]) -> None:
    """Errors by load, in words."""
    rows = [
        (f"p95 at {row['load']:.0%}, {kind.replace('_', ' ')}, s", row["speed"], row[f"p95_{kind}"])
        for kind in ("same_arrivals", "expected")
        for row in found["loads"]
    ]
    if saturation := found["saturation"]:
        rows.insert(0, ("saturation, RTFx", saturation["speed"], saturation["rtfx"]))
    for name, speed, row in rows:
        print(
            f"{name:<32} measured {row['measured']:7.2f}  predicted {row['predicted']:7.2f}  "
            f"{row['relative_error']:+.1%} (the machine was {speed:.2f} times the profile's speed)"
        )
    print(f"largest error {found['largest_error']:.1%}, bar {BAR:.0%}")
