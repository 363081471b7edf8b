"""The best rate that raw CTranslate2 calls reach on this machine's CPU, and how near we come to it.

``python -m loadtest.bench.ceiling --model base [--served [URL]] [--output FILE]`` takes the windows
that plain faster-whisper makes of the chunks of ``loadtest.bench.throughput``, with the same
prompts and options. Threads that call the model directly encode and decode them. It tries all
combinations of workers, threads and decoder batch, and measures the best few again. The ceiling is
the best mean.

The ceiling does not include reading and decoding audio, voice activity detection, mel features
(made beforehand), tokens to text, HTTP and Ray. Malloc and BLAS are set as for our Transcriber.
With ``--served``, serving efficiency is the RTFx of ``--clients`` over HTTP divided by the ceiling,
measured in turns. It is above 1 if the server does less work per window, as with a shorter audio
context. The ceiling decodes each window once, while the server decodes a bad text again. For
``efficiency_without_fallback``, requests have ``temperature`` 0, and so one attempt as well.
"""

import argparse
import asyncio
import itertools
import os
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import ctranslate2

from loadtest.bench.raw_engine import Combination, Workload, record, replay
from loadtest.chunks import Chunk, english_chunks
from loadtest.load import closed_loop, loaded_rate, machine, posts_of, served_rate, transcribed
from loadtest.options import COMPUTE_TYPE, EVALUATED_MODELS, english_options
from loadtest.server import server_at, transcriber_environment
from loadtest.tool import run_tool, tool_parser
from models import resolve
from serve_app.cpus import available_cpus

STARTED = "WHISPER_OX_CEILING_STARTED"
"""An environment variable that tells the program that it has been started again."""

REQUESTS_PER_CLIENT = 6

DECODE_BATCHES = (1, 2, 4, 8, 16)
CONFIRMED = 3
"""How many of the best combinations are measured again, because the best of noisy figures
flatters."""


def combinations(cores: int, decode_batches: Sequence[int]) -> list[Combination]:
    """All combinations with workers x threads <= ``cores``, in powers of two or using every
    core.
    """
    powers = [2**n for n in range(cores.bit_length()) if 2**n <= cores]
    shapes = {
        (workers, threads)
        for threads in {*powers, cores}
        for workers in {*powers, cores // threads}
        if workers * threads <= cores
    }
    return [
        Combination(workers, threads, decode)
        for workers, threads in sorted(shapes)
        for decode in decode_batches
    ]


class Bench:
    """Measures combinations; the model stays loaded while workers and threads stay the same."""

    def __init__(self, model: str, workload: Workload, count: int) -> None:
        self._path = str(resolve(model).path)
        self._workload = workload
        self._count = count
        self._shape = (0, 0)
        self._model: ctranslate2.models.Whisper = None

    def rtfx(self, combination: Combination) -> float:
        """Audio seconds per second while every worker is busy."""
        shape = (combination.workers, combination.threads)
        if shape != self._shape:
            self._model = None  # its memory and threads go first
            self._model = ctranslate2.models.Whisper(
                self._path,
                compute_type=COMPUTE_TYPE,
                inter_threads=combination.workers,
                intra_threads=combination.threads,
            )
            self._shape = shape
            replay(self._model, self._workload, combination, combination.workers)  # warm-up
        count = max(self._count, 2 * combination.workers * combination.decode_batch)
        return loaded_rate(replay(self._model, self._workload, combination, count))


def ceiling(
    rtfx: Callable[[Combination], float], tried: Sequence[Combination], repeats: int
) -> tuple[Combination, dict[Combination, list[float]]]:
    """The best combination, and every figure that ``rtfx`` measured.

    Each is measured once, the best ``CONFIRMED`` ``repeats`` times more.
    """
    figures: dict[Combination, list[float]] = {}
    for combination in tried:
        figures[combination] = [rtfx(combination)]
        print(f"{named(combination)}: RTFx {figures[combination][0]:.2f}", flush=True)
    best = sorted(tried, key=lambda one: figures[one][0], reverse=True)[:CONFIRMED]
    for _ in range(repeats):
        for combination in sorted(best, key=tried.index):  # neighbours share the loaded model
            figures[combination].append(rtfx(combination))
    return max(best, key=lambda one: statistics.mean(figures[one])), figures


def named(c: Combination) -> str:
    """A combination in words."""
    return f"{c.workers} workers x {c.threads} threads, decode {c.decode_batch:>2}"


def served(
    url: str, options: Mapping[str, Any], chunks: Sequence[Chunk], clients: int, each: int
) -> float:
    """RTFx of the server at ``url``; raises ``WhisperOxError`` if a request fails."""
    posts = posts_of(itertools.cycle(chunks), options, requests=clients * each)
    return served_rate(transcribed(asyncio.run(closed_loop(url, posts, clients))))


def in_turns(
    bench: Bench, best: Combination, chunks: Sequence[Chunk], given: argparse.Namespace
) -> dict[str, Any]:
    """Raw calls and the server in turns. "efficiency" is a ratio of means.

    A server that we start runs only in its turns, because an idle Ray uses a tenth of a core.
    """
    options = [english_options(given.model, once=once) for once in (False, True)]
    raw, over_http, decoded_once = list[float](), list[float](), list[float]()
    for _ in range(given.rounds):
        raw.append(bench.rtfx(best))
        with server_at(given.served, given.model) as url:
            served(url, options[0], chunks, given.clients, 1)  # warm-up
            for one, found in zip(options, (over_http, decoded_once), strict=True):
                found.append(served(url, one, chunks, given.clients, REQUESTS_PER_CLIENT))
    return {
        "clients": given.clients,
        "ceiling_rtfx_per_round": raw,
        "served_rtfx_per_round": over_http,
        "served_without_fallback_rtfx_per_round": decoded_once,
        "efficiency": statistics.mean(over_http) / statistics.mean(raw),
        "efficiency_without_fallback": statistics.mean(decoded_once) / statistics.mean(raw),
    }


def _measure(given: argparse.Namespace) -> dict[str, Any]:
    about = machine()
    chunks = english_chunks(given.chunk_seconds)[: given.windows]
    workload = record(given.model, chunks)
    tried = combinations(available_cpus(), given.decode_batch)
    bench = Bench(given.model, workload, given.windows)
    best, figures = ceiling(bench.rtfx, tried, given.repeats)
    rtfx = statistics.mean(figures[best])
    windows_per_second = rtfx / statistics.mean(w.audio_seconds for w in workload.windows)
    print(f"ceiling: RTFx {rtfx:.2f}, {windows_per_second:.2f} windows/s: {named(best)}")
    document = {
        "tool": "ceiling",
        "machine": about,
        "model": given.model,
        "compute_type": COMPUTE_TYPE,
        "options": english_options(given.model),
        "chunk_seconds": statistics.mean(chunk.seconds for chunk in chunks),
        "windows": given.windows,
        "combinations": [asdict(one) | {"rtfx": found} for one, found in figures.items()],
        "ceiling": asdict(best) | {"rtfx": rtfx, "windows_per_second": windows_per_second},
    }
    if given.served is not None:
        serving = in_turns(bench, best, chunks, given)
        document["serving"] = serving
        print(
            f"served over HTTP, {given.clients} clients: RTFx "
            f"{statistics.mean(serving['served_rtfx_per_round']):.2f}, of the ceiling's "
            f"{statistics.mean(serving['ceiling_rtfx_per_round']):.2f} in turns\n"
            f"serving efficiency: {serving['efficiency']:.3f}, at temperature 0 only "
            f"{serving['efficiency_without_fallback']:.3f}"
        )
    return document


def main(arguments: list[str] | None = None) -> int:
    """Measure and print. Returns 2 if that failed."""
    parser = tool_parser("bench.ceiling", __doc__)
    parser.add_argument("--model", choices=EVALUATED_MODELS, default="base")
    parser.add_argument("--chunk-seconds", type=float, default=15.0)
    parser.add_argument("--windows", type=int, default=32, help="at least, of each combination")
    parser.add_argument("--decode-batch", type=int, nargs="+", default=DECODE_BATCHES)
    parser.add_argument("--repeats", type=int, default=2, help=f"of the best {CONFIRMED}")
    parser.add_argument(
        "--served",
        nargs="?",
        const="",
        metavar="URL",
        help="measure serving efficiency too, of the server at URL or of one that is started",
    )
    parser.add_argument("--clients", type=int, default=16, help="of the served measurement")
    parser.add_argument("--rounds", type=int, default=3, help="of the served measurement")
    return run_tool(parser.parse_args(arguments), _measure, bool)


def _start_as_transcriber() -> None:
    """Start this program again with the environment of the dev profile's Transcriber.

    malloc and BLAS read their variables once, when a process starts. The server has its own
    environment and gets ours without them.
    """
    wanted = transcriber_environment("dev")
    if STARTED not in os.environ:
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **wanted, STARTED: "1"})
    for name in (*wanted, STARTED):
        del os.environ[name]


if __name__ == "__main__":
    _start_as_transcriber()
    sys.exit(main())
