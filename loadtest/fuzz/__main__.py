"""Broken inputs for the readers in process, and broken requests for a server.

``python -m loadtest.fuzz [--inputs 100000] [--requests 10000] [--seed 0] [--output FILE]``: every
input is a mutant of something valid, or built with a field or two that cannot be, and is the same
for the same seed, target and number (and the same encoders under them). In process an input must be
accepted, or refused with an error below 500, within 2 s of processor time; a worker that hangs or
crashes is found and started anew. Over HTTP an answer below 500 or the end of the connection must
come. Memory is watched in both. ``--failures`` keeps what failed; ``--replay`` tries such a file
again. Exit code 1 for any failure or growth.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loadtest.client import transcribe
from loadtest.fuzz.campaign import Campaign, tried
from loadtest.fuzz.http import fuzz_server
from loadtest.fuzz.tally import memory_report
from loadtest.fuzz.targets import TARGETS
from loadtest.load import machine
from loadtest.memory import MemoryWatch
from loadtest.server import PROXIES, proxy_environment, start_server
from loadtest.tool import run_tool, tool_parser
from serve_app.api.example import EXAMPLE_CLIP

MODEL = "tiny.en"
"""What is served: the smallest, since few requests come as far as a model."""

MOST_GROWTH_MIB = 24.0
"""That the second half of a run may add to a process and still be the heap's business."""


def _fuzz_in_process(given: argparse.Namespace, name: str, inputs: int) -> dict[str, Any]:
    campaign = Campaign(TARGETS[name], given.seed, given.failures)
    campaign.run(inputs, given.first)
    return campaign.report()


def _fuzz_over_http(given: argparse.Namespace, proxy: str) -> dict[str, Any]:
    with start_server(MODEL, environment=proxy_environment(proxy)) as server:
        before = _golden_text(server.url)
        with MemoryWatch(server.process.pid, every_seconds=1.0, proxies=True) as memory:
            began = time.perf_counter()
            tally = asyncio.run(
                fuzz_server(server.url, given.requests, given.seed, given.clients, given.failures)
            )
            seconds = time.perf_counter() - began
        return {
            **tally.report(),
            "wall_seconds": round(seconds, 1),
            "same_text_after": _golden_text(server.url) == before,
            "memory": {
                name: {
                    **memory_report(series.seconds, series.mebibytes),
                    "processes": len(series.pids),
                }
                for name, series in memory.series().items()
            },
        }


def _golden_text(url: str) -> str:
    reply = transcribe(url, EXAMPLE_CLIP.read_bytes(), {"language": "en", "temperature": 0})
    return f"{reply.status} {reply.text}"


def is_good(document: Mapping[str, Any]) -> bool:
    """Whether nothing failed, grew, died or answers differently afterwards."""
    return all(_is_good(run) for run in document["targets"].values())


def _is_good(run: Mapping[str, Any]) -> bool:
    memory = run["memory"]
    series = [memory] if "peak_mib" in memory else list(memory.values())
    return (
        not run["failed"]
        and run.get("same_text_after", True)
        and all(one.get("second_half_growth_mib", 0.0) <= MOST_GROWTH_MIB for one in series)
    )


def _replay(path: Path, name: str) -> int:
    attempt = tried(TARGETS[name].attempt, path.read_bytes())
    print(f"{attempt.outcome}, {attempt.seconds:.3f} s\n{attempt.failure}")
    return 1 if attempt.failure else 0


def _print(name: str, run: Mapping[str, Any]) -> None:
    print(
        f"{name}: {run['inputs']:,} inputs in {run['wall_seconds']:.0f} s, {run['refused']:,} "
        f"refused, {run['failed']} failed; slowest {run['slowest'][0]['seconds']:.2f} s"
    )
    for outcome, count in run["outcomes"].items():
        print(f"  {count:7,} {outcome}")
    print(f"  memory: {json.dumps(run['memory'])}")
    for failure in run["failures"][:5]:
        print(f"  input {failure['input']}: {failure['outcome']}\n{failure['reason']}")
    sys.stdout.flush()


def _fuzz(given: argparse.Namespace) -> dict[str, Any]:
    document: dict[str, Any] = {"tool": "fuzz", "machine": machine(), "seed": given.seed}
    document["targets"] = runs = {}
    names = list(TARGETS) if given.target == "all" else [given.target]
    for name in names:
        if name in TARGETS:
            runs[name] = _fuzz_in_process(given, name, given.inputs // len(names))
            _print(name, runs[name])
    for proxy in given.proxy or PROXIES if given.target in ("http", "all") else ():
        runs[f"http {proxy}"] = _fuzz_over_http(given, proxy)
        _print(f"http {proxy}", runs[f"http {proxy}"])
    document["inputs"] = sum(run["inputs"] for run in runs.values())
    document["refused"] = sum(run["refused"] for run in runs.values())
    print(f"{document['inputs']:,} inputs, {document['refused']:,} refused")
    return document


def main(arguments: list[str] | None = None) -> int:
    """Fuzz and print; 1 for a failure or growth, 2 where it could not be done."""
    parser = tool_parser("fuzz", __doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="of all targets in process")
    parser.add_argument("--requests", type=int, default=10_000, help="over HTTP, per proxy")
    parser.add_argument("--clients", type=int, default=16, help="connections at once")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--target", choices=[*TARGETS, "http", "all"], default="all")
    parser.add_argument(
        "--proxy", choices=PROXIES, action="append", help="repeatable; default: both"
    )
    parser.add_argument("--failures", type=Path, help="folder for inputs that fail")
    parser.add_argument("--replay", type=Path, help="try one such file of --target in this process")
    given = parser.parse_args(arguments)
    if given.replay:
        if given.target not in TARGETS:
            parser.error(f"--replay needs --target, one of {', '.join(TARGETS)}")
        return _replay(given.replay, given.target)
    return run_tool(given, _fuzz, is_good)


if __name__ == "__main__":
    sys.exit(main())
