"""The Ray Serve deployments: Ingress (HTTP and audio) and a Transcriber for each model.

Do not import ``annotations`` from ``__future__`` here. Serve reads the type of ``build_app``'s
argument to validate a config's ``args``, and a string is not a type to it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle

from serve_app import metrics
from serve_app.api.app import build_api
from serve_app.api.edge.drain import Drain, DrainStage, InProgress
from serve_app.assets import GOLDEN_CLIP
from serve_app.audio.clip import AudioClip
from serve_app.audio.decode import decode_audio
from serve_app.caller import Caller
from serve_app.engine import hardware
from serve_app.engine.admission import Load
from serve_app.engine.engine import Engine
from serve_app.engine.largest_batch import try_largest_batches
from serve_app.engine.speech_detection import detect_speech
from serve_app.engine.transcription import transcribe
from serve_app.engine.upkeep import keep_up
from serve_app.errors import DeviceFailed, NotReady, WhisperOxError
from serve_app.logs import configure_logging, request_scope
from serve_app.options import ModelFacts, TranscribeOptions, VadParameters, check_against_model
from serve_app.service import as_told
from serve_app.serving.call_log import log_call, log_transcript
from serve_app.serving.least_wait import stats_of
from serve_app.serving.profile import INGRESS, transcribers
from serve_app.serving.ray_internals import listen_on_node_address_only, pull_bodies
from serve_app.serving.ray_metrics import RayMetrics
from serve_app.serving.remote_service import RemoteService
from serve_app.settings import ApiKey, AppSettings, EngineTunables
from serve_app.tracing import tracer_of
from serve_app.tracing.span import AUDIO_SECONDS, NO_TRACER, REQUEST_ID, Attributes, Tracer
from serve_app.transcript import Segment, Stretch, Tell, Transcript

logger = logging.getLogger("whisper_ox.deployments")

FAULT_POLL_SECONDS = 1.0
"""How often a request whose device has failed looks whether it works again."""


class _Replica:
    """A process of either deployment."""

    _tracer: Tracer = NO_TRACER

    def __init__(self, settings: AppSettings, deployment: metrics.Process) -> None:
        listen_on_node_address_only()
        configure_logging(settings.log)
        self._tracer = tracer_of(deployment)
        self._sink = RayMetrics(deployment)

    async def flush_traces(self) -> None:
        """See :mod:`serve_app.serving.local_server`."""
        await asyncio.to_thread(self._tracer.flush)

    def __del__(self) -> None:
        """Called by Serve when a replica that must stop has nothing left to do."""
        self._tracer.flush()


class Transcriber(_Replica):
    """One model replica. When it is running, it has transcribed the golden clip."""

    def __init__(self, settings: AppSettings) -> None:
        super().__init__(settings, "Transcriber")
        self._logs_transcripts = settings.log.transcripts
        self._received = 0
        if settings.engine.bind_to_numa_node:
            hardware.bind_to_numa_node(serve.get_replica_context().rank.local_rank)
        self._engine = _load(settings, self._sink)
        # On a CPU the kernel ends a process that takes too much memory, so nothing can be learned.
        if self._engine.device == "cuda":
            try_largest_batches(self._engine)
        golden = decode_audio(GOLDEN_CLIP.read_bytes(), limits=settings.audio)
        hearing = transcribe(self._engine, golden, TranscribeOptions(language="en"))
        with ThreadPoolExecutor(1) as thread:  # Serve's event loop is running in this one
            transcript = thread.submit(asyncio.run, hearing).result()
        if not transcript.segments:
            raise NotReady(f"{self._engine} heard nothing in the golden clip; verify its files.")
        keep_up(self._engine)
        logger.info("%s is ready", self._engine)

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Apply ``user_config`` of the Serve config without a restart."""
        self._engine.tune(EngineTunables.model_validate(user_config))

    async def transcribe(
        self,
        clip: AudioClip,
        options: TranscribeOptions,
        caller: Caller,
        tell: Tell | None = None,
    ) -> Transcript:
        """See :class:`serve_app.service.SpeechService`."""
        known: Attributes = {
            REQUEST_ID: caller.request_id,
            AUDIO_SECONDS: round(clip.received_seconds, 3),
        }
        with (
            self._tracer.span("transcribe", caller.traceparent, "server", known) as span,
            request_scope(caller.request_id, span.trace_id),
        ):
            self._received += 1
            fitted = check_against_model(options, self._engine.facts)
            log_call(clip, fitted, self._engine.scheduler)
            try:
                transcript = await transcribe(
                    self._engine,
                    clip,
                    fitted,
                    caller.priority,
                    span,
                    live=caller.live,
                    tell=tell,
                )
            except DeviceFailed:
                # Serve is about to end this process, and Ingress then sends the request to another.
                # If the device works again before that, the process stays.
                while self._engine.scheduler.fault() is not None:
                    await asyncio.sleep(FAULT_POLL_SECONDS)
                raise
            except asyncio.CancelledError:
                if not (caller.live and caller.live.is_draft):  # a newer text replaces drafts
                    logger.info("the client left; its %.1f s of audio are dropped", clip.seconds)
                raise
            log_transcript(transcript, text=self._logs_transcripts)
            return transcript

    async def transcribe_aloud(
        self, clip: AudioClip, options: TranscribeOptions, caller: Caller
    ) -> AsyncIterator[Segment | Transcript]:
        """:meth:`transcribe`, whose segments come as soon as they are final, before the whole."""
        async for told in as_told(partial(self.transcribe, clip, options, caller)):
            yield told

    async def detect_speech(
        self, clip: AudioClip, parameters: VadParameters, caller: Caller
    ) -> list[Stretch]:
        """See :class:`serve_app.service.SpeechService`."""
        with request_scope(caller.request_id):
            return await detect_speech(self._engine, clip, parameters, caller.priority)

    async def describe(self) -> ModelFacts:
        """The model of this replica."""
        return self._engine.facts

    async def check_health(self) -> None:
        """Raise ``NotReady`` if the device is broken or a batch has stalled.

        Serve calls this every ``health_check_period_s`` and replaces a replica for which it has
        failed three times in a row.
        """
        if (fault := self._engine.scheduler.fault()) is not None:
            logger.error("this replica is to be replaced: %s", fault)
            raise NotReady(f"{self._engine}: {fault}")

    async def record_routing_stats(self) -> dict[str, float]:
        """What Serve passes to every :class:`serve_app.serving.least_wait.LeastWait`."""
        return stats_of(self._engine.scheduler.load(), self._received)

    async def load(self) -> Load:
        """The work that this replica has now."""
        return self._engine.scheduler.load()


def _load(settings: AppSettings, sink: metrics.Sink) -> Engine:
    try:
        return Engine(settings.engine, EngineTunables(), sink, settings.admission)
    except WhisperOxError:
        raise
    except Exception as error:  # models.ModelError, and whatever CTranslate2 and tokenizers raise
        raise NotReady(f"the model {settings.engine.model} cannot be loaded: {error}") from error


@serve.ingress()
class Ingress(_Replica):
    """The HTTP side: protocols, validation and audio decoding, no model."""

    def __init__(self, settings: AppSettings, models: dict[str, DeploymentHandle]) -> None:
        pull_bodies()
        super().__init__(settings, "Ingress")
        self._settings = settings
        self._drain = Drain()
        self._services = {
            name: RemoteService(name, transcriber, self._sink, self._tracer)
            for name, transcriber in models.items()
        }

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Serve calls this once per replica."""
        default, *others = self._services
        return build_api(
            self._services[default],
            self._settings,
            ApiKey.from_environment(),
            self._sink,
            self._drain,
            tracer=self._tracer,
            others={name: self._services[name] for name in others},
        )

    async def drain(self, stage: DrainStage) -> InProgress:
        """Go on to ``stage``; returns what this replica still has to do."""
        return self._drain.advance(stage)


def build_app(args: AppSettings) -> serve.Application:
    """The application that a Serve config's ``import_path`` names."""
    return assemble(args, {})


def assemble(
    settings: AppSettings,
    deployment_options: Mapping[str, Mapping[str, Any]],
    transcriber: type[Transcriber] = Transcriber,
) -> serve.Application:
    """The application with options per deployment, keyed by name as in a Serve config.

    ``transcriber`` is what is deployed for each model.
    """

    def deployment(kind: type[Any], name: str) -> serve.Deployment:
        return serve.deployment(kind).options(name=name, **deployment_options.get(name, {}))

    served = settings.served
    models = {
        model: deployment(transcriber, name).bind(
            settings.model_copy(update={"engine": served[model]})
        )
        for model, name in transcribers(settings).items()
    }
    return deployment(Ingress, INGRESS).bind(settings, models)
