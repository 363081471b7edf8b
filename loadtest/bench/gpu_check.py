"""Check in at most eight minutes that Whisper OX works on this machine's GPU, and how fast it is.

``python -m loadtest.bench.gpu_check [--device cpu] [--output FILE]``. A step that fails is reported
and the next one runs all the same. The file is rewritten after each step, so a crash loses only
the step that crashed. ``--device cpu`` runs the same steps on toy models in half a minute, which
proves this program and says nothing about speed.

CTranslate2's wheel loads ``libcublas.so.12``. A machine with CUDA 13 does not have that file, but
its driver does run programs built for CUDA 12, so a wheel can supply it::

    make .venv/.dev && . .venv/bin/activate
    pip install nvidia-cublas-cu12
    nvidia=$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/nvidia
    export LD_LIBRARY_PATH=$nvidia/cublas/lib:$nvidia/cuda_nvrtc/lib
    python -m models fetch tiny.en && python -m models fetch base
    timeout 540 python -m loadtest.bench.gpu_check --output gpu_check.json

Models with the shapes of large-v3 and turbo are written with random weights. They need 5 GB in
``$TMPDIR`` while the check runs.
"""

import argparse
import asyncio
import gc
import json
import multiprocessing
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import psutil
from typing_extensions import override

from loadtest.load import machine
from loadtest.options import contract_options
from loadtest.speech import corpus_clips, registry_clips
from loadtest.tool import run_tool, tool_parser
from models import ModelError, resolve
from serve_app.api.example import EXAMPLE_CLIP
from serve_app.audio.clip import SAMPLE_RATE_HZ, AudioClip
from serve_app.audio.decode import decode_audio
from serve_app.audio.limits import AudioLimits
from serve_app.engine.backend import WhisperBackend
from serve_app.engine.device import Backend
from serve_app.engine.engine import Engine
from serve_app.engine.hardware import pick_compute_type
from serve_app.engine.queue import BatchLimits, Stage
from serve_app.engine.random_model import Shape, write_random_model
from serve_app.engine.scheduler import Scheduler
from serve_app.engine.steps import hashable
from serve_app.engine.transcription import transcribe
from serve_app.engine.window import FULL_FRAMES
from serve_app.options import TranscribeOptions, check_against_model
from serve_app.settings import AdmissionSettings, EngineSettings, EngineTunables

LIMIT_SECONDS = 480.0
"""No step starts later than this."""

CLIP_SECONDS = 5.0
TOKENS = 24
"""About as many as a clip of that length contains."""

TIMED_SECONDS = 0.5
PROMPT = ["<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>"]
ONE_GIB = 1 << 30


@dataclass(frozen=True)
class Sizes:
    """How large the check is on a device; a batch of ``oversized`` windows must not fit."""

    models: tuple[str, ...]
    n_clips: int
    large: Shape
    turbo: Shape
    batches: tuple[int, ...]
    frames: tuple[int, ...]
    requests: int
    oversized: int


SIZES = {
    "cuda": Sizes(
        models=("tiny.en", "base"),
        n_clips=6,
        large=Shape(1280, 20, 32, 32, n_mels=128),
        turbo=Shape(1280, 20, 32, 4, n_mels=128),
        batches=(1, 2, 4, 8, 16, 32),
        frames=(500, 1000, 1500, 2000, FULL_FRAMES),
        requests=128,
        oversized=64,
    ),
    "cpu": Sizes(
        models=("tiny.en",),
        n_clips=1,
        large=Shape(32, 4, 2, 2, n_mels=128),
        turbo=Shape(32, 4, 2, 1, n_mels=128),
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
        sizes = self._sizes
        return {
            **{
                f"texts, {model}, {compute_type}": partial(self._texts, model, compute_type)
                for model in sizes.models
                for compute_type in sorted(ctranslate2.get_supported_compute_types(self._device))
            },
            "sweeps": self._sweeps,
            "requests per second, large-v3": partial(self._requests_per_second, sizes.large),
            "requests per second, turbo": partial(self._requests_per_second, sizes.turbo),
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
            found[f"as_cpu_{other}"] = sum(ours == theirs for ours, theirs in pairs)
        return found

    def _sweeps(self) -> list[dict[str, float]]:
        """Time a large-v3 by batch size, and by frames of context in batches of 8.

        A row is one batch: ``encode`` and ``generate`` are the seconds of a call, ``memory_mib`` is
        the most that the GPU (or, on a CPU, this process) had in use meanwhile.
        """
        path = self._model(self._sizes.large)
        compute_type = pick_compute_type("auto", self._device)
        model = ctranslate2.models.Whisper(path, device=self._device, compute_type=compute_type)
        run = partial(WhisperBackend(model).run, alone=False)
        end = tokens_of(Path(path)).index("<|endoftext|>")
        options = {"beam_size": 5, "max_length": 2 * TOKENS, "suppress_tokens": [end]}
        rows = []
        for batch, n_frames in [
            *((batch, FULL_FRAMES) for batch in self._sizes.batches),
            *((8, n_frames) for n_frames in self._sizes.frames),
        ]:
            mels = [np.zeros((1, model.n_mels, n_frames), np.float32)] * batch
            with memory_mib(self._device) as samples:
                encode, encoded = timed(partial(run, Stage.ENCODE, (), mels))
                windows = [(window, PROMPT) for window in encoded]
                generate, _ = timed(partial(run, Stage.GENERATE, (hashable(options),), windows))
            row = {"batch": batch, "frames": n_frames, "encode": encode, "generate": generate}
            rows.append(row | {"memory_mib": max(samples, default=0)})
        return rows

    def _requests_per_second(self, shape: Shape) -> float:
        with engine_of(self._model(shape), self._device) as engine:
            return requests_per_second(engine, self._sizes.requests)

    def _out_of_memory(self) -> dict[str, Any]:
        """Fill the memory: a batch that does not fit is halved until it does, and work goes on.

        A CPU's memory cannot be filled without harm, so there large batches are made to fail.
        """
        n, on_gpu = self._sizes.oversized, self._device == "cuda"
        with engine_of(self._model(self._sizes.large), self._device, workers=1) as engine:
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
        spawn = multiprocessing.get_context("spawn")
        rates: SimpleQueue[float] = spawn.SimpleQueue()
        given = (self._model(self._sizes.turbo), self._device, spawn.Barrier(n), rates)
        processes = [spawn.Process(target=be_replica, args=given) for _ in range(n)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
            assert process.exitcode == 0, f"a replica ended with status {process.exitcode}"
        return sum(rates.get() for _ in processes)

    def _model(self, shape: Shape) -> str:
        """A model with random weights and base's vocabulary, which is large-v3's less one token."""
        folder = self._folder / f"{shape.encoder_layers}-{shape.decoder_layers}"
        if not folder.is_dir():
            folder.mkdir()
            base = resolve("base").path
            write_random_model(folder, shape, tokens_of(base))
            shutil.copy(base / "tokenizer.json", folder)
            features = json.dumps({"feature_size": shape.n_mels})
            (folder / "preprocessor_config.json").write_text(features, encoding="utf-8")
        return str(folder)


@dataclass
class FailingBackend(Backend):
    """Runs batches and records the sizes of those that fail; more than ``most`` windows do."""

    backend: WhisperBackend
    most: int
    failed: list[int] = field(default_factory=list)

    def run(self, stage: Stage, key: Any, payloads: Sequence[Any], *, alone: bool) -> Sequence[Any]:
        """See :class:`serve_app.engine.device.Backend`."""
        try:
            if len(payloads) > self.most:
                raise RuntimeError("out of memory")
            return self.backend.run(stage, key, payloads, alone=alone)
        except RuntimeError:
            self.failed.append(len(payloads))
            raise

    @override
    def free_memory(self) -> None:
        self.backend.free_memory()


def fill_memory() -> list[ctranslate2.StorageView]:
    """Take all of the GPU's memory but 1 GiB; clear the list to give it back."""
    block = ctranslate2.StorageView.from_array(np.zeros(ONE_GIB, np.int8))
    taken: list[ctranslate2.StorageView] = []
    while True:
        try:
            taken.append(block.to_device(ctranslate2.Device.cuda))
        except RuntimeError:
            return taken[1:]


def tokens_of(model: Path) -> list[str]:
    """The vocabulary of a multilingual model."""
    tokens: list[str] = json.loads((model / "vocabulary.json").read_text(encoding="utf-8"))
    return tokens


def timed(call: Callable[[], Sequence[Any]]) -> tuple[float, Sequence[Any]]:
    """Seconds of the fastest of several calls, after one to warm up, and what a call returned."""
    result = call()
    seconds: list[float] = []
    while sum(seconds) < TIMED_SECONDS:
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return min(seconds), result


@contextmanager
def memory_mib(device: str) -> Iterator[list[int]]:
    """Sample the memory that the first GPU (or, on a CPU, this process) uses inside the block."""
    samples: list[int] = []
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(0.02):
            if device == "cpu":
                samples.append(psutil.Process().memory_info().rss >> 20)
            elif used := gpu("memory.used"):
                samples.append(int(used))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()


def gpu(fields: str) -> str:
    """What nvidia-smi says about the first GPU; "" if it cannot be asked."""
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits", "--id=0"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


@contextmanager
def engine_of(model: str, device: str, **settings: Any) -> Iterator[Engine]:
    """An engine that admits every request; its model is unloaded after the block."""
    given = {"model": model, "device": device, "whole_machine_worker": False, **settings}
    bounds = AdmissionSettings(max_wait_seconds=LIMIT_SECONDS)
    engine = Engine(EngineSettings.model_validate(given), EngineTunables(), bounds=bounds)
    try:
        yield engine
    finally:
        engine.stop()
        engine.whisper.model.unload_model()
        gc.collect()


@cache
def heard(model: str, device: str, compute_type: str, n_clips: int) -> list[str]:
    """The texts of the ``n_clips`` shortest English clips, or of the server's own clip."""
    try:
        clips = corpus_clips(kinds=["read"], languages=["en"]) or registry_clips(languages=["en"])
    except ModelError:
        clips = []  # neither a corpus nor a network
    shortest = sorted(clips, key=lambda clip: clip.seconds)[:n_clips]
    audio = [audio_clip(clip.path) for clip in shortest] or [audio_clip(EXAMPLE_CLIP)]
    options = TranscribeOptions.model_validate(contract_options(model, "en", 8))
    with engine_of(model, device, compute_type=compute_type) as engine:
        return [text for clip in audio for text in hear(engine, [clip], options)]


def hear(engine: Engine, clips: Sequence[AudioClip], options: TranscribeOptions) -> list[str]:
    """Transcribe clips that all arrive at once."""
    fitted = check_against_model(options, engine.facts)

    async def together() -> list[str]:
        transcripts = await asyncio.gather(*(transcribe(engine, c, fitted) for c in clips))
        return [" ".join(segment.text for segment in one.segments) for one in transcripts]

    return asyncio.run(together())


def audio_clip(path: Path) -> AudioClip:
    """Decode a file of any kind of audio."""
    return decode_audio(path.read_bytes(), limits=AudioLimits())


def requests_per_second(engine: Engine, n: int) -> float:
    """The rate for ``n`` short clips that all arrive at once, after one to warm up.

    Random weights produce text that would fail every check, so each clip is decoded only once.
    """
    options = TranscribeOptions(
        language="en",
        vad_filter=False,
        temperature=(0.0,),
        max_new_tokens=TOKENS,
        compression_ratio_threshold=None,
        log_prob_threshold=None,
        no_speech_threshold=None,
    )
    samples = np.resize(audio_clip(EXAMPLE_CLIP).samples, round(CLIP_SECONDS * SAMPLE_RATE_HZ))
    clip = AudioClip(samples, CLIP_SECONDS)
    hear(engine, [clip], options)
    began = time.perf_counter()
    hear(engine, [clip] * n, options)
    return n / (time.perf_counter() - began)


def be_replica(model: str, device: str, start: Barrier, rates: "SimpleQueue[float]") -> None:
    """Load the model, wait for the other replicas, and report this one's requests per second."""
    with engine_of(model, device) as engine:
        start.wait(timeout=120)  # else the others would wait for ever if one could not load
        rates.put(requests_per_second(engine, SIZES[device].requests))


def run_steps(given: argparse.Namespace) -> dict[str, Any]:
    """Run every step; one that raises becomes an ``error``."""
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


def is_good(document: dict[str, Any]) -> bool:
    """Whether every step worked."""
    found = document["steps"].values()
    return not any(isinstance(values, dict) and "error" in values for values in found)


def main(arguments: list[str] | None = None) -> int:
    """Run the check; 1 if a step failed."""
    parser = tool_parser("bench.gpu_check", __doc__)
    parser.add_argument("--device", choices=SIZES, default="cuda")
    return run_tool(parser.parse_args(arguments), run_steps, is_good)


if __name__ == "__main__":
    sys.exit(main())
