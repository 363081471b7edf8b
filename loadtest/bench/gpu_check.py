"""Check that Whisper OX works on this machine's GPU, and how fast it is.

``python -m loadtest.bench.gpu_check [--device cpu] [--output FILE]``. A step that fails is reported
and the next one runs all the same; none starts after eight minutes. The file is rewritten after
each step, so that a crash loses only one. ``--device cpu`` runs the same steps on toy models, which
says nothing about speed.

CTranslate2's wheel loads ``libcublas.so.12``. A machine with CUDA 13 does not have that file, but
its driver does run programs built for CUDA 12, so a wheel can supply it::

    make .venv/.dev && . .venv/bin/activate
    pip install nvidia-cublas-cu12
    nvidia=$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/nvidia
    export LD_LIBRARY_PATH=$nvidia/cublas/lib:$nvidia/cuda_nvrtc/lib
    python -m models fetch tiny.en base
    timeout 540 python -m loadtest.bench.gpu_check --output gpu_check.json

Models of large-v3's and turbo's shapes with random weights need 5 GB in ``$TMPDIR`` meanwhile.
"""

import argparse
import json
import multiprocessing
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import timeit
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any

import ctranslate2
import numpy as np
import psutil

from loadtest.bench.engine_alone import TOKENS, engine_of, heard, requests_per_second
from loadtest.bench.out_of_memory import FailingBackend, fill_memory
from loadtest.load import machine
from loadtest.tool import run_tool, tool_parser
from models import resolve
from serve_app.engine.backend import WhisperBackend
from serve_app.engine.hardware import pick_compute_type
from serve_app.engine.queue import BatchLimits, Stage
from serve_app.engine.random_model import Shape, write_random_model
from serve_app.engine.scheduler import Scheduler
from serve_app.engine.steps import hashable
from serve_app.engine.window import FULL_FRAMES

LIMIT_SECONDS = 480.0
"""In seconds. No step starts later than this."""

TIMED_CALLS = 5
PROMPT = ["<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>"]
LARGE = Shape(1280, 20, 32, 32, n_mels=128)
TOY = Shape(32, 4, 2, 2, n_mels=128)


@dataclass(frozen=True)
class Sizes:
    """The size of the check on a device. A batch of ``oversized`` windows must not fit."""

    models: tuple[str, ...]
    n_clips: int
    shapes: dict[str, Shape]
    batches: tuple[int, ...]
    frames: tuple[int, ...]
    requests: int
    oversized: int


SIZES = {
    "cuda": Sizes(
        models=("tiny.en", "base"),
        n_clips=6,
        shapes={"large-v3": LARGE, "turbo": replace(LARGE, decoder_layers=4)},
        batches=(1, 2, 4, 8, 16, 32),
        frames=(500, 1000, 1500, 2000, FULL_FRAMES),
        requests=128,
        oversized=64,
    ),
    "cpu": Sizes(
        models=("tiny.en",),
        n_clips=1,
        shapes={"large-v3": TOY, "turbo": replace(TOY, decoder_layers=1)},
        batches=(1, 2),
        frames=(500, FULL_FRAMES),
        requests=4,
        oversized=8,
    ),
}


class Check:
    """The steps on one device; large models are written into ``folder``."""

    def __init__(self, device: str, folder: Path) -> None:
        self._device = device
        self._sizes = SIZES[device]
        self._folder = folder

    def steps(self) -> dict[str, Callable[[], Any]]:
        """Each step by its name. It returns JSON values, or raises if something does not work."""
        texts: dict[str, Callable[[], Any]] = {
            f"texts, {model}, {compute_type}": partial(self._texts, model, compute_type)
            for model in self._sizes.models
            for compute_type in sorted(ctranslate2.get_supported_compute_types(self._device))
        }
        return texts | {
            "sweeps": self._sweeps,
            "requests per second, large-v3": partial(self._rate, "large-v3"),
            "requests per second, turbo": partial(self._rate, "turbo"),
            "out of memory": self._out_of_memory,
            "requests per second, one replica of turbo": partial(self._replicas, 1),
            "requests per second, two replicas of turbo": partial(self._replicas, 2),
        }

    def _texts(self, model: str, compute_type: str) -> dict[str, int]:
        """Count the texts that equal the CPU's in float32 and in int8."""
        n_clips = self._sizes.n_clips
        texts = heard(model, self._device, compute_type, n_clips)
        found = {"clips": len(texts)}
        for other in ("float32", "int8"):
            pairs = zip(texts, heard(model, "cpu", other, n_clips), strict=True)
            found[f"as_cpu_{other}"] = sum(a == b for a, b in pairs)
        return found

    def _sweeps(self) -> list[dict[str, float]]:
        """Time a large-v3 by batch size, and by frames of context in batches of 8.

        A row is one batch: ``encode`` and ``generate`` are the seconds of a call, ``memory_mib`` is
        the most that the GPU (or, on a CPU, this process) had in use meanwhile.
        """
        path = self._model("large-v3")
        compute_type = pick_compute_type("auto", self._device)
        model = ctranslate2.models.Whisper(path, device=self._device, compute_type=compute_type)
        run = partial(WhisperBackend(model).run, alone=False)
        end = tokens_of(Path(path)).index("<|endoftext|>")
        options = {"beam_size": 5, "max_length": 2 * TOKENS, "suppress_tokens": [end]}
        swept = [(batch, FULL_FRAMES) for batch in self._sizes.batches]
        rows = []
        for batch, n_frames in [*swept, *((8, n_frames) for n_frames in self._sizes.frames)]:
            mels = [np.zeros((1, model.n_mels, n_frames), np.float32)] * batch
            with memory_mib(self._device) as samples:
                encode, encoded = timed(partial(run, Stage.ENCODE, (), mels))
                windows = [(window, PROMPT) for window in encoded]
                generate, _ = timed(partial(run, Stage.GENERATE, (hashable(options),), windows))
            row = {"batch": batch, "frames": n_frames, "encode": encode, "generate": generate}
            rows.append(row | {"memory_mib": max(samples, default=0)})
        return rows

    def _rate(self, model: str) -> float:
        with engine_of(self._model(model), self._device) as engine:
            return requests_per_second(engine, self._sizes.requests)

    def _out_of_memory(self) -> dict[str, Any]:
        """Fill the memory: a batch that does not fit is halved until it does, and work goes on.

        A CPU's memory cannot be filled without harm, so there large batches are made to fail.
        """
        n, on_gpu = self._sizes.oversized, self._device == "cuda"
        with engine_of(self._model("large-v3"), self._device, workers=1) as engine:
            backend = FailingBackend(engine.backend, most=n if on_gpu else 2)
            engine.scheduler.stop()
            limits = BatchLimits(encode=n, decode=n, spread=False)
            engine.scheduler = Scheduler(backend, limits, workers=1)
            ballast = fill_memory() if on_gpu else []
            requests_per_second(engine, n)
            failed = tuple(backend.failed)
            assert failed, f"a batch of {n} fits, so this step shows nothing"
            ballast.clear()
            backend.most = n
            requests_per_second(engine, n // 8)
            assert len(backend.failed) == len(failed), "batches still fail after memory was freed"
        return {"answered": n, "failed_batches": failed}

    def _replicas(self, n: int) -> float:
        """The rate of ``n`` processes together, which share the device."""
        spawn, model = multiprocessing.get_context("spawn"), self._model("turbo")
        with spawn.Manager() as manager, ProcessPoolExecutor(n, spawn) as pool:
            start = manager.Barrier(n)
            rates = [pool.submit(be_replica, model, self._device, start) for _ in range(n)]
            return sum(rate.result() for rate in rates)

    def _model(self, name: str) -> str:
        """A model with random weights and base's vocabulary, which is large-v3's less one token."""
        folder = self._folder / name
        if not folder.is_dir():
            folder.mkdir()
            base, shape = resolve("base").path, self._sizes.shapes[name]
            write_random_model(folder, shape, tokens_of(base))
            shutil.copy(base / "tokenizer.json", folder)
            features = json.dumps({"feature_size": shape.n_mels})
            (folder / "preprocessor_config.json").write_text(features, encoding="utf-8")
        return str(folder)


def tokens_of(model: Path) -> list[str]:
    """The vocabulary of a multilingual model."""
    tokens: list[str] = json.loads((model / "vocabulary.json").read_text(encoding="utf-8"))
    return tokens


def timed(call: Callable[[], Sequence[Any]]) -> tuple[float, Sequence[Any]]:
    """Seconds of the fastest of several calls, after one to warm up, and what a call returned."""
    result = call()
    return min(timeit.repeat(call, number=1, repeat=TIMED_CALLS)), result


@contextmanager
def memory_mib(device: str) -> Iterator[list[int]]:
    """Sample the memory that the first GPU (or, on a CPU, this process) uses inside the block."""
    samples: list[int] = []
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(0.02):
            rss = psutil.Process().memory_info().rss >> 20
            samples.append(rss if device == "cpu" else int(gpu("memory.used") or 0))

    with ThreadPoolExecutor(1) as pool:
        pool.submit(sample)
        try:
            yield samples
        finally:
            ended.set()


def gpu(fields: str) -> str:
    """What nvidia-smi says about the first GPU; "" if it cannot be asked."""
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits", "--id=0"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def be_replica(model: str, device: str, start: Barrier) -> float:
    """Load the model, wait for the other replicas, and measure this one's requests per second."""
    with engine_of(model, device) as engine:
        start.wait(timeout=120)  # else the others would wait for ever if one could not load
        return requests_per_second(engine, SIZES[device].requests)


def run_steps(given: argparse.Namespace) -> dict[str, Any]:
    """Run every step. A step that raises becomes an ``error``."""
    began = time.monotonic()
    steps: dict[str, Any] = {}
    document = {"tool": "gpu_check", "machine": machine(), "device": given.device, "steps": steps}
    document["gpu"] = gpu("name,driver_version,memory.total") if given.device == "cuda" else ""
    with tempfile.TemporaryDirectory() as folder:
        for name, step in Check(given.device, Path(folder)).steps().items():
            seconds = time.monotonic() - began
            print(f"[{seconds:5.1f} s] {name}", flush=True)
            try:
                if seconds > LIMIT_SECONDS:
                    raise TimeoutError(f"not started: {LIMIT_SECONDS:.0f} s have passed")
                steps[name] = step()
            except Exception as error:
                steps[name] = {"error": f"{type(error).__name__}: {error}"}
            print(f"    {steps[name]}", flush=True)
            document["seconds"] = time.monotonic() - began
            if given.output:
                given.output.write_text(json.dumps(document, indent=1), encoding="utf-8")
    return document


def main(arguments: list[str] | None = None) -> int:
    """Run the check. Returns 1 if a step failed."""
    parser = tool_parser("bench.gpu_check", __doc__)
    parser.add_argument("--device", choices=SIZES, default="cuda")
    given = parser.parse_args(arguments)
    return run_tool(given, run_steps, lambda found: "error" not in str(found["steps"]))


if __name__ == "__main__":
    sys.exit(main())
