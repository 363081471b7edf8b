"""The planner against this machine: ``python -m loadtest.capacity check --profile NAME``.

A server is started and loaded by locust at shares of the predicted saturation; its p95 is held
against the simulation's, of the very same arrivals and on average over other arrivals of the same
people. Saturation itself is measured with a closed loop, which the simulation repeats. Each load is
sent in several rounds of other arrivals; before and after each the machine's speed is probed. Loads
are shares of what saturates it at the speed found before, predictions are for that found around.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loadtest.capacity.check_load import check_load, compare
from loadtest.capacity.cluster import Cluster, served_rtfx
from loadtest.capacity.core_use import CoreWatch
from loadtest.capacity.plan import saturation_rtfx
from loadtest.capacity.probe import SpeedWatch, keep_busy
from loadtest.capacity.stored_profiles import profile_path, read_profile
from loadtest.dictation import Habit
from loadtest.load import Span, latency_percentiles, machine, rate_between
from loadtest.options import english_options
from loadtest.server import Server, start_server
from loadtest.utterances import speech_of

BAR = 0.20
"""Largest relative error that passes."""

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
        probe = SpeedWatch(server.url, profile)
        if given.saturation_minutes > 0:
            found["saturation"] = _check_saturation(server, probe, habit, given)
        for load in given.load:
            row = check_load(server, probe, habit, load, given)
            others = [one for one in found["loads"] if one["load"] != load]
            found["loads"] = sorted([*others, row], key=lambda one: float(one["load"]))
    found["largest_error"] = max(abs(error) for error in _errors(found))
    found["passed"] = found["largest_error"] <= BAR
    return found


def _errors(found: dict[str, Any]) -> list[float]:
    rows = [row["p95_same_arrivals"] for row in found["loads"]]
    return [row["relative_error"] for row in [*rows, found["saturation"]] if row]


def _check_saturation(
    server: Server, probe: SpeedWatch, habit: Habit, given: argparse.Namespace
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
