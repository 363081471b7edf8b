"""One loaded model and the scheduler that its requests share."""

import copy
import logging
import threading
from collections.abc import Sequence

import ctranslate2
from faster_whisper import WhisperModel

from models import resolve
from serve_app.engine import hardware
from serve_app.engine.admission import Admission
from serve_app.engine.attempts import Attempts, SpecialTokens
from serve_app.engine.audio_context import AudioContext
from serve_app.engine.backend import WhisperBackend
from serve_app.engine.checks import Checks
from serve_app.engine.policy import BatchLimits
from serve_app.engine.scheduler import Scheduler
from serve_app.engine.window_model import WindowModel
from serve_app.metrics import catalogue as metrics
from serve_app.options import ModelFacts, TranscribeOptions
from serve_app.settings import AdmissionSettings, EngineSettings, EngineTunables

logger = logging.getLogger("whisper_ox.engine")

CPU_BULK_DECODE_BATCH = 2
GPU_WORKERS = 2
GPU_ENCODE_BATCH = 8

CORES_PER_PREPARATION = 4
"""One core finds the speech in 500 s of audio per second; four transcribe less than that."""


class Engine:
    """A model ready to transcribe many requests at once. Thread-safe."""

    def __init__(
        self,
        settings: EngineSettings,
        tunables: EngineTunables,
        sink: metrics.Sink = metrics.NO_METRICS,
        bounds: AdmissionSettings | None = None,
    ) -> None:
        self.sink = sink
        local = resolve(settings.model)
        self.device = hardware.pick_device(settings.device)
        self.compute_type = hardware.pick_compute_type(settings.compute_type, self.device)
        cores = hardware.available_cpus()
        on_cpu = self.device == "cpu"
        if on_cpu and len(nodes := hardware.numa_nodes()) > 1:
            logger.warning(
                "the CPUs span %d NUMA nodes: %d replicas with engine.bind_to_numa_node would"
                " keep each one's memory on its own node",
                len(nodes),
                len(nodes),
            )
        workers = settings.workers or (
            max(1, cores // settings.threads_per_worker) if on_cpu else GPU_WORKERS
        )
        self._whisper = WhisperModel(
            str(local.path),
            device=self.device,
            compute_type=self.compute_type,
            cpu_threads=settings.threads_per_worker,
            num_workers=workers,
            local_files_only=True,
        )
        # faster-whisper logs at INFO for every request what our own log line says once.
        logging.getLogger("faster_whisper").setLevel(logging.WARNING)
        whole = None
        if on_cpu and settings.whole_machine_worker and cores > settings.threads_per_worker:
            whole = ctranslate2.models.Whisper(
                str(local.path), compute_type=self.compute_type, intra_threads=cores
            )
        tokenizer = self._whisper.hf_tokenizer
        self._tokens = SpecialTokens(
            sot=tokenizer.token_to_id("<|startoftranscript|>"),
            no_timestamps=tokenizer.token_to_id("<|notimestamps|>"),
            eot=tokenizer.token_to_id("<|endoftext|>"),
        )
        multilingual: bool = self._whisper.model.is_multilingual
        self.facts = ModelFacts(
            name=local.name,
            multilingual=multilingual,
            # faster-whisper lists Cantonese for every model; only large-v3 has the token.
            languages=tuple(
                code
                for code in self._whisper.supported_languages
                if not multilingual or tokenizer.token_to_id(f"<|{code}|>") is not None
            ),
            vocabulary_size=tokenizer.get_vocab_size(),
        )
        self.scheduler = Scheduler(
            WhisperBackend(self._whisper.model, whole),
            self._limits(tunables),
            workers,
            sink,
            Admission(bounds or AdmissionSettings(), settings.max_concurrent_requests, workers),
        )
        # Speech detection and the mel features of many long files at once would take every core
        # from the model, and much memory: features of 20 minutes in one piece take 1.3 GB.
        self.bulk_preparations = threading.Semaphore(max(1, cores // CORES_PER_PREPARATION))
        self._workers = workers
        self._tunables = tunables

    def _limits(self, tunables: EngineTunables) -> BatchLimits:
        on_cpu = self.device == "cpu"
        return BatchLimits(
            encode=tunables.encode_batch or (1 if on_cpu else GPU_ENCODE_BATCH),
            decode=tunables.decode_batch,
            bulk_decode=tunables.bulk_decode_batch
            or (CPU_BULK_DECODE_BATCH if on_cpu else tunables.decode_batch),
            slack_seconds=tunables.slack_seconds,
        )

    def tune(self, tunables: EngineTunables) -> None:
        """Apply new tunables; the next request and the next batch obey them."""
        self._tunables = tunables
        self.scheduler.set_limits(self._limits(tunables))

    def view(self, request: int, options: TranscribeOptions, *, batched: bool) -> WhisperModel:
        """faster-whisper's model as ``request`` may use it: shared weights, own mutable state.

        The feature extractor keeps the last call's ``chunk_length`` in itself, hence its copy.
        """
        tunables = self._tunables
        fallback = batched and tunables.batched_fallback  # the sequential pipeline has its own
        attempts = Attempts(
            self._tokens,
            self._text,
            Checks.of(options),
            options.temperature[1:] if fallback else (),
            options.best_of,
            sink=self.sink,
        )
        margin = tunables.context_margin_seconds
        view = copy.copy(self._whisper)
        view.model = WindowModel(
            self.scheduler,
            request,
            self._whisper.model,
            attempts,
            None if margin is None else AudioContext(margin),
        )
        view.feature_extractor = copy.copy(self._whisper.feature_extractor)
        return view

    @property
    def recovers_speech(self) -> bool:
        """Whether speech without a segment is decoded once more."""
        return self._tunables.recover_speech

    def _text(self, tokens: Sequence[int]) -> str:
        text: str = self._whisper.hf_tokenizer.decode([t for t in tokens if t < self._tokens.eot])
        return text

    def stop(self) -> None:
        """End the worker threads; requests still open fail."""
        self.scheduler.stop()

    def __str__(self) -> str:
        return f"{self.facts.name} ({self.compute_type} on {self.device}, {self._workers} workers)"
