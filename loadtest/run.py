"""A load run like the customer's: people dictate through the speech service; does the server hold?

``python -m loadtest.run --users 8 --chunk 15 --profile dev --minutes 2 --model base [--url URL]
[--against naive|URL|openai=URL] [--output REPORT]``: starts a server (or takes that of ``--url``),
has locust act as the speech service (:mod:`loadtest.locustfile`), and writes ``REPORT.json`` and
``REPORT.html``: latency over time and load, rates, refusals, batches, word error rate, and whether
the profile's row of the sizing table was kept. ``--against`` sends the same load to another server
afterwards. Exit code 1 where a promise was not kept, 2 where nothing could be measured.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from loadtest.baselines.start import start_naive_server
from loadtest.dictation import SERVICE_CHUNK_SECONDS, Habit, Level, parse_levels
from loadtest.load import machine
from loadtest.load_figures import by_level, figures, over_time
from loadtest.load_page import page
from loadtest.locust_process import LoadPlan, run_locust
from loadtest.metrics_watch import (
    REPORT_ENVIRONMENT,
    MetricsWatch,
    engine_figures,
    engine_series,
)
from loadtest.server import free_port, start_server
from loadtest.sizing import passed as all_kept
from loadtest.sizing import row_of, verdict
from loadtest.wer import NORMALISER
from models import ModelError
from serve_app.errors import WhisperOxError

OURS = "whisper-ox"
BINS = 24
LEAST_BIN_SECONDS = 5.0
WHOLE_DICTATION_P95_SECONDS = 15.0
"""The latency promised where there is no chunk length to be held to."""


@dataclass(frozen=True)
class Target:
    """A server under load: where it is, how it is asked, and its metrics endpoint if known."""

    url: str
    dialect: str = "contract"
    metrics_url: str | None = None


def measure(target: Target, plan: LoadPlan) -> dict[str, Any]:
    """Figures of one server under ``plan``, as JSON values."""
    plan = replace(plan, dialect=target.dialect)
    watch = MetricsWatch(target.metrics_url) if target.metrics_url else None
    with ExitStack() as stack:
        if watch:
            stack.enter_context(watch)
        about, sent = run_locust(target.url, plan)
    began = about["began_unix"]
    samples = [s for s in watch.samples if s.unix >= began] if watch else []
    bin_seconds = max(LEAST_BIN_SECONDS, plan.seconds / BINS)
    return {
        "overall": figures(sent, plan.seconds),
        "levels": by_level(sent, list(plan.levels)),
        "over_time": over_time(sent, plan.seconds, bin_seconds),
        "engine": engine_figures(samples),
        "engine_over_time": engine_series(samples, began),
        "sender_cores": about.get("sender_cpu_seconds", 0.0) / plan.seconds,
    }


@contextmanager
def our_server(given: argparse.Namespace) -> Iterator[Target]:
    """The server of ``--url``, or one of ``--profile`` with ``--model`` for the block."""
    if given.url:
        yield Target(given.url, metrics_url=given.metrics_url)
        return
    port = free_port()
    flags = ["--config", given.profile, "--metrics-port", str(port)]
    with start_server(given.model, flags, REPORT_ENVIRONMENT) as server:
        yield Target(server.url, metrics_url=f"http://127.0.0.1:{port}/metrics")


@contextmanager
def other_server(against: str, model: str) -> Iterator[tuple[str, Target]]:
    """Name and target of ``--against``."""
    if against == "naive":
        with start_naive_server(model) as server:
            yield "naive", Target(server.url)
        return
    name, separator, url = against.partition("=")
    kind = name.partition(":")[0]
    if not separator:
        name, kind, url = "other", "contract", against
    if kind not in ("contract", "openai") or not url.startswith(("http://", "https://")):
        raise WhisperOxError(f"--against {against!r}: write naive, URL, openai=URL or contract=URL")
    yield name, Target(url, dialect=name if separator else kind)


def plan_of(given: argparse.Namespace) -> LoadPlan:
    """What the flags ask for. Raises ``WhisperOxError`` for what means nothing."""
    seconds = given.minutes * 60
    levels = parse_levels(given.levels) if given.levels else [Level(given.users, seconds)]
    return LoadPlan(
        levels=tuple(levels),
        habit=Habit(given.chunk, given.speaking_share, given.dictation_seconds),
        model=given.model,
        strangers_per_minute=given.strangers_per_minute,
        long_files=given.long_files,
        long_file_seconds=given.long_file_seconds,
        bad_clients=given.bad_clients,
        seed=given.seed,
    )


def report(given: argparse.Namespace) -> dict[str, Any]:
    """Run everything; the report as JSON values."""
    plan, row, about = plan_of(given), row_of(given.row or given.profile), machine()
    targets: dict[str, dict[str, Any]] = {}
    with our_server(given) as ours:
        targets[OURS] = measure(ours, plan)
    if given.against:
        with other_server(given.against, given.model) as (name, other):
            without_bad = replace(plan, bad_clients=0)  # ours alone promises which error is which
            targets[name] = measure(other, without_bad)
    p95_limit = given.p95_limit or given.chunk or WHOLE_DICTATION_P95_SECONDS
    checks = verdict(row, targets[OURS]["overall"], p95_limit)
    return {
        "tool": "run",
        "machine": about,
        "model": given.model,
        "profile": given.profile,
        "load": plan.described(),
        "normaliser": NORMALISER,
        "row": asdict(row),
        "verdict": [asdict(check) for check in checks],
        "passed": all_kept(checks),
        "targets": targets,
    }


def _print(document: Mapping[str, Any]) -> None:
    for name, target in document["targets"].items():
        for level in target["levels"]:
            latency = "  ".join(f"{k} {v:.2f} s" for k, v in level["latency_seconds"].items())
            wer = "-" if level["wer"] is None else f"{level['wer']:.1%}"
            print(
                f"{name}, {level['users']} users: {level['requests']} requests, "
                f"{level['refused']} refused, {level['errors']} errors; {latency}; "
                f"RTFx {level['served_rtfx']:.2f} of {level['offered_rtfx']:.2f} offered, "
                f"{level['busy_rtfx']:.2f} while busy; WER {wer}"
            )
            for error in level["error_samples"]:
                print(f"  error: {error}")
        if engine := target["engine"]:
            print("  engine: " + ", ".join(f"{k} {v or 0:.2f}" for k, v in engine.items()))
    for check in document["verdict"]:
        print(f"{'kept    ' if check['passed'] else 'NOT KEPT'} {check['name']}: {check['found']}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--users", type=int, default=8, help="people who dictate")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--levels", help="USERS:SECONDS,... instead of --users and --minutes")
    parser.add_argument(
        "--chunk",
        type=float,
        default=15.0,
        help=f"WHISPER_CHUNK_DURATION_SECONDS of the service: {SERVICE_CHUNK_SECONDS}",
    )
    parser.add_argument("--speaking-share", type=float, default=0.5, help="of the users' time")
    parser.add_argument("--dictation-seconds", type=float, default=60.0, help="mean length of one")
    parser.add_argument("--profile", default="dev", help="Serve config of configs/, or a file")
    parser.add_argument("--row", help="of the sizing table; default: the profile's")
    parser.add_argument("--model", default="base")
    parser.add_argument("--url", help="a running server of ours; default: one is started")
    parser.add_argument("--metrics-url", help="of the server at --url, for batches and queue")
    parser.add_argument("--against", metavar="naive|URL|openai=URL", help="the same load there")
    parser.add_argument("--strangers-per-minute", type=float, default=0.0, help="Poisson arrivals")
    parser.add_argument("--long-files", type=int, default=0, help="users who upload long files")
    parser.add_argument("--long-file-seconds", type=float, default=600.0)
    parser.add_argument("--bad-clients", type=int, default=0, help="users who send bad requests")
    parser.add_argument(
        "--p95-limit", type=float, help="seconds; default: the chunk length, as the next one comes"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="REPORT: write REPORT.json and REPORT.html")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run, print and write; see the module's text for the exit code."""
    given = _parser().parse_args(arguments)
    try:
        document = report(given)
    except (WhisperOxError, ModelError, httpx.HTTPError) as error:
        print(f"cannot measure: {error}", file=sys.stderr)
        return 2
    _print(document)
    if given.output:
        given.output.parent.mkdir(parents=True, exist_ok=True)
        json_file, html_file = (Path(f"{given.output}.{kind}") for kind in ("json", "html"))
        json_file.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
        html_file.write_text(page(document), encoding="utf-8")
        print(f"report: {html_file} and {json_file}")
    return 0 if document["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
