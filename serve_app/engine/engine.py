"""One loaded model and the scheduler that its requests share."""

import asyncio
import contextvars
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import ctranslate2
import numpy as np
import numpy.typing as npt
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer

from models import resolve
from serve_app import metrics
from serve_app.cpus import available_cpus
from serve_app.engine import hardware
from serve_app.engine.admission import Admission
from serve_app.engine.backend import WhisperBackend
from serve_app.engine.health import Health
from serve_app.engine.hearing import Ear
from serve_app.engine.kernels import choose_kernels
from serve_app.engine.prompt import Vocabulary
from serve_app.engine.queue import BatchLimits, Stage
from serve_app.engine.request import Request
from serve_app.engine.scheduler import Scheduler
from serve_app.engine.silence import SilentTail
from serve_app.engine.window import FULL_FRAMES, Policy, Window
from serve_app.engine.words import Heard
from serve_app.errors import NotReady
from serve_app.options import ModelFacts
from serve_app.settings import AdmissionSettings, EngineSettings, EngineTunables

logger = logging.getLogger("whisper_ox.engine")

CPU_BULK_DECODE_BATCH = 2
GPU_WORKERS = 2
GPU_ENCODE_BATCH = 8

CORES_PER_BULK_PREPARATION = 4
"""One core finds the speech in 500 s of audio per second; four transcribe less than that."""

_DEFAULT_BOUNDS = AdmissionSettings()

T = TypeVar("T")


class Engine:
    """A model that transcribes many requests at once.

    A whole request enters through :func:`serve_app.engine.transcription.transcribe`, a single
    window through :meth:`hear`.
    """

    def __init__(
        self,
        settings: EngineSettings,
        tunables: EngineTunables,
        sink: metrics.Sink = metrics.NO_METRICS,
        bounds: AdmissionSettings = _DEFAULT_BOUNDS,
    ) -> None:
        self.sink = sink
        self.tunables = tunables
        self.device = hardware.pick_device(settings.device)
        self.compute_type = hardware.pick_compute_type(settings.compute_type, self.device)
        cores = settings.cores or available_cpus()
        if cores > available_cpus():
            raise NotReady(
                f"{settings.model} is given {cores} cores, and this process may use "
                f"{available_cpus()}. Lower its cores in the profile."
            )
        on_cpu = self.device == "cpu"
        if on_cpu:
            _warn_of_numa()
        self.workers = settings.workers or (
            max(1, cores // settings.threads_per_worker) if on_cpu else GPU_WORKERS
        )
        local = resolve(settings.model)
        # CTranslate2 asks for this when its first model is loaded, and only then.
        kernels = choose_kernels(settings.cpu_isa, self.compute_type) if on_cpu else None
        self.whisper = WhisperModel(
            str(local.path),
            device=self.device,
            compute_type=self.compute_type,
            cpu_threads=settings.threads_per_worker,
            num_workers=self.workers,
            local_files_only=True,
        )
        # faster-whisper logs at INFO for every request what our own log line says once.
        logging.getLogger("faster_whisper").setLevel(logging.WARNING)
        whole = None
        if on_cpu and settings.whole_machine_worker and cores > settings.threads_per_worker:
            whole = ctranslate2.models.Whisper(
                str(local.path), compute_type=self.compute_type, intra_threads=cores
            )
        self.vocabulary = Vocabulary.of(self.whisper.hf_tokenizer)
        self.facts = self._facts(local.name)
        self.backend = WhisperBackend(self.whisper.model, whole)
        tail = SilentTail(self._encode_silence())
        if kernels:
            decoder = "every core" if self.backend.decodes_alone_on_every_core else "one worker"
            logger.info("CPU kernels: %s; a lone request is decoded by %s", kernels, decoder)
        self.scheduler = Scheduler(
            self.backend,
            self.limits(),
            self.workers,
            sink,
            Admission(bounds, settings.max_concurrent_requests, self.workers),
            health=Health(settings.stall_seconds),
        )
        self._ear = Ear(self.whisper, self.vocabulary, tail, sink)
        self._ear.encodes_batches = self.limits().encode > 1
        self._preparation = ThreadPoolExecutor(cores, "preparation")
        # Speech detection and spectra of many long files at once would take every core from the
        # model. What is short never waits for them.
        n_bulk = max(1, cores // CORES_PER_BULK_PREPARATION)
        self._bulk_preparation = ThreadPoolExecutor(n_bulk, "bulk-preparation")
        self._sequences = ThreadPoolExecutor(settings.max_concurrent_requests, "sequence")

    async def hear(
        self, request: Request, window: Window, policy: Policy, *, again: bool = False
    ) -> Heard:
        """Hear one window of an open request. ``again``: it is part of one that was heard before.

        Raises ``RequestClosed`` once the request is closed, and what the model raises.
        """
        hearing = self._ear.hearing(window, policy)
        job = self.scheduler.hear(request, hearing, again=again)
        heard: Heard = await asyncio.wrap_future(job.heard)
        return heard

    async def prepare(self, work: Callable[..., T], *arguments: Any, bulk: bool = False) -> T:
        """Run short work on the CPU for a request in a thread; ``bulk`` says that it is long."""
        pool = self._bulk_preparation if bulk else self._preparation
        return await _in_thread(pool, work, *arguments)

    async def sequence(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run a blocking pipeline in a thread of its own."""
        return await _in_thread(self._sequences, work, *arguments)

    def tune(self, tunables: EngineTunables) -> None:
        """Apply new tunables, from the next request and the next batch on."""
        self.tunables = tunables
        self.scheduler.set_limits(self.limits())
        self._ear.encodes_batches = self.limits().encode > 1

    def stop(self) -> None:
        """End the threads. Open requests fail."""
        self.scheduler.stop()
        for pool in (self._preparation, self._bulk_preparation, self._sequences):
            pool.shutdown()

    def limits(self) -> BatchLimits:
        """How many windows a batch may have, by the tunables."""
        on_cpu, tunables = self.device == "cpu", self.tunables
        return BatchLimits(
            encode=tunables.encode_batch or (1 if on_cpu else GPU_ENCODE_BATCH),
            decode=tunables.decode_batch,
            bulk_decode=tunables.bulk_decode_batch
            or (CPU_BULK_DECODE_BATCH if on_cpu else tunables.decode_batch),
            # A call on a CPU takes up to a second, for which dictation would have to wait.
            bulk_workers=max(1, self.workers - 1) if on_cpu else None,
            slack_seconds=tunables.slack_seconds,
            spread=on_cpu,
        )

    def _encode_silence(self) -> npt.NDArray[Any]:
        """Encode a silent window, and choose how a lone window is decoded: see
        :meth:`WhisperBackend.choose_lone_decoding`. Any window serves for that.
        """
        model = self.whisper.model
        tokenizer = Tokenizer(self.whisper.hf_tokenizer, model.is_multilingual, "transcribe", "en")
        mel = np.zeros((1, model.n_mels, FULL_FRAMES), np.float32)
        [encoded] = self.backend.run(Stage.ENCODE, (), [mel], alone=True)
        self.backend.choose_lone_decoding(encoded, tokenizer.sot_sequence, tokenizer.eot)
        return np.array(encoded)

    def _facts(self, name: str) -> ModelFacts:
        multilingual: bool = self.whisper.model.is_multilingual
        return ModelFacts(
            name=name,
            multilingual=multilingual,
            # faster-whisper lists Cantonese for every model; only large-v3 has the token.
            languages=tuple(
                code
                for code in self.whisper.supported_languages
                if not multilingual or self.vocabulary.language_token(code) is not None
            ),
            vocabulary_size=self.whisper.hf_tokenizer.get_vocab_size(),
        )

    def __str__(self) -> str:
        return f"{self.facts.name} ({self.compute_type} on {self.device}, {self.workers} workers)"


async def _in_thread(pool: ThreadPoolExecutor, work: Callable[..., T], *arguments: Any) -> T:
    """Run ``work`` in ``pool`` with the caller's context, so that log lines have its request id."""
    waiting = [partial(contextvars.copy_context().run, work, *arguments)]

    def run() -> T:
        return waiting.pop()()

    try:
        return await asyncio.get_running_loop().run_in_executor(pool, run)
    finally:
        waiting.clear()  # a pool keeps cancelled work until a thread comes to it


def _warn_of_numa() -> None:
    n_nodes = len(hardware.numa_nodes())
    if n_nodes > 1:
        logger.warning(
            "the CPUs span %d NUMA nodes: %d replicas with engine.bind_to_numa_node would keep the"
            " memory of each on its own node",
            n_nodes,
            n_nodes,
        )
