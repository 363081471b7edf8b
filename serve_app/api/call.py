"""One request for a transcript, whatever its protocol: what every facade does in the same way."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from starlette.requests import Request

from serve_app.api.edge.quotas import Quotas
from serve_app.api.edge.state import RequestState
from serve_app.api.model_table import ModelTable, ServedModel
from serve_app.api.openapi import header, parameter
from serve_app.audio.clip import BYTES_PER_SECOND, AudioClip
from serve_app.audio.decode import plain_clip
from serve_app.audio.plan import check_start
from serve_app.audio.pool import LARGE_BYTES, DecodingPool
from serve_app.caller import Caller, Priority
from serve_app.engine.tasks import Tasks
from serve_app.engine.work import check_windows, least_work_seconds
from serve_app.errors import InvalidRequest, Overloaded, QuotaExceeded, WhisperOxError
from serve_app.live.sessions import Sessions
from serve_app.logs import fields
from serve_app.metrics import AUDIO_DECODE_SECONDS, Sink
from serve_app.options import ParsedOptions, TranscribeOptions, VadParameters
from serve_app.options.parse import short_name
from serve_app.service import SpeechService
from serve_app.settings import AppSettings
from serve_app.tracing.span import AUDIO_SECONDS
from serve_app.transcript import Stretch, Tell, Transcript, joined

logger = logging.getLogger("whisper_ox.call")

PRIORITY_HEADER = "X-Priority"
IGNORED_HEADER = "X-Ignored-Options"
COVERAGE_HEADER = "X-Speech-Coverage"
TRACK_HEADER = "X-Audio-Track"
MODEL_HEADER = "X-Model"
SECONDS_HEADER = "X-Audio-Seconds"
TIMING_HEADER = "Server-Timing"

MAX_NAMED = 20
"""The most ignored options that the answer names."""

PRIORITY_PARAMETER = parameter(
    PRIORITY_HEADER,
    "Which audio goes first. auto: the first minute of every request. interactive: all of this "
    "request. bulk: none of it.",
    enum=[priority.value for priority in Priority],
    default=Priority.AUTO.value,
)
CALL_HEADERS = {
    TIMING_HEADER: header("Milliseconds of each stage (W3C Server Timing)."),
    MODEL_HEADER: header("Name of the model that transcribed."),
    COVERAGE_HEADER: header(
        "Share of the speech found that segments cover.", "number", minimum=0, maximum=1
    ),
    TRACK_HEADER: header('Which of the file\'s several audio tracks was heard, such as "2 of 3".'),
    SECONDS_HEADER: header("Length of the audio received.", "number", minimum=0),
    IGNORED_HEADER: header("Options, parts and parameters of the request that have no effect."),
}

Body = TypeVar("Body")
Source = Callable[[Request, Callable[[memoryview], None]], Awaitable[Body]]
"""Reads a request's body. It passes the first bytes of the audio to its second argument while the
rest is still on its way, and what that raises ends the upload."""


@dataclass(frozen=True)
class CallContext:
    """What all calls of one application share."""

    models: ModelTable
    settings: AppSettings
    quotas: Quotas
    sink: Sink
    decoding: DecodingPool
    sessions: Sessions


class Call:
    """One request at a facade.

    The facade has it :meth:`receive` the body and :meth:`transcribe` the audio, and answers with
    its own rendering of the transcript and with ``headers``.

    Raises ``InvalidRequest`` for an unknown priority.
    """

    def __init__(self, request: Request, context: CallContext) -> None:
        self._request = request
        self._context = context
        self._state = RequestState.of(request.scope)
        self._caller = Caller(
            self._state.request_id,
            self._state.key_name,
            _priority(request),
            self._state.span.traceparent,
        )
        self._began = self._received = time.perf_counter()
        self._chosen: ServedModel | None = None
        self.headers: dict[str, str] = {}

    def choose_model(self, name: str, code: str = "model_not_found") -> None:
        """Note which model the caller names; :class:`ModelTable` says what a name means.

        A facade that can tell before the body is read lets the right model refuse the request.
        Raises ``InvalidRequest`` (404, ``code``) if no model has this name.
        """
        self._chosen = self._context.models.named(name, code)

    async def receive(self, source: Source[Body]) -> Body:
        """Ask the service to admit the request, then read its body.

        Raises ``QuotaExceeded`` while the key's earlier audio is being paid off, what
        ``SpeechService.admit`` raises, and what ``source`` raises.
        """
        self._context.quotas.charge(self._state.key, 0.0)
        announced = self._request.headers.get("Content-Length")  # a number, the edge has seen it
        asked = self._chosen.service if self._chosen else self._context.models
        await asked.admit(self._caller, None if announced is None else int(announced))
        with self._state.span.child("receive audio"):
            body = await source(
                self._request, lambda head: check_start(head, self._context.settings.audio)
            )
        self._received = time.perf_counter()
        return body

    async def transcribe(
        self, audio: bytearray, parsed: ParsedOptions, tell: Tell | None = None
    ) -> Transcript:
        """The transcript of a file of any supported format, which is emptied once it is decoded.

        See ``SpeechService`` for ``tell``, which with ``multichannel`` gets the segments when all
        channels are done.

        Raises ``QuotaExceeded``, what ``DecodingPool.decode`` raises, ``InvalidOption`` or
        ``AudioTooLarge`` for more windows than one request may take, and what
        ``SpeechService.transcribe`` raises.
        """
        n_bytes = len(audio)
        options = parsed.options
        clips = await self._decode(audio, apart=options.multichannel)
        clip = clips[0]
        most_windows = self._context.settings.options.max_windows
        check_windows(options, clip.seconds, most_windows, len(clips))
        decoded = time.perf_counter()
        receive_seconds, decode_seconds = self._received - self._began, decoded - self._received
        self._context.sink.observe(AUDIO_DECODE_SECONDS, decode_seconds)
        logger.debug(
            "received",
            extra=fields(
                audio_bytes=n_bytes,
                audio_s=round(clip.received_seconds, 3),
                receive_ms=round(receive_seconds * 1000, 1),
                decode_ms=round(decode_seconds * 1000, 1),
            ),
        )
        model = self._chosen or self._context.models.fitting(options)
        self._state.log["model"] = model.name
        self.headers[MODEL_HEADER] = short_name(model.name)
        self._name_ignored(parsed.ignored)  # before a streamed answer begins
        charged = max(clip.received_seconds, least_work_seconds(options, clip.seconds))
        with self._context.quotas.charging(self._state.key, len(clips) * charged):
            if options.multichannel:
                transcript = await self._transcribe_apart(model.service, clips, options, tell)
            else:
                transcript = await model.service.transcribe(clip, options, self._caller, tell)
        self._conclude(
            transcript,
            receive=receive_seconds,
            decode=decode_seconds,
            engine=transcript.engine_seconds,
            handover=time.perf_counter() - decoded - transcript.engine_seconds,
        )
        return transcript

    async def _transcribe_apart(
        self,
        service: SpeechService,
        channels: Sequence[AudioClip],
        options: TranscribeOptions,
        tell: Tell | None,
    ) -> Transcript:
        """Each channel is queued like a request of its own: brief ones all at once, others one
        after the other, because the model would refuse a second file of that length.
        """
        if self._caller.priority.is_brief(channels[0].seconds):
            with Tasks() as tasks:
                hearings = [
                    tasks.start(service.transcribe(one, options, self._caller)) for one in channels
                ]
                heard = await asyncio.gather(*hearings)
        else:
            heard = [await service.transcribe(channels[0], options, self._caller)]
            for channel in channels[1:]:
                heard.append(await self._transcribe_at_last(service, channel, options))
        transcript = joined(heard)
        if tell:
            for segment in transcript.segments:
                tell(segment)
        return transcript

    async def _transcribe_at_last(
        self, service: SpeechService, clip: AudioClip, options: TranscribeOptions
    ) -> Transcript:
        """Transcribe a further channel. A server that has become busy does not lose the first."""
        while True:
            try:
                return await service.transcribe(clip, options, self._caller)
            except Overloaded as error:
                await asyncio.sleep(error.retry_after_seconds or 1.0)

    async def detect_speech(self, audio: bytearray, parameters: VadParameters) -> list[Stretch]:
        """Where somebody speaks in a file of any supported format, which is emptied as well.

        Raises ``QuotaExceeded``, what ``DecodingPool.decode`` raises, and what
        ``SpeechService.detect_speech`` raises.
        """
        [clip] = await self._decode(audio)
        with self._context.quotas.charging(self._state.key, clip.received_seconds):
            model = self._chosen or self._context.models.default
            speech = await model.service.detect_speech(clip, parameters, self._caller)
        self._state.log = {"audio_s": round(clip.received_seconds, 2), "stretches": len(speech)}
        return speech

    async def _decode(self, audio: bytearray, *, apart: bool = False) -> list[AudioClip]:
        """The clip or, ``apart``, that of each channel."""
        with self._state.span.child("decode audio") as span:
            limits = self._context.settings.audio
            if len(audio) < LARGE_BYTES:
                clip = plain_clip(audio, limits)
            else:
                clip = await asyncio.to_thread(plain_clip, audio, limits)
            clips = [clip] if clip is not None else await self._unpack(audio, apart=apart)
            span.note({AUDIO_SECONDS: round(clips[0].received_seconds, 3)})
        self.headers[SECONDS_HEADER] = f"{clips[0].received_seconds:.3f}"
        if (track := clips[0].track) is not None:
            self.headers[TRACK_HEADER] = track
        return clips

    async def _unpack(self, audio: bytearray, *, apart: bool) -> list[AudioClip]:
        """Decode in another process. What came out before an error is charged all the same."""
        n_bytes = 0

        def hold(n_more_bytes: int) -> None:
            nonlocal n_bytes
            self._state.hold(n_more_bytes)
            n_bytes += n_more_bytes

        try:
            return await self._context.decoding.decode(audio, hold, apart=apart)
        except WhisperOxError as error:
            if not isinstance(error, Overloaded):
                with suppress(QuotaExceeded):  # which would hide what is wrong with the file
                    self._context.quotas.charge(self._state.key, n_bytes / BYTES_PER_SECOND)
            raise

    def _name_ignored(self, ignored: tuple[str, ...]) -> None:
        if ignored:
            # ``ParsedOptions`` has made each name short printable ASCII.
            more = len(ignored) - MAX_NAMED
            named = ", ".join(ignored[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
            self.headers[IGNORED_HEADER] = self._state.log["ignored_options"] = named

    def _conclude(self, transcript: Transcript, **stage_seconds: float) -> None:
        """Tell the headers and the log line what is the same whatever the answer's body is."""
        self._state.log |= {
            "audio_s": round(transcript.duration_seconds, 2),
            "engine_s": round(transcript.engine_seconds, 2),
            "language": transcript.language,
            "segments": len(transcript.segments),
        }
        self.headers[TIMING_HEADER] = ", ".join(
            f"{stage};dur={seconds * 1000:.1f}" for stage, seconds in stage_seconds.items()
        )
        if transcript.speech_coverage is not None:
            self.headers[COVERAGE_HEADER] = f"{transcript.speech_coverage:.3f}"


def _priority(request: Request) -> Priority:
    sent = request.headers.get(PRIORITY_HEADER, Priority.AUTO.value).strip().lower()
    try:
        return Priority(sent)
    except ValueError:
        raise InvalidRequest(
            f"The header {PRIORITY_HEADER} is {sent[:40]!r}; allowed: "
            f"{', '.join(priority.value for priority in Priority)}.",
            field=PRIORITY_HEADER,
        ) from None
