"""A load run like the customer's: people dictate through the speech service. Does the server hold?

``python -m loadtest.run --users 8 --chunk 15 --profile dev --minutes 2 --model base [--url URL]
[--against naive|URL] [--output REPORT.json]`` starts a server, or uses that of ``--url``. Locust
acts as the speech service (:mod:`loadtest.locustfile`). The output has latency, rates, refusals,
batches, the word error rate, and whether the profile's row of the sizing table was kept.
``--against`` sends the same load to another server afterwards. ``--output`` writes all figures to
``REPORT.json``, and for each server locust's page and tables, and the plots that these lack. The
exit code is 1 if a promise was not kept, 2 if nothing could be measured.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from loadtest.engine_metrics import (
    REPORT_ENVIRONMENT,
    MetricsWatch,
    engine_figures,
    engine_series,
)
from loadtest.load import machine
from loadtest.load_figures import by_level, figures, over_time
from loadtest.load_plan import LoadPlan, run_locust
from loadtest.plots import draw
from loadtest.server import free_port, naive_server, start_server
from loadtest.sizing import row_of, verdict
from loadtest.tool import run_tool, tool_parser
from loadtest.wer import NORMALISER
from serve_app.errors import WhisperOxError

OURS = "whisper-ox"
BINS = 24
LEAST_BIN_SECONDS = 5.0
WHOLE_DICTATION_P95_SECONDS = 15.0
"""The promised latency if there is no chunk length to compare with, in seconds."""


@dataclass(frozen=True)
class Target:
    """A server under load: where it is, and its metrics endpoint if known."""

    name: str
    url: str
    metrics_url: str | None = None


def measure(target: Target, plan: LoadPlan, output: Path | None) -> dict[str, Any]:
    """Figures of one server under ``plan``, as JSON values. Reports are written beside
    ``output``.
    """
    report = Path(f"{output}-{target.name}") if output else None
    watch = MetricsWatch(target.metrics_url) if target.metrics_url else None
    with ExitStack() as stack:
        if watch:
            stack.enter_context(watch)
        about, sent = run_locust(target.url, plan, report)
    began = about["began_unix"]
    samples = [s for s in watch.samples if s.unix >= began] if watch else []
    found = {
        "overall": figures(sent, plan.seconds),
        "levels": by_level(sent, plan.steps),
        "over_time": over_time(sent, plan.seconds, max(LEAST_BIN_SECONDS, plan.seconds / BINS)),
        "engine": engine_figures(samples),
        "engine_over_time": engine_series(samples, began),
        "sender_cores": about["sender_cpu_seconds"] / plan.seconds,
    }
    if report:
        draw(found, report.with_name(f"{report.name}.svg"))
    return found


@contextmanager
def our_server(given: argparse.Namespace) -> Iterator[Target]:
    """The server of ``--url``, or one of ``--profile`` with ``--model`` that runs during the
    block.
    """
    if given.url:
        yield Target(OURS, given.url, given.metrics_url)
        return
    port = free_port()
    flags = ["--config", given.profile, "--metrics-port", str(port)]
    with start_server(given.model, flags, REPORT_ENVIRONMENT) as server:
        yield Target(OURS, server.url, f"http://127.0.0.1:{port}/metrics")


@contextmanager
def other_server(against: str, model: str) -> Iterator[Target]:
    """The server of ``--against``. Raises ``WhisperOxError`` if the flag names none."""
    if against == "naive":
        with naive_server(model) as url:
            yield Target("naive", url)
    elif against.startswith(("http://", "https://")):
        yield Target("other", against)
    else:
        raise WhisperOxError(f"--against {against!r}: write naive or the URL of a server")


def report(given: argparse.Namespace) -> dict[str, Any]:
    """Run everything and return the report as JSON values."""
    plan, row, about = LoadPlan.of(given), row_of(given.row or given.profile), machine()
    if given.users or given.minutes:
        plan = replace(plan, levels=f"{given.users or 8}:{(given.minutes or 2) * 60:g}")
    base = given.output and given.output.with_suffix("")
    if base:
        base.parent.mkdir(parents=True, exist_ok=True)
    targets: dict[str, dict[str, Any]] = {}
    with our_server(given) as ours:
        targets[OURS] = measure(ours, plan, base)
    if given.against:
        with other_server(given.against, given.model) as other:
            without_bad = replace(plan, bad_clients=0)  # ours alone promises which error is which
            targets[other.name] = measure(other, without_bad, base)
    p95_limit = given.p95_limit or plan.chunk or WHOLE_DICTATION_P95_SECONDS
    checks = verdict(row, targets[OURS]["overall"], p95_limit)
    return {
        "tool": "run",
        "machine": about,
        "profile": given.profile,
        "load": asdict(plan),
        "normaliser": NORMALISER,
        "row": asdict(row),
        "verdict": [asdict(check) for check in checks],
        "passed": all(check.passed for check in checks),
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


def main(arguments: list[str] | None = None) -> int:
    """Run, print and write; see the module's text for the exit code."""
    parser = tool_parser("run", __doc__)
    LoadPlan.add_arguments(parser)
    parser.add_argument("--users", type=int, help="with --minutes: --levels of one number (8)")
    parser.add_argument("--minutes", type=float, help="how long they dictate (2)")
    parser.add_argument("--profile", default="dev", help="Serve config of configs/, or a file")
    parser.add_argument("--row", help="of the sizing table; default: the profile's")
    parser.add_argument("--url", help="a running server of ours; default: one is started")
    parser.add_argument("--metrics-url", help="of the server at --url, for batches and queue")
    parser.add_argument("--against", metavar="naive|URL", help="the same load there")
    parser.add_argument(
        "--p95-limit", type=float, help="seconds; default: the chunk length, as the next one comes"
    )
    given = parser.parse_args(arguments)
    return run_tool(given, report, lambda document: bool(document["passed"]), _print)


if __name__ == "__main__":
    sys.exit(main())
