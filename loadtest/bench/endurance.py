"""Minutes of full load: are all replies right, does memory stay flat, can people still dictate?

``python -m loadtest.bench.endurance soak --model base --minutes 20 [--output FILE]``: each of a mix
of requests (languages, tasks, word times, batch sizes, formats, two intended errors) is first
answered alone. Then clients post random ones in a closed loop, and some close the connection at a
random moment. Every other request must get the same status and text as alone. All decode at
temperature 0, so nothing is drawn at random, but sums of floats are rounded differently in batches
of another shape, which may flip a beam between near-equal hypotheses: texts of up to ``TOLERANCE``
word errors count as near and are reported. RSS of the replicas is sampled all the time; its slope
is that of the second half, by least squares. Exit code 1 for lost, wrong or different replies.

``python -m loadtest.bench.endurance mixed --model base [--file-seconds 7200] [--output FILE]``:
clients post 5 s chunks and think (dictate the next chunk) between an answer and the next request;
their p95 latency is measured alone, then beside one long file, which is afterwards transcribed to
its end. Exit code 1 if a request failed.
"""

import argparse
import asyncio
import itertools
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from loadtest.chunks import english_chunks, speech_wav
from loadtest.client import transcribe
from loadtest.load import Outcome, Post, closed_loop, latency_percentiles, machine, summary
from loadtest.memory import MemoryWatch, slope_per_hour
from loadtest.options import COMPUTE_TYPE, EVALUATED_MODELS, clips_for, english_options
from loadtest.server import start_server
from loadtest.speech import corpus_clips, registry_clips
from loadtest.tool import run_tool, tool_parser
from serve_app.errors import WhisperOxError

LONGEST_SECONDS = 25.0
"""Of a clip in the soak."""

THINK_SPREAD = 0.2
"""Thinking takes its mean plus or minus up to this share, lest the clients march in step."""

MEMORY_SECONDS = 2.0
"""Between two samples of memory."""


def storm(cases: Sequence[Case], given: argparse.Namespace, chosen: list[Case]) -> Iterator[Post]:
    """Random cases, noted in ``chosen``, until the time is over; a share of the clients hangs up
    anywhere between upload and answer.
    """
    chance = random.Random(1)
    goes_on = _for_seconds(given.minutes * 60)
    while goes_on():
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


def dictation(given: argparse.Namespace, goes_on: Callable[[], bool], seed: int) -> Iterator[Post]:
    """Chunks with pauses to think before them, for as long as ``goes_on()``; the first come spread
    out.
    """
    chance = random.Random(seed)
    options = english_options(given.model)
    for number, chunk in enumerate(itertools.cycle(english_chunks(given.chunk_seconds))):
        if not goes_on():
            return
        spread = (0.0, 1.0) if number < given.clients else (1 - THINK_SPREAD, 1 + THINK_SPREAD)
        pause = given.think_seconds * chance.uniform(*spread)
        yield Post(number, chunk.audio, options, chunk.seconds, pause_seconds=pause)


async def beside_file(url: str, given: argparse.Namespace) -> tuple[list[Outcome], dict[str, Any]]:
    """Dictate while a long file is transcribed, and see that to its end.

    Only requests posted during the transcription are returned.
    """
    audio, began = speech_wav(given.file_seconds), time.perf_counter()
    # In a thread, for sending hundreds of megabytes would hold up the clients' event loop.
    sending = asyncio.to_thread(transcribe, url, audio, english_options(given.model))
    file, beside = asyncio.create_task(sending), _for_seconds(given.beside_seconds)
    posts = dictation(given, lambda: beside() and not file.done(), seed=1)
    outcomes = await closed_loop(url, posts, given.clients)
    print(f"dictated beside the file: {summary(outcomes)}; now to its end", flush=True)
    reply = await file
    until = began + reply.seconds
    return [outcome for outcome in outcomes if outcome.began < until], {
        "audio_seconds": given.file_seconds,
        "seconds": reply.seconds,
        "rtfx": given.file_seconds / reply.seconds,
        "segments": len(reply.segments),  # raises where it was refused
    }


def mixed(url: str, memory: MemoryWatch | None, given: argparse.Namespace) -> dict[str, Any]:
    """Dictate alone, then beside the file."""
    with memory or nullcontext():
        alone: list[Outcome] = []
        for seconds in (given.warm_up_seconds, given.seconds):
            posts = dictation(given, _for_seconds(seconds), seed=1)
            alone = asyncio.run(closed_loop(url, posts, given.clients))
        beside, file = asyncio.run(beside_file(url, given))
    found = {"alone": summary(alone), "beside_file": summary(beside)}
    p95 = [row["latency_seconds"].get("p95") for row in found.values()]
    return {
        "chunk_seconds": given.chunk_seconds,
        "think_seconds": given.think_seconds,
        **found,
        "p95_ratio": p95[1] / p95[0] if all(p95) else None,
        "file": file,
    }


def _for_seconds(seconds: float) -> Callable[[], bool]:
    deadline = time.perf_counter() + seconds
    return lambda: time.perf_counter() < deadline


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
    """Whether every request was answered as it should be, by the processes it began with."""
    if document["tool"] == "mixed":
        return not (document["alone"]["failed"] or document["beside_file"]["failed"])
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
    dictate.add_argument("--think-seconds", type=float, default=5.0, help="mean, +/- 20 %%")
    dictate.add_argument("--seconds", type=float, default=180.0, help="of dictation alone")
    dictate.add_argument("--beside-seconds", type=float, default=300.0, help="beside the file")
    dictate.add_argument("--warm-up-seconds", type=float, default=10.0, help="not counted")
    dictate.add_argument("--file-seconds", type=float, default=7200.0)
    given = parser.parse_args(arguments)
    given.clients = given.clients or {"soak": 16, "mixed": 8}[given.kind]
    return run_tool(given, _measure, is_good, _print)


if __name__ == "__main__":
    sys.exit(main())
