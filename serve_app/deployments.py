"""The Ray Serve deployments. Nothing else in the application knows Ray.

No ``from __future__ import annotations`` here: Serve reads the type of ``build_app``'s argument to
validate a config's ``args``, and takes a string for "no type".
"""

import asyncio
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import ApplicationStatus, DeploymentStatus

from serve_app.api.app import build_api
from serve_app.api.examples import EXAMPLE_CLIP
from serve_app.audio.clip import AudioClip
from serve_app.audio.decode import decode_audio
from serve_app.core import Caller
from serve_app.engine import hardware
from serve_app.engine.engine import Engine
from serve_app.engine.scheduler import RequestClosed
from serve_app.engine.transcription import Transcription
from serve_app.errors import NotReady, Overloaded, WhisperOxError
from serve_app.logs import configure_logging
from serve_app.options import ModelFacts, TranscribeOptions, check_against_model
from serve_app.settings import ApiKey, AppSettings, EngineSettings, EngineTunables
from serve_app.transcript import Transcript

logger = logging.getLogger("whisper_ox.deployments")

DESCRIBE_TIMEOUT_SECONDS = 2.0
OVERLOAD_RETRY_SECONDS = 5.0
INLINE_BYTES = 3 * 1024 * 1024
"""Samples up to this size travel in the call itself: 98 s as int16. Serve takes 4 MiB over gRPC."""


class Transcriber:
    """One model replica. A replica that is running has transcribed the golden clip."""

    def __init__(self, settings: AppSettings) -> None:
        configure_logging(settings.log)
        if settings.engine.bind_to_numa_node:
            hardware.bind_to_numa_node(serve.get_replica_context().rank.local_rank)
        self._engine = _load(settings.engine)
        self._threads = ThreadPoolExecutor(
            settings.engine.max_concurrent_requests, thread_name_prefix="request"
        )
        golden = decode_audio(EXAMPLE_CLIP.read_bytes(), limits=settings.audio)
        transcript = Transcription(self._engine, golden, TranscribeOptions(language="en")).run()
        if not transcript.segments:
            raise NotReady(f"{self._engine} heard nothing in the golden clip; verify its files.")
        logger.info("%s is ready", self._engine)

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Apply ``user_config`` of the Serve config without a restart."""
        self._engine.tune(EngineTunables.model_validate(user_config))

    async def transcribe(
        self, clip: AudioClip, options: TranscribeOptions, caller: Caller
    ) -> Transcript:
        """See :class:`serve_app.core.SpeechCore`."""
        fitted = check_against_model(options, self._engine.facts)
        transcription = Transcription(self._engine, clip, fitted)
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, transcription.run)
        except asyncio.CancelledError:
            transcription.cancel()
            logger.info(
                "the client of request %s left; its %.1f s of audio are dropped",
                caller.request_id,
                clip.seconds,
            )
            raise

    async def describe(self) -> ModelFacts:
        """The model of this replica."""
        return self._engine.facts


def _load(settings: EngineSettings) -> Engine:
    """Raises ``NotReady`` with the reason where the files or the device will not do."""
    try:
        return Engine(settings, EngineTunables())
    except WhisperOxError:
        raise
    except Exception as error:  # CTranslate2, tokenizers and json each raise their own
        raise NotReady(f"the model {settings.model} cannot be loaded: {error}") from error


class RayCore:
    """:class:`serve_app.core.SpeechCore` over a handle to the Transcriber replicas."""

    def __init__(self, transcriber: DeploymentHandle) -> None:
        self._transcriber = transcriber
        # Serve's gRPC transport saves 5 ms of an actor call through Ray's core.
        self._inline = transcriber.options(_by_reference=False)

    async def transcribe(
        self, clip: AudioClip, options: TranscribeOptions, caller: Caller
    ) -> Transcript:
        """One transcription; tried once more where a replica died under it."""
        try:
            return await self._call(clip, options, caller)
        except RayActorError:
            logger.warning(
                "a Transcriber replica died; trying its request %s once more", caller.request_id
            )
        try:
            return await self._call(clip, options, caller)
        except RayActorError as error:
            raise NotReady(
                "The model process died twice under this request. Send it again in a moment; if "
                "it keeps failing, this audio with these options crashes the model.",
                retry_after_seconds=OVERLOAD_RETRY_SECONDS,
            ) from error

    async def model(self) -> ModelFacts:
        """Facts from a live replica; raises ``NotReady`` with the reason where there is none."""
        try:
            call = self._transcriber.describe.remote()
            facts: ModelFacts = await asyncio.wait_for(call, DESCRIBE_TIMEOUT_SECONDS)
            return facts
        except (asyncio.TimeoutError, RayActorError, DeploymentUnavailableError) as error:
            reason = await asyncio.get_running_loop().run_in_executor(None, why_not_ready)
            raise NotReady(reason, retry_after_seconds=OVERLOAD_RETRY_SECONDS) from error

    async def _call(
        self, clip: AudioClip, options: TranscribeOptions, caller: Caller
    ) -> Transcript:
        handle = self._inline if clip.samples.nbytes <= INLINE_BYTES else self._transcriber
        response = handle.transcribe.remote(clip, options, caller)
        try:
            transcript: Transcript = await response
            return transcript
        except asyncio.CancelledError:
            # Serve cancels what a request called by itself, but now and then misses one.
            response.cancel()
            raise
        except RayTaskError as error:
            # Ray mixes our class into its own; only ``cause`` is the instance that was raised.
            if isinstance(error.cause, WhisperOxError):
                raise error.cause from None
            if isinstance(error.cause, RequestClosed):
                raise asyncio.CancelledError from None
            raise
        except BackPressureError as error:
            raise Overloaded(
                "The server's queue is full; send the request again later.",
                retry_after_seconds=OVERLOAD_RETRY_SECONDS,
            ) from error
        except DeploymentUnavailableError as error:
            raise NotReady(
                "The model failed to start; the operator finds the cause in the log.",
                retry_after_seconds=OVERLOAD_RETRY_SECONDS,
            ) from error


def why_not_ready() -> str:
    """What Serve says about the deployments, in one line."""
    for application in serve.status().applications.values():
        if application.status is ApplicationStatus.DEPLOY_FAILED:
            failed = [
                deployment.message
                for deployment in application.deployments.values()
                if deployment.status is DeploymentStatus.DEPLOY_FAILED
            ]
            return f"The model failed to start: {_last_line(*failed, application.message)}"
        transcriber = application.deployments.get(Transcriber.__name__)
        if transcriber is None:
            continue
        if transcriber.status is DeploymentStatus.HEALTHY:
            return "Every model replica is busy or gone; one answers again shortly."
        detail = _last_line(transcriber.message)
        return f"The model is being loaded{detail and f' ({detail})'}."
    return "The model is not deployed yet."


def _last_line(*messages: str) -> str:
    """Of the first message: its end, for Serve puts the whole traceback before the reason."""
    lines = messages[0].strip().splitlines()
    return lines[-1].removeprefix(f"{NotReady.__module__}.NotReady: ")[:500] if lines else ""


@serve.ingress()
class Ingress:
    """The HTTP side: adapters, validation and audio decoding, no model."""

    def __init__(self, settings: AppSettings, transcriber: DeploymentHandle) -> None:
        configure_logging(settings.log)
        self._settings = settings
        self._core = RayCore(transcriber)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Called by Serve once per replica."""
        return build_api(self._core, self._settings, ApiKey.from_environment())


def build_app(args: AppSettings) -> serve.Application:
    """The application of a Serve config's ``import_path``."""
    return assemble(args, {})


def assemble(
    settings: AppSettings, deployment_options: Mapping[str, Mapping[str, Any]]
) -> serve.Application:
    """The application with options per deployment, keyed by name as in a Serve config."""

    def deployment(kind: type[Any]) -> serve.Deployment:
        return serve.deployment(kind).options(**deployment_options.get(kind.__name__, {}))

    return deployment(Ingress).bind(settings, deployment(Transcriber).bind(settings))
