"""Minutes of full load: are all replies right, is memory stable, and can people still dictate?

``python -m loadtest.bench.endurance soak --model base --minutes 20 [--output FILE]`` first sends
each of a mix of requests alone (languages, tasks, word times, batch sizes, formats, two intended
errors). Then clients post random ones in a closed loop, and some close the connection at a random
moment. Every other request must get the same status and text as alone. All decode at temperature 0,
so nothing is drawn at random. But sums of floats are rounded differently in batches of another
shape, which may flip a beam between nearly equal hypotheses. So texts with up to ``TOLERANCE`` word
errors count as near and are reported. Memory of the replicas is sampled all the time; its slope is
that of the second half, by least squares. The exit code is 1 for lost, wrong or different replies.

``python -m loadtest.bench.endurance mixed --model base [--file-seconds 7200] [--output FILE]`` lets
people dictate for 5 s and think for as long, as in :mod:`loadtest.run`. It measures their p95
latency alone, and then beside one long file, which is transcribed to its end. The exit code is 1 if
a request failed.
"""

import argparse
import asyncio
import itertools
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from typing import Any

from loadtest.bench.soak_cases import (
    FAILURES,
    TOLERANCE,
    Case,
    answered_alone,
    mixed_cases,
    verdict,
)
from loadtest.client import TIMEOUT_SECONDS
from loadtest.load import Post, closed_loop, latency_percentiles, machine
from loadtest.load_figures import figures
from loadtest.load_plan import LoadPlan, run_locust
from loadtest.memory import MemoryWatch, slope_per_hour
from loadtest.options import COMPUTE_TYPE, EVALUATED_MODELS, clips_for
from loadtest.sent import LONG_FILE
from loadtest.server import start_server
from loadtest.speech import corpus_clips, registry_clips
from loadtest.tool import run_tool, tool_parser
from serve_app.errors import WhisperOxError

LONGEST_SECONDS = 25.0
"""Longest clip in the soak, in seconds."""

MEMORY_SECONDS = 2.0
"""Seconds between two samples of memory."""


def storm(cases: Sequence[Case], given: argparse.Namespace, chosen: list[Case]) -> Iterator[Post]:
    """Random cases, noted in ``chosen``, until the time is over; a share of the clients hangs up
    anywhere between upload and answer.
    """
    chance = random.Random(1)
    deadline = time.perf_counter() + given.minutes * 60
    while time.perf_counter() < deadline:
        case = chance.choice(cases)
        patience = chance.uniform(0, given.clients * case.alone_seconds)
        leaves = chance.random() < given.leaving
        chosen.append(case)
        post = Post(len(chosen) - 1, case.audio, case.options, case.seconds)
        yield replace(post, give_up_seconds=patience if leaves else None)


def soak(url: str, memory: MemoryWatch | None, given: argparse.Namespace) -> dict[str, Any]:
    """Post the mix and judge every reply."""
    clips = [c for c in corpus_clips() or registry_clips() if c.seconds <= LONGEST_SECONDS]
    cases = [
        answered_alone(url, case)
        for case in mixed_cases(given.model, clips_for(given.model, clips), given.cases)
    ]
    unexpected = [case.name for case in cases if (case.alone[0] == 200) == case.is_broken]
    if unexpected:
        raise WhisperOxError(f"alone, these are answered wrongly: {', '.join(unexpected)}")
    print(f"{len(cases)} cases answered alone; load for {given.minutes:g} minutes", flush=True)
    chosen: list[Case] = []
    with memory or nullcontext():
        outcomes = asyncio.run(closed_loop(url, storm(cases, given, chosen), given.clients))
    after = answered_alone(url, cases[0])
    found = [(verdict(one, chosen[one.number]), one) for one in outcomes]
    notable = (one for one in found if one[0] in (*FAILURES, "near"))
    good = [one.latency for kind, one in found if kind in ("identical", "near")]
    return {
        "minutes": given.minutes,
        "leaving": given.leaving,
        "cases": len(cases),
        "tolerance": TOLERANCE,
        "verdicts": dict(Counter(kind for kind, _ in found)),
        "same_after": after.alone == cases[0].alone,
        "latency_seconds": latency_percentiles(good),
        "examples": [
            {
                "verdict": kind,
                "case": chosen[one.number].name,
                "alone": chosen[one.number].alone,
                "answer": [one.status, one.text or one.error],
            }
            for kind, one in itertools.islice(notable, 20)
        ],
    }


def mixed(url: str, memory: MemoryWatch | None, given: argparse.Namespace) -> dict[str, Any]:
    """Dictate alone, then beside the file."""
    alone = LoadPlan(
        levels=f"{given.clients}:{given.seconds:g}",
        chunk=given.chunk_seconds,
        dictation_seconds=given.chunk_seconds,
        model=given.model,
        drain_seconds=TIMEOUT_SECONDS,
    )
    beside = replace(
        alone,
        levels=f"{given.clients}:{given.beside_seconds:g}",
        long_files=1,
        long_file_seconds=given.file_seconds,
    )
    with memory or nullcontext():
        runs = [(plan, run_locust(url, plan)[1]) for plan in (alone, beside)]
    found = [figures(sent, plan.seconds) for plan, sent in runs]
    p95 = [row["latency_seconds"].get("p95") for row in found]
    files = [one for one in runs[1][1] if one.kind == LONG_FILE]
    return {
        "chunk_seconds": given.chunk_seconds,
        "alone": found[0],
        "beside_file": found[1],
        "p95_ratio": p95[1] / p95[0] if all(p95) else None,
        "files": [
            {"audio_seconds": one.seconds, "rtfx": one.seconds / (one.ended - one.posted)}
            for one in files
        ],
    }


def _measure(given: argparse.Namespace) -> dict[str, Any]:
    about = {"tool": given.kind, "machine": machine(), "model": given.model}
    with ExitStack() as stack:
        url, memory = given.url, None
        if not url:
            server = stack.enter_context(start_server(given.model))
            url, memory = server.url, MemoryWatch(server.process.pid, MEMORY_SECONDS)
        found = {"soak": soak, "mixed": mixed}[given.kind](url, memory, given)
    rows = {
        name: {
            "first_mib": series.mebibytes[0],
            "last_mib": series.mebibytes[-1],
            "peak_mib": max(series.mebibytes),
            "slope_mib_per_hour": slope_per_hour(series.seconds, series.mebibytes),
            "processes": len(series.pids),
        }
        for name, series in (memory.series() if memory else {}).items()
    }
    setting = {"compute_type": COMPUTE_TYPE, "clients": given.clients}
    return {**about, **setting, **found, "memory": rows}


def _print(document: Mapping[str, Any]) -> None:
    for name, value in document.items():
        if name in ("examples", "memory"):
            continue
        if name not in ("tool", "machine", "model", "compute_type"):
            print(f"{name}: {value}")
    for example in document.get("examples", ()):
        print(f"  {example['verdict']}: {example['case']}")
        print(f"    alone {str(example['alone'])[:300]}\n    load  {str(example['answer'])[:300]}")
    for name, row in document["memory"].items():
        print(f"RSS of {name}: {row}")


def is_good(document: Mapping[str, Any]) -> bool:
    """Whether every request was answered correctly, and by the first processes."""
    if document["tool"] == "mixed":
        rows = document["alone"], document["beside_file"]
        return not any(row["errors"] or row["refused"] for row in rows)
    return (
        not any(document["verdicts"].get(kind) for kind in FAILURES)
        and document["same_after"]
        and all(row["processes"] == 1 for row in document["memory"].values())
    )


def main(arguments: list[str] | None = None) -> int:
    """Load and print; see the module's text for the exit code, 2 where it could not be done."""
    parser = tool_parser("bench.endurance", __doc__)
    parser.add_argument("kind", choices=("soak", "mixed"))
    parser.add_argument("--model", choices=EVALUATED_MODELS, default="base")
    parser.add_argument("--url", help="a running server (no memory figures); default: a new one")
    parser.add_argument("--clients", type=int, help="default: 16, or 8 who dictate")
    alone = parser.add_argument_group("soak")
    alone.add_argument("--minutes", type=float, default=20.0)
    alone.add_argument("--leaving", type=float, default=0.15, help="share that hangs up")
    alone.add_argument("--cases", type=int, default=40)
    dictate = parser.add_argument_group("mixed")
    dictate.add_argument("--chunk-seconds", type=float, default=5.0)
    dictate.add_argument("--seconds", type=float, default=180.0, help="of dictation alone")
    dictate.add_argument("--beside-seconds", type=float, default=300.0, help="beside the file")
    dictate.add_argument("--file-seconds", type=float, default=7200.0)
    given = parser.parse_args(arguments)
    given.clients = given.clients or {"soak": 16, "mixed": 8}[given.kind]
    return run_tool(given, _measure, is_good, _print)


if __name__ == "__main__":
    sys.exit(main())
