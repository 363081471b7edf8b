"""One loaded model, its scheduler, and faster-whisper's pipelines running on them."""

import copy
import logging
import threading
import time
from collections.abc import Iterable
from typing import Any

import ctranslate2
from faster_whisper import BatchedInferencePipeline, WhisperModel

from models import resolve
from serve_app.audio.clip import AudioClip
from serve_app.engine import hardware
from serve_app.engine.backend import WhisperBackend
from serve_app.engine.pipeline_call import (
    clips_within,
    is_batched,
    pipeline_arguments,
    to_transcript,
)
from serve_app.engine.policy import BatchLimits
from serve_app.engine.scheduler import RequestClosed, Scheduler
from serve_app.engine.window_model import SpecialTokens, WindowModel
from serve_app.errors import InvalidOption
from serve_app.options import ModelFacts, TranscribeOptions
from serve_app.settings import EngineSettings, EngineTunables
from serve_app.transcript import Transcript

logger = logging.getLogger("whisper_ox.engine")

SILENCE_PEAK = 8 / 32768
"""Audio whose samples all stay below 8 of 32768 (-72 dBFS) holds no speech: dither and line noise
of a muted source. Decoded without VAD, Whisper would hear words in it."""

GPU_WORKERS = 2
GPU_ENCODE_BATCH = 8

_PROMPT_TOO_LONG = ("max_new_tokens", "maximum decoding length must be > 0")
"""How faster-whisper and CTranslate2 word that a prompt leaves no room to decode."""


class Engine:
    """A model ready to transcribe many requests at once. Thread-safe."""

    def __init__(self, settings: EngineSettings, tunables: EngineTunables) -> None:
        local = resolve(settings.model)
        self.device = hardware.pick_device(settings.device)
        self.compute_type = hardware.pick_compute_type(settings.compute_type, self.device)
        cores = hardware.available_cpus()
        on_cpu = self.device == "cpu"
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
            WhisperBackend(self._whisper.model, whole), self._limits(tunables), workers
        )
        self._workers = workers

    def _limits(self, tunables: EngineTunables) -> BatchLimits:
        default = 1 if self.device == "cpu" else GPU_ENCODE_BATCH
        return BatchLimits(
            encode=tunables.encode_batch or default,
            decode=tunables.decode_batch,
            slack_seconds=tunables.slack_seconds,
        )

    def tune(self, tunables: EngineTunables) -> None:
        """Apply new tunables; the next batch obeys them."""
        self.scheduler.set_limits(self._limits(tunables))

    def start(self, clip: AudioClip, options: TranscribeOptions) -> "Transcription":
        """Admit one request. ``options`` must already fit the model."""
        return Transcription(self, clip, options)

    def view(self, request: int) -> WhisperModel:
        """faster-whisper's model as ``request`` may use it: shared weights, own mutable state.

        The feature extractor keeps the last call's ``chunk_length`` in itself, hence its copy.
        """
        view = copy.copy(self._whisper)
        view.model = WindowModel(self.scheduler, request, self._whisper.model, self._tokens)
        view.feature_extractor = copy.copy(self._whisper.feature_extractor)
        return view

    def stop(self) -> None:
        """End the worker threads; requests still open fail."""
        self.scheduler.stop()

    def __str__(self) -> str:
        return f"{self.facts.name} ({self.compute_type} on {self.device}, {self._workers} workers)"


class Transcription:
    """One request in the engine. Run it in a thread of its own; cancel it from any other."""

    def __init__(self, engine: Engine, clip: AudioClip, options: TranscribeOptions) -> None:
        self._engine = engine
        self._clip = clip
        self._options = options
        self._request = engine.scheduler.open_request()
        self._received = time.perf_counter()
        self._cancelled = threading.Event()

    def run(self) -> Transcript:
        """Transcribe; blocks until the last segment.

        Raises ``InvalidOption`` where prompt and ``max_new_tokens`` do not fit the decoder, and
        ``RequestClosed`` after :meth:`cancel`.
        """
        try:
            if self._cancelled.is_set():
                raise RequestClosed
            return self._decode()
        finally:
            self._engine.scheduler.close_request(self._request)

    def cancel(self) -> None:
        """Drop the request's queued windows at once."""
        self._cancelled.set()
        self._engine.scheduler.close_request(self._request)

    def _decode(self) -> Transcript:
        samples = self._clip.float32()
        is_silent = not samples.size or max(samples.max(), -samples.min()) < SILENCE_PEAK
        if is_silent or clips_within(self._options, self._clip.seconds) == []:
            return self._transcript([], self._options.language or "en", 0.0, 0.0)
        batched = is_batched(self._options, self._clip.seconds)
        arguments = pipeline_arguments(self._options, self._clip.seconds, batched=batched)
        whisper = self._engine.view(self._request)
        pipeline = BatchedInferencePipeline(whisper) if batched else whisper
        try:
            segments, info = pipeline.transcribe(samples, **arguments)
            return self._transcript(
                segments, info.language, info.language_probability, info.duration_after_vad
            )
        except ValueError as error:
            if not any(sign in str(error) for sign in _PROMPT_TOO_LONG):
                raise
            raise InvalidOption(
                "initial_prompt, hotwords and prefix together with max_new_tokens exceed the "
                f"decoder's {whisper.max_length} tokens: shorten the prompt or lower "
                "max_new_tokens.",
                field="generate_kwargs.initial_prompt",
            ) from error

    def _transcript(
        self, segments: Iterable[Any], language: str, probability: float, speech_seconds: float
    ) -> Transcript:
        done = tuple(segments)  # faster-whisper decodes as the generator is consumed
        return to_transcript(
            done,
            language=language,
            language_probability=probability,
            speech_seconds=speech_seconds,
            clip=self._clip,
            engine_seconds=time.perf_counter() - self._received,
        )
