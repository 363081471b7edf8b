"""``python -m loadtest.capacity``: how many replicas a crowd needs, and how good that answer is.

``python -m loadtest.capacity --profile base-epyc-2c --users 40 --chunk 15 --p95 5`` plans (``plan``
may be left out). ``calibrate`` measures a profile of this machine. ``check`` compares predictions
with locust on this machine. ``--profile`` is the name of a profile in ``loadtest/profiles``, or a
file. The exit code is 1 if a check does not pass, 2 if nothing could be planned or measured.
"""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from loadtest.capacity import calibrate, check
from loadtest.capacity.plan import Plan, Question, make_plan
from loadtest.capacity.profile import MachineProfile, profile_path, read_profile
from loadtest.dictation import Habit
from loadtest.load_plan import LoadPlan
from loadtest.tool import run_tool

HABIT = ("chunk", "speaking_share", "dictation_seconds")
"""The description of people who dictate."""

COMMANDS = ("plan", "calibrate", "check")


def _add_plan_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--profile", required=True, help="measured costs: a name or a file")
    parser.add_argument("--users", type=int, default=0, help="people who dictate")
    parser.add_argument("--strangers-per-minute", type=float, default=0.0, help="Poisson arrivals")
    parser.add_argument("--p95", type=float, default=5.0, help="latency target in seconds")
    parser.add_argument("--spare", type=int, default=0, help="replicas that may be lost")
    parser.add_argument("--patch", action="store_true", help="print the keys of a Serve config")


def _in_words(profile: MachineProfile, question: Question, plan: Plan) -> str:
    """The plan in words. It keeps predicted and measured figures apart."""
    expected = plan.expected
    return "\n".join(
        [
            f"Profile {profile.name} ({profile.kind}): {profile.model}, {profile.compute_type}, "
            f"{profile.workers} workers on {profile.device}.",
            f"Needed: {plan.replicas} replicas"
            + (f", {plan.gpus} GPUs" if plan.gpus else f" of {profile.cores} cores"),
            f"Load: {plan.offered_rtfx:.1f} audio s per s; a replica saturates at "
            f"{plan.saturation_rtfx:.1f}, that is {plan.users_per_replica:.0f} such users; "
            f"utilisation {plan.utilisation:.0%}.",
            f"Predicted latency: p50 {expected.p50:.2f} s, p95 {expected.p95:.2f} s (target "
            f"{question.p95_seconds:g} s), p99 {expected.p99:.2f} s.",
            f"Bounds of a replica: max_wait_seconds {plan.max_wait_seconds:g}, "
            f"max_concurrent_requests {plan.max_requests}.",
            f"With them p95 is {plan.busy_p95:.1f} s at 80 % of saturation, with "
            f"{plan.busy_refused_share:.1%} refused, and {plan.overload_p95:.1f} s at 150 % for "
            "those who are taken in.",
        ]
    )


def _plan(given: argparse.Namespace) -> dict[str, Any]:
    profile = read_profile(given.profile)
    question = Question(
        users=given.users,
        habit=Habit(given.chunk, given.speaking_share, given.dictation_seconds),
        p95_seconds=given.p95,
        strangers_per_minute=given.strangers_per_minute,
        spare_replicas=given.spare,
    )
    plan = make_plan(profile, question)
    words = _in_words(profile, question, plan)
    if given.patch:
        comment = "".join(f"# {line}\n" for line in words.splitlines())
        words = comment + yaml.safe_dump(plan.patch(), sort_keys=False)
    print(words)
    return {"profile": profile.name, "kind": profile.kind, "plan": asdict(plan)}


def _calibrate(given: argparse.Namespace) -> dict[str, Any]:
    profile = calibrate.calibrate(given)
    path = profile_path(given.name or profile.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(profile.written(), encoding="utf-8")
    for stage, context_seconds, windows, calls, seconds in profile.evidence:
        print(
            f"{stage:<8} {context_seconds:4.0f} s of context, {windows:>2} windows: "
            f"{seconds:.3f} s a call, mean of {calls}"
        )
    print(f"alone {profile.alone}; {path}")
    return {"profile": str(path)}


def main(arguments: list[str] | None = None) -> int:
    """Plan, calibrate or check; see the module's text for the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.capacity",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    add = (_add_plan_arguments, calibrate.add_arguments, check.add_arguments)
    for name, add_arguments in zip(COMMANDS, add, strict=True):
        command = commands.add_parser(name)
        add_arguments(command)
        if name != "calibrate":
            LoadPlan.add_arguments(command, HABIT)
        command.add_argument("--output", type=Path, help="write the result as JSON")
    words = sys.argv[1:] if arguments is None else arguments
    if words and words[0] not in (*COMMANDS, "-h", "--help"):
        words = ["plan", *words]
    given = parser.parse_args(words)
    if given.command == "check":
        return run_tool(given, check.check, lambda found: bool(found["passed"]), check.print_check)
    return run_tool(given, {"plan": _plan, "calibrate": _calibrate}[given.command], bool)


if __name__ == "__main__":
    sys.exit(main())
