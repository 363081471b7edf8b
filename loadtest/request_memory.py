"""What one demanding request costs a model process, in memory and in time.

``python -m loadtest.request_memory [--model tiny.en] [--case NAME ...] [--output FILE]`` runs each
case in a process of its own with one engine. ``peak_mib`` is how far the resident memory rises
above that of the idle engine, including the request's int16 samples. Cases of several hours end at
their second batch. By then speech has been found, and the request holds all that it holds before
decoding. All others end after ``--limit-seconds``. ``left_mib`` is what is still resident after the
request.
"""

import argparse
import asyncio
import gc
import multiprocessing
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil
from typing_extensions import override

from loadtest.load import machine
from loadtest.memory import MEBIBYTE
from loadtest.tool import run_tool, tool_parser
from serve_app import metrics
from serve_app.api.example import EXAMPLE_CLIP
from serve_app.audio.clip import SAMPLE_RATE_HZ, AudioClip
from serve_app.audio.decode import decode_audio
from serve_app.audio.limits import AudioLimits
from serve_app.engine.engine import Engine
from serve_app.engine.transcription import transcribe
from serve_app.options import TranscribeOptions, VadParameters
from serve_app.settings import EngineSettings, EngineTunables

SAMPLING_SECONDS = 0.01
HOUR_SECONDS = 3600.0


@dataclass(frozen=True)
class Case:
    """A request: ``seconds`` of ``sound`` and its options. ``ends_early`` is explained above."""

    seconds: float
    options: dict[str, Any] = field(default_factory=dict)
    sound: str = "speech"
    ends_early: bool = False


SEQUENTIAL = {"batch_size": 1, "vad_filter": False}

CASES = {
    "golden": Case(0.0),
    "1000-clips": Case(1.1, {"clip_timestamps": [(n / 1000, (n + 1) / 1000) for n in range(1000)]}),
    "1000-clips-in-sequence": Case(
        1.1,
        {"clip_timestamps": [(n / 1000, (n + 1) / 1000) for n in range(1000)], "batch_size": 1},
    ),
    "1-s-windows": Case(
        1800.0,
        {"chunk_length": 1, "vad_parameters": VadParameters(threshold=0.0)},
        sound="constant",
    ),
    "1-h-in-sequence": Case(HOUR_SECONDS, SEQUENTIAL, ends_early=True),
    "4-h-in-sequence": Case(4 * HOUR_SECONDS, SEQUENTIAL, ends_early=True),
    "4-h-in-sequence-vad": Case(4 * HOUR_SECONDS, {"batch_size": 1}, ends_early=True),
    "4-h-batched": Case(4 * HOUR_SECONDS, ends_early=True),
}


class _Batches(metrics.Sink):
    """Counts the batches that the engine has run."""

    def __init__(self) -> None:
        self.count_of_batches = 0
        self.second_is_done = threading.Event()

    @override
    def count(self, metric: metrics.Counter, amount: float = 1.0, **labels: str) -> None:
        if metric is metrics.ENGINE_ACTIVE_SECONDS:
            self.count_of_batches += 1
            if self.count_of_batches >= 2:
                self.second_is_done.set()


class _Peak:
    """The highest resident memory of this process while its context is open, in bytes."""

    def __init__(self) -> None:
        self.bytes = 0
        self._process = psutil.Process()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "_Peak":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(SAMPLING_SECONDS):
            self.bytes = max(self.bytes, self._process.memory_info().rss)


def sound_of(case: Case) -> AudioClip:
    """The golden clip repeated, or one level that never changes."""
    golden = decode_audio(EXAMPLE_CLIP.read_bytes(), limits=AudioLimits())
    if not case.seconds:
        return golden
    n_samples = round(case.seconds * SAMPLE_RATE_HZ)
    if case.sound == "constant":
        return AudioClip(np.full(n_samples, 3000, np.int16), case.seconds)
    return AudioClip(np.resize(golden.samples, n_samples), case.seconds)


async def _transcribe(
    engine: Engine, case: Case, clip: AudioClip, batches: _Batches, limit_seconds: float
) -> bool:
    """Hear a request. Returns whether it was heard to its end."""
    options = TranscribeOptions(language="en", **case.options)
    request = asyncio.ensure_future(transcribe(engine, clip, options))
    if case.ends_early:
        await asyncio.to_thread(batches.second_is_done.wait)
    else:
        await asyncio.wait([request], timeout=limit_seconds)
    request.cancel()
    with suppress(asyncio.CancelledError):
        await request
        return True
    return False


def measure_case(
    name: str, model: str, limit_seconds: float, answer: Callable[[dict[str, Any]], None]
) -> None:
    """Run one case in this process."""
    case, batches = CASES[name], _Batches()
    engine = Engine(EngineSettings(model=model), EngineTunables(), batches)
    golden = decode_audio(EXAMPLE_CLIP.read_bytes(), limits=AudioLimits())
    asyncio.run(transcribe(engine, golden, TranscribeOptions(language="en")))
    batches.count_of_batches = 0
    batches.second_is_done.clear()
    gc.collect()
    process = psutil.Process()
    at_rest, cpu = process.memory_info().rss, sum(process.cpu_times()[:2])
    began = time.perf_counter()
    with _Peak() as peak:
        is_whole = asyncio.run(_transcribe(engine, case, sound_of(case), batches, limit_seconds))
        seconds = time.perf_counter() - began
    answer(
        {
            "case": name,
            "peak_mib": round((peak.bytes - at_rest) / MEBIBYTE),
            "left_mib": round((process.memory_info().rss - at_rest) / MEBIBYTE),
            "seconds": round(seconds, 1),
            "cpu_seconds": round(sum(process.cpu_times()[:2]) - cpu, 1),
            "batches": batches.count_of_batches,
            "is_whole": is_whole,
        }
    )
    engine.stop()


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Every case, one after the other."""
    spawn = multiprocessing.get_context("spawn")
    cases = []
    for name in given.case or CASES:
        receiver, sender = spawn.Pipe(duplex=False)
        process = spawn.Process(
            target=measure_case, args=(name, given.model, given.limit_seconds, sender.send)
        )
        process.start()
        sender.close()
        try:
            cases.append(receiver.recv())
        except EOFError:
            cases.append({"case": name, "died": True})
        process.join()
        print(cases[-1], flush=True)
    return {"tool": "request_memory", "machine": machine(), "model": given.model, "cases": cases}


def main() -> int:
    """Entry point."""
    parser = tool_parser("request_memory", __doc__)
    parser.add_argument("--model", default="tiny.en")
    parser.add_argument("--case", action="append", choices=[*CASES])
    parser.add_argument("--limit-seconds", type=float, default=60.0)
    given = parser.parse_args()
    return run_tool(given, measure, lambda found: not any("died" in one for one in found["cases"]))


if __name__ == "__main__":
    raise SystemExit(main())
