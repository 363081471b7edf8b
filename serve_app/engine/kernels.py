"""Chooses the instruction set that CTranslate2 uses on a CPU, before a model is loaded.

CTranslate2 4.8 (src/cpu/cpu_isa.cc) uses AVX2 if the CPU has it, and AVX-512 only if the
environment variable :data:`VARIABLE` says so. It reads the variable once per process, when it loads
the first model. Which of the two is faster depends on the processor. So two child processes measure
both, side by side, in about a second.

``python -m serve_app.engine.kernels MODEL COMPUTE_TYPE`` is such a child process.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import ctranslate2
import numpy as np

import serve_app
from serve_app.engine.random_model import Shape, write_random_model

VARIABLE = "CT2_FORCE_CPU_ISA"
CPUINFO = Path("/proc/cpuinfo")

AVX512 = frozenset({"avx512f", "avx512cd", "avx512vl", "avx512dq", "avx512bw"})
"""What CTranslate2's AVX-512 kernels need, named as in /proc/cpuinfo."""

SHAPE = Shape(d_model=512, heads=8, encoder_layers=1, decoder_layers=1)
"""A layer of ``base``. Larger models gain about as much."""

N_FRAMES = 1000
ROUNDS = 8
GAIN = 1.02
"""AVX-512 must be faster by this factor, which is more than the error of the measurement."""

TIMEOUT_SECONDS = 40.0
"""In seconds. After this time the measurement is abandoned, and CTranslate2 chooses."""

Encode = Callable[[], float]
"""Encodes once and returns the seconds of CPU time that it took."""


@dataclass(frozen=True)
class Kernels:
    """A choice and its ``reason``, in words for the log.

    ``isa`` is what CTranslate2 is told to use, or "" if it chooses. ``gain`` is how many times as
    fast as CTranslate2's choice AVX-512 was; None if that was not measured.
    """

    isa: str
    reason: str
    gain: float | None = None

    def __str__(self) -> str:
        return f"{self.isa or 'default'} ({self.reason})"


@cache
def choose_kernels(wanted: str, compute_type: str) -> Kernels:
    """Decide once per process, and tell CTranslate2. Call this before any model is loaded.

    The operator's environment variable takes precedence over ``wanted``, where "auto" means to
    measure.
    """
    if forced := os.environ.get(VARIABLE):
        return Kernels(forced, VARIABLE)
    kernels = fastest(compute_type) if wanted == "auto" else Kernels(wanted, "engine.cpu_isa")
    if kernels.isa:
        os.environ[VARIABLE] = kernels.isa
    return kernels


def fastest(compute_type: str) -> Kernels:
    """Measure whether AVX-512 is faster than CTranslate2's choice, if the CPU has it.

    Intel's processors are not measured, because Intel's own library does the matrix products there.
    If anything goes wrong, CTranslate2 chooses.
    """
    if not may_gain(CPUINFO):
        return Kernels("", "this CPU has no other worth trying")
    try:
        gain = measured_gain("AVX512", compute_type)
    except (OSError, ValueError) as error:
        return Kernels("", f"AVX512 was not measured: {error}")
    isa = "AVX512" if gain >= GAIN else ""
    return Kernels(isa, f"AVX512 measured {gain:.2f} times as fast as the default", gain)


def may_gain(cpuinfo: Path) -> bool:
    """Whether the CPU has AVX-512 and was not made by Intel. Format: proc_cpuinfo(5)."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:  # not Linux, or a sandbox that hides it
        return False
    fields = [line.partition(":") for line in lines]
    values = {name.strip(): value.strip() for name, _, value in reversed(fields)}  # the first CPU's
    is_intel = values.get("vendor_id") == "GenuineIntel"
    return not is_intel and set(values.get("flags", "").split()) >= AVX512


def measured_gain(isa: str, compute_type: str) -> float:
    """How many times as fast as CTranslate2's choice the encoder is with ``isa``.

    The two take turns, so that other programs slow both equally. The fastest turn of each counts.
    Raises ``OSError`` or ``ValueError`` if a process cannot be started or does not answer.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        write_random_model(Path(folder), SHAPE, ["<|endoftext|>", "<|startoftranscript|>"])
        default = stack.enter_context(_encoder(folder, compute_type, {}))
        other = stack.enter_context(_encoder(folder, compute_type, {VARIABLE: isa}))
        turns = [(default(), other()) for _ in range(ROUNDS)]
    return min(seconds for seconds, _ in turns) / min(seconds for _, seconds in turns)


@contextmanager
def _encoder(folder: str, compute_type: str, environment: dict[str, str]) -> Iterator[Encode]:
    """Start a process, with this environment added to ours, that encodes whenever it is asked."""
    with subprocess.Popen(
        [sys.executable, "-m", "serve_app.engine.kernels", folder, compute_type],
        cwd=Path(serve_app.__file__).parents[1],
        env=os.environ | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
    ) as process:
        assert process.stdin and process.stdout
        asks, answers = process.stdin, process.stdout

        def encode() -> float:
            try:
                asks.write(b"\n")
                return float(answers.readline())
            except (OSError, ValueError) as error:
                asks.close()
                raise ValueError(f"its process ended with status {process.wait()}") from error

        watchdog = threading.Timer(TIMEOUT_SECONDS, process.kill)
        watchdog.start()
        try:
            yield encode
        finally:
            watchdog.cancel()
            process.kill()


def answer(folder: str, compute_type: str) -> None:
    """For every line on stdin, encode once and print the seconds of CPU time that it took."""
    model = ctranslate2.models.Whisper(folder, compute_type=compute_type, intra_threads=1)
    mel = np.zeros((1, SHAPE.n_mels, N_FRAMES), np.float32)
    for _ in sys.stdin:
        began = time.process_time()
        model.encode(ctranslate2.StorageView.from_array(mel), to_cpu=True)
        print(time.process_time() - began, flush=True)


if __name__ == "__main__":
    answer(*sys.argv[1:])
