"""``python -m loadtest.capacity``: how many replicas a crowd needs, and how good that answer is.

``python -m loadtest.capacity --profile base-2c --users 40 --chunk 15 --p95 5`` plans (``plan`` may
be left out); ``calibrate`` measures a profile of this machine; ``check`` holds predictions against
locust on this machine. ``--profile`` is the name of a profile in ``loadtest/profiles``, a file, or
a results file of ``loadtest.engine_ceiling``. Exit code 1 where a check does not pass, 2 where
nothing could be planned or measured.
"""

import argparse
import json
import sys
from pathlib import Path

import httpx

from loadtest.capacity import calibrate, check
from loadtest.capacity.plan import Plan, Question, make_plan
from loadtest.capacity.profile import MachineProfile
from loadtest.capacity.serve_config import as_yaml, patch, rayservice, serve_config
from loadtest.capacity.stored_profiles import profile_path, read_profile
from loadtest.dictation import SERVICE_CHUNK_SECONDS, Habit
from models import ModelError
from serve_app.errors import WhisperOxError

COMMANDS = ("plan", "calibrate", "check")


def _plan_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--profile", required=True, help="measured costs: a name or a file")
    parser.add_argument("--users", type=int, default=0, help="people who dictate")
    parser.add_argument(
        "--chunk",
        type=float,
        default=15.0,
        help=f"WHISPER_CHUNK_DURATION_SECONDS of the service: {SERVICE_CHUNK_SECONDS}",
    )
    parser.add_argument("--speaking-share", type=float, default=0.5, help="of the users' time")
    parser.add_argument("--dictation-seconds", type=float, default=60.0, help="mean length of one")
    parser.add_argument("--strangers-per-minute", type=float, default=0.0, help="Poisson arrivals")
    parser.add_argument("--p95", type=float, default=5.0, help="latency target in seconds")
    parser.add_argument("--spare", type=int, default=0, help="replicas that may be lost")
    parser.add_argument(
        "--write",
        choices=("patch", "serve", "rayservice"),
        help="print YAML instead: the changed keys, a whole Serve config, or a RayService",
    )
    parser.add_argument("--config", default="cpu", help="Serve config that --write changes")


def summary(profile: MachineProfile, question: Question, plan: Plan) -> str:
    """The plan in words, predicted and measured kept apart."""
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


def _plan(given: argparse.Namespace) -> int:
    profile = read_profile(profile_path(given.profile))
    question = Question(
        users=given.users,
        habit=Habit(given.chunk, given.speaking_share, given.dictation_seconds),
        p95_seconds=given.p95,
        strangers_per_minute=given.strangers_per_minute,
        spare_replicas=given.spare,
    )
    plan = make_plan(profile, question)
    words = summary(profile, question, plan)
    if given.write == "patch":
        print(as_yaml(patch(plan), words), end="")
    elif given.write == "serve":
        print(as_yaml(serve_config(given.config, profile.model, plan), words), end="")
    elif given.write == "rayservice":
        print(as_yaml(rayservice(given.config, profile.model, plan), words), end="")
    else:
        print(words)
    if given.output:
        document = {"tool": "capacity", "profile": profile.name, "kind": profile.kind}
        _write(given.output, {**document, "plan": plan.described()})
    return 0


def _calibrate(given: argparse.Namespace) -> int:
    profile = calibrate.calibrate(given)
    path = given.output or profile_path(profile.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(profile.model_dump_json(indent=1, exclude_defaults=True) + "\n")
    for row in profile.evidence:
        print(
            f"{row.stage:<8} {row.context_seconds:4.0f} s of context, {row.windows:>2} windows: "
            f"{row.seconds:.3f} s a call"
        )
    print(f"alone {profile.alone}, solo speed {profile.solo_speed:.2f}; {path}")
    return 0


def _check(given: argparse.Namespace) -> int:
    found = check.check(given, check.read_earlier(given.output, given.profile, once=given.once))
    check.print_check(found)
    if given.output:
        _write(given.output, found)
    return 0 if found["passed"] else 1


def _write(path: Path, document: object) -> None:
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.capacity",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, add in (
        ("plan", _plan_arguments),
        ("calibrate", calibrate.add_arguments),
        ("check", check.add_arguments),
    ):
        command = commands.add_parser(name)
        add(command)
        command.add_argument("--output", type=Path, help="write the result as JSON")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Plan, calibrate or check; see the module's text for the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    if words and words[0] not in (*COMMANDS, "-h", "--help"):
        words = ["plan", *words]
    given = _parser().parse_args(words)
    run = {"plan": _plan, "calibrate": _calibrate, "check": _check}[given.command]
    try:
        return run(given)
    except (WhisperOxError, ModelError, httpx.HTTPError) as error:
        print(f"capacity: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
