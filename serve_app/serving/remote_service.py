"""The speech service on the HTTP side: every call to the model processes goes through here.

What happens to a request when a model process (a ``Transcriber`` replica) is in trouble:

- **It dies under the request**, killed, out of memory or crashed: the request is sent once more, as
  a whole, to another replica or to the one that Serve starts in its place. The client just waits
  longer. If the process dies under it again, the client gets 503 ``not_ready``, since this audio
  may be what kills the model, along with everybody else's requests. A request of more than
  ``RETRIED_SECONDS`` of work gets 503 at once: of all requests in a process that ran out of memory,
  the large one is the likely cause.
- **None is up when a request arrives**: 503 ``not_ready`` with the reason, before the body is read.
- **It has too much to do**: 429 ``overloaded`` with the time to come back. While every replica
  would say so, requests are refused before their body is read
  (:mod:`serve_app.serving.early_refusal`).
- **It dies after the first segments have been told** (``stream`` of OpenAI's API): the same, and
  those segments are not told again.
- **The client leaves**: the call is cancelled and never sent again.

docs/failures.md tells the same from the client's side; Serve restarts dead processes by itself.
"""

import asyncio
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from ray import serve
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle, DeploymentResponse, DeploymentResponseGenerator
from ray.serve.schema import ApplicationStatus, DeploymentStatus

from serve_app import metrics
from serve_app.audio.clip import AudioClip
from serve_app.caller import Caller
from serve_app.engine.admission import Load
from serve_app.engine.scheduler import RequestClosed
from serve_app.engine.work import least_demand, least_work_seconds
from serve_app.errors import NotReady, Overloaded, WhisperOxError
from serve_app.fresh import Fresh
from serve_app.options import ModelFacts, TranscribeOptions, VadParameters
from serve_app.service import LiveLoad
from serve_app.serving import ray_internals
from serve_app.serving.early_refusal import EarlyRefusal
from serve_app.serving.proxy_errors import QUEUE_FULL
from serve_app.tracing.span import NO_TRACER, Tracer
from serve_app.transcript import Segment, Stretch, Tell, Transcript

logger = logging.getLogger("whisper_ox.deployments")

DESCRIBE_TIMEOUT_SECONDS = 2.0
LOAD_TIMEOUT_SECONDS = 1.0
INLINE_BYTES = 3 * 1024 * 1024
"""Bytes of samples that travel inside the call: 98 s as int16. Serve's gRPC accepts up to 4 MiB."""

RETRIED_SECONDS = 900.0
"""Most work, in window seconds, of a request that is sent once more: a quarter of an hour of audio,
which cannot be what filled the memory of a process."""


class RemoteService:
    """:class:`serve_app.service.SpeechService` over a handle to the replicas of one ``model``."""

    def __init__(
        self,
        model: str,
        transcriber: DeploymentHandle,
        sink: metrics.Sink,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._model = model
        self._transcriber = transcriber
        self._inline = ray_internals.inside_the_call(transcriber)
        self._sink = sink
        self._tracer = tracer
        self._early_refusal = EarlyRefusal(self._loads)
        self._is_known_to_live = False
        self._live_load = Fresh(self._ask_live_load)
        self._facts = Fresh(self._ask_facts)

    async def admit(self, caller: Caller, body_bytes: int | None) -> None:
        """See :class:`serve_app.service.SpeechService`.

        It asks the replicas only before the first answer, after a death, and once a second while
        one of them refuses requests.
        """
        if not self._is_known_to_live:
            await self.model()
        await self._early_refusal.check(caller.priority, body_bytes)

    async def transcribe(
        self,
        clip: AudioClip,
        options: TranscribeOptions,
        caller: Caller,
        tell: Tell | None = None,
    ) -> Transcript:
        """One transcription. If the model process dies under it, a short one is tried once more."""
        telling = tell and _Telling(tell)
        key = caller.key or metrics.NO_KEY
        seconds = clip.received_seconds if caller.live is None else caller.live.new_seconds
        self._sink.count(metrics.AUDIO_RECEIVED_SECONDS, seconds, key=key, model=self._model)
        try:
            return await self._call(clip, options, caller, telling)
        except RayActorError as error:
            self._is_known_to_live = False
            self._facts.forget()
            if least_work_seconds(options, clip.seconds) > RETRIED_SECONDS:
                raise NotReady(
                    "The model process died under this request. Requests of more than "
                    f"{RETRIED_SECONDS:g} s of audio, short windows counted in full, are not sent "
                    "to another process, because they may be the cause. Send it again in a "
                    "moment; if it keeps failing, split it into shorter files."
                ) from error
            self._sink.count(metrics.MODEL_RETRIES)
            logger.warning("a replica of %s died; trying its request once more", self._model)
        try:
            return await self._call(clip, options, caller, telling)
        except RayActorError as error:
            raise NotReady(
                "The model process died twice under this request. Send it again in a moment; if "
                "it keeps failing, this audio with these options crashes the model."
            ) from error

    async def detect_speech(
        self, clip: AudioClip, parameters: VadParameters, caller: Caller
    ) -> list[Stretch]:
        """See :class:`serve_app.service.SpeechService`. The request is sent only once."""
        response = self._handle(clip).detect_speech.remote(clip, parameters, caller)
        try:
            with _raising_our_errors(response):
                speech: list[Stretch] = await response
                return speech
        except RayActorError as error:
            raise NotReady("The model process died. Send the request again.") from error
        except BackPressureError as error:
            raise Overloaded(QUEUE_FULL) from error

    async def live_load(self) -> LiveLoad:
        """See :class:`serve_app.service.SpeechService`. It asks the replicas once a second."""
        return await self._live_load.get()

    async def model(self) -> ModelFacts:
        """See :class:`serve_app.service.SpeechService`. It asks a replica once a second."""
        return await self._facts.get()

    async def _ask_live_load(self) -> LiveLoad:
        loads = await self._loads()
        known = [one.live_capacity for one in loads if one.live_capacity is not None]
        capacity = sum(known) if known and len(known) == len(loads) else math.inf
        return LiveLoad(frozenset().union(*(one.live_sessions for one in loads)), capacity)

    async def _ask_facts(self) -> ModelFacts:
        """Facts from a live replica. Raises ``NotReady`` with the reason if there is none."""
        try:
            call = self._transcriber.describe.remote()
            facts: ModelFacts = await asyncio.wait_for(call, DESCRIBE_TIMEOUT_SECONDS)
            self._is_known_to_live = True
            return facts
        except BackPressureError as error:
            raise Overloaded(QUEUE_FULL) from error
        except (asyncio.TimeoutError, RayActorError, DeploymentUnavailableError) as error:
            reason = await asyncio.get_running_loop().run_in_executor(
                None, why_not_ready, self._transcriber.deployment_name
            )
            raise NotReady(reason) from error

    async def _call(
        self,
        clip: AudioClip,
        options: TranscribeOptions,
        caller: Caller,
        telling: "_Telling | None",
    ) -> Transcript:
        """One call. Raises ``RayActorError`` if its process dies, or else ``WhisperOxError``."""
        handle = self._handle(clip)
        with self._tracer.span("call Transcriber", caller.traceparent, "client") as span:
            caller = replace(caller, traceparent=span.traceparent)
            response: DeploymentResponse | DeploymentResponseGenerator
            if telling is None:
                response = handle.transcribe.remote(clip, options, caller)
            else:
                aloud = handle.options(stream=True).transcribe_aloud
                response = aloud.remote(clip, options, caller)
            try:
                with _raising_our_errors(response):
                    transcript: Transcript = await (
                        telling.listen(response) if telling else response
                    )
                    return transcript
            except Overloaded as error:
                demand = least_demand(options, clip.seconds, caller.priority)
                raise await self._early_refusal.refused(error, demand) from None
            except BackPressureError as error:
                raise Overloaded(QUEUE_FULL) from error

    def _handle(self, clip: AudioClip) -> DeploymentHandle:
        return self._inline if clip.samples.nbytes <= INLINE_BYTES else self._transcriber

    async def _loads(self) -> list[Load]:
        """The load of every replica; [] if one does not answer."""
        try:
            answers = await self._transcriber.broadcast("load").results_async(
                timeout_s=LOAD_TIMEOUT_SECONDS, return_exceptions=True
            )
        except (TimeoutError, asyncio.TimeoutError, DeploymentUnavailableError):
            return []
        loads = [answer for answer in answers if isinstance(answer, Load)]
        return loads if len(loads) == len(answers) else []


class _Telling:
    """Passes segments on to a client, who gets each of them once, however often they are sent."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._n_told = 0

    async def listen(self, response: DeploymentResponseGenerator) -> Transcript:
        """The transcript at the end of ``response``."""
        n_sent = 0
        async for sent in response:
            if isinstance(sent, Segment):
                n_sent += 1
                if n_sent > self._n_told:
                    self._tell(sent)
                    self._n_told = n_sent
        transcript: Transcript = sent
        return transcript


@contextmanager
def _raising_our_errors(
    response: DeploymentResponse | DeploymentResponseGenerator,
) -> Iterator[None]:
    """Raise what the replica raised while the block awaits ``response``.

    A call is cancelled if its caller leaves. ``RayActorError`` and ``BackPressureError`` pass
    unchanged.
    """
    try:
        yield
    except asyncio.CancelledError:
        # Serve does so itself, but now and then misses a call.
        with suppress(Exception):  # the call may have failed meanwhile and says so again
            response.cancel()
        raise
    except (RayTaskError, WhisperOxError, RequestClosed) as error:
        # Serve's gRPC raises what the replica raised. Ray's core raises a mixture of that and its
        # own class, with the original as ``cause``.
        cause = error.cause if isinstance(error, RayTaskError) else error
        if isinstance(cause, RequestClosed):
            raise asyncio.CancelledError from None
        raise (cause if isinstance(cause, WhisperOxError) else error) from None
    except DeploymentUnavailableError as error:
        raise NotReady(
            "The model failed to start; the operator finds the cause in the log."
        ) from error


def why_not_ready(deployment: str) -> str:
    """What Serve says about a model's deployment, in one line."""
    model = f"The model {deployment.partition('-')[2]}".strip()
    for application in serve.status().applications.values():
        transcriber = application.deployments.get(deployment)
        if transcriber is None:
            if application.status is ApplicationStatus.DEPLOY_FAILED:
                return f"{model} failed to start: {_last_line(application.message)}"
            continue
        detail = _last_line(transcriber.message)
        if transcriber.status is DeploymentStatus.DEPLOY_FAILED:
            return f"{model} failed to start: {detail}"
        if transcriber.status is DeploymentStatus.HEALTHY:
            return f"{model} has no replica free or alive; one answers again shortly."
        return f"{model} is being loaded{detail and f' ({detail})'}."
    return f"{model} is not deployed yet."


def why_failed() -> str:
    """Why Serve has given up starting a model, in one line; "" if it has not."""
    for application in serve.status().applications.values():
        if application.status is ApplicationStatus.DEPLOY_FAILED:
            failed = [
                deployment.message
                for deployment in application.deployments.values()
                if deployment.status is DeploymentStatus.DEPLOY_FAILED
            ]
            return f"A model failed to start: {_last_line(*failed, application.message)}"
    return ""


def _last_line(*messages: str) -> str:
    # Serve puts a whole traceback before the reason.
    lines = messages[0].strip().splitlines()
    return lines[-1].removeprefix(f"{NotReady.__module__}.NotReady: ")[:500] if lines else ""
