"""Whisper OX's own live protocol: audio in binary messages, events as JSON; docs/live.md."""

import asyncio
import json
from dataclasses import asdict
from typing import Any, Literal

from fastapi import FastAPI
from pydantic import Field, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from serve_app.api.call import CallContext
from serve_app.api.error_answers import FAILED
from serve_app.api.live_call import LiveCall, first_done, seconds_to_wait
from serve_app.api.sources.query import query_pairs
from serve_app.audio.pcm import MAX_CHANNELS, MAX_RATE_HZ, MIN_RATE_HZ, Encoding, PcmStream
from serve_app.errors import InvalidRequest, SessionGone, WhisperOxError
from serve_app.live.events import Event, Failed, Final, Partial, SpeechEnded, SpeechStarted
from serve_app.live.options import LiveOptions
from serve_app.live.session import LiveSession
from serve_app.live.sessions import Place
from serve_app.options.parse import problem
from serve_app.transcript import Word

PATH = "/v1/stream"

TIMES_DIGITS = 3


class StreamOptions(LiveOptions):
    """What a client declares in the query, or in a ``start`` message before the first audio."""

    encoding: Encoding = Field(
        default="pcm16", description="How samples are written; multi-byte ones little-endian."
    )
    rate: int = Field(
        default=16_000, ge=MIN_RATE_HZ, le=MAX_RATE_HZ, description="Samples a second."
    )
    channels: int = Field(
        default=1, ge=1, le=MAX_CHANNELS, description="Interleaved channels, which are averaged."
    )
    words: bool = Field(default=False, description="Send each word with its times.")


class _Stream:
    """The part of a session that outlives its connection."""

    def __init__(self, call: LiveCall, options: StreamOptions) -> None:
        self.session: LiveSession = call.begin(_live(options))
        self.finishing: asyncio.Task[None] | None = None
        self.declare(options)

    def declare(self, options: StreamOptions) -> None:
        self.options = options
        self.session.options = _live(options)
        self.pcm = PcmStream(options.encoding, options.rate, options.channels)

    def finish(self) -> None:
        """Have everything heard, and then end."""

        async def finish() -> None:
            await self.session.feed(self.pcm.finish())
            await self.session.finish()

        if self.finishing is None:
            self.finishing = asyncio.create_task(finish())

    async def close(self) -> None:
        await self.session.close()


def install_stream(app: FastAPI, context: CallContext) -> None:
    """Serve live sessions under ``PATH``."""

    @app.websocket(PATH)
    async def stream(socket: WebSocket) -> None:
        call = LiveCall(socket, context)
        query = dict(query_pairs(socket))
        session_id, after = query.pop("session", None), query.pop("after", "0")
        model = query.pop("model", None)
        try:
            if model is not None:
                call.choose_model(model)
            if session_id is None:
                options = await call.check(_options(query))
                held = _Stream(call, options)
                place = context.sessions.open(held.session.id, call.key_name, held)
            else:
                n_seen = _event_number(after)
                old = context.sessions.find(session_id, call.key_name, _Stream)
                load = await old.held.session.load()
                place = context.sessions.resume(session_id, call.key_name, _Stream, load)
        except Exception as error:
            await call.refuse(error)
            return
        await _Connection(call, place, context).serve(
            n_seen if session_id else 0, is_resumed=session_id is not None
        )


class _Connection:
    """One connection to a session."""

    def __init__(self, call: LiveCall, place: Place[_Stream], context: CallContext) -> None:
        self._call = call
        self._place = place
        self._held = place.held
        self._sessions = context.sessions

    async def serve(self, n_seen: int, *, is_resumed: bool) -> None:
        """Serve until the session has ended, the client has left or done something wrong."""
        session, error = self._held.session, None
        is_over = True
        try:
            await self._call.accept()
            self._held.pcm.drop_part()  # the client sends on from a whole frame
            await self._send(self._ready(n_seen, is_resumed=is_resumed))
            is_over = await self._exchange(n_seen)
        except WebSocketDisconnect:
            is_over = False
        except asyncio.CancelledError:  # Serve does so when the client leaves
            is_over = False
            raise
        except WhisperOxError as raised:
            error = raised
        except Exception:
            error = FAILED
            raise
        finally:
            try:
                if error is not None:
                    await self._tell(error)
            finally:  # whatever happens, the place is given up
                self._call.note(session)
                try:
                    if is_over or not self._held.pcm.n_frames:
                        await self._sessions.end(self._place)
                    else:
                        self._sessions.leave(self._place)
                finally:
                    await self._call.close(error)

    async def _exchange(self, n_seen: int) -> bool:
        """Whether the session is over, and not just the connection."""
        reading = asyncio.create_task(self._read())
        writing = asyncio.create_task(self._write(n_seen))
        leaving = asyncio.create_task(self._place.taken_over.wait())
        await first_done(reading, writing, leaving)
        if self._place.taken_over.is_set():
            raise SessionGone("The session goes on over another connection.")
        return not writing.cancelled()

    async def _write(self, n_seen: int) -> None:
        async for number, event in self._held.session.log.since(n_seen):
            await self._send(_message(number, event, words=self._held.options.words))
        await self._send({"type": "done", "seconds": _time(self._held.session.seconds)})

    async def _read(self) -> None:
        await self._held.session.wait_for_room()  # what an earlier connection has brought
        while (data := await self._call.receive()) is not None:
            if isinstance(data, str):
                await self._obey(data)
            elif self._held.finishing is None:
                await self._call.feed(self._held.session, self._held.pcm.feed(data))
        # The client has left.

    async def _obey(self, text: str) -> None:
        try:
            message = json.loads(text)
            kind = message.pop("type")
        except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
            raise InvalidRequest(
                "A text message is not a JSON object with a type. Audio goes in binary messages."
            ) from None
        if kind == "start":
            await self._start(message)
        elif kind == "flush":
            self._held.session.flush()
        elif kind == "finish":
            self._held.finish()
        elif kind != "keep_alive":
            raise InvalidRequest(
                f"A message has the type {str(kind)[:40]!r}; allowed: start, flush, finish, "
                "keep_alive.",
                field="type",
            )

    async def _start(self, declared: dict[str, Any]) -> None:
        if self._held.session.seconds or self._held.pcm.n_frames:
            raise InvalidRequest("A start message has to come before the first audio.")
        options = _options({**self._held.options.model_dump(), **declared})
        self._held.declare(await self._call.fitted(options))

    def _ready(self, n_seen: int, *, is_resumed: bool) -> dict[str, Any]:
        session = self._held.session
        return {
            "type": "ready",
            "session": session.id,
            "resumed": is_resumed,
            # From here on a client that was cut off sends its audio again.
            "frames": self._held.pcm.n_frames,
            "complete": session.log.keeps_all_since(n_seen),
            "options": self._held.options.model_dump(),
        }

    async def _tell(self, error: WhisperOxError) -> None:
        told = {
            "type": "error",
            "code": error.code,
            "message": error.message,
            "field": error.field,
            "retry_after": seconds_to_wait(error),
        }
        try:
            await self._send(told)
        except (WebSocketDisconnect, RuntimeError):
            return  # the client has left

    async def _send(self, message: dict[str, Any]) -> None:
        await self._call.socket.send_text(json.dumps(message, ensure_ascii=False))


def _options(values: dict[str, Any]) -> StreamOptions:
    try:
        return StreamOptions.model_validate(values)
    except ValidationError as invalid:
        first = invalid.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else None
        allowed = ", ".join(StreamOptions.model_fields)
        detail = f"{field}: there is no such option; allowed: {allowed}"
        if first["type"] != "extra_forbidden":
            detail = "".join(problem(first))
        raise InvalidRequest(f"{detail}.", field=field) from None


def _live(options: StreamOptions) -> LiveOptions:
    return LiveOptions(**options.model_dump(include=set(LiveOptions.model_fields)))


def _event_number(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text)
    raise InvalidRequest(f"after is {text[:40]!r}; allowed: the number of an event.", field="after")


def _message(number: int, event: Event, *, words: bool) -> dict[str, Any]:
    message: dict[str, Any] = {"type": _TYPES[type(event)], "event": number}
    if isinstance(event, SpeechStarted | SpeechEnded):
        return message | {"at": _time(event.at)}
    message |= {
        "utterance": event.utterance,
        "start": _time(event.start),
        "end": _time(event.end),
    }
    if isinstance(event, Failed):
        return message | {"code": event.error.code, "message": event.error.message, "field": None}
    message |= {"text": event.text, "language": event.language, "lag": _time(event.lag_seconds)}
    if isinstance(event, Partial):
        certain = "".join(word.word for word in event.words[: event.n_certain])
        message["certain"] = certain.strip()
    else:
        message |= {
            "confidence": _time(event.confidence),
            "language_probability": _time(event.language_probability),
            "cut": event.is_cut,
            "flushed": event.is_flushed,
        }
    if words:
        message["words"] = [_word(word) for word in event.words]
    return message


_TYPES: dict[type, Literal["speech_start", "speech_end", "partial", "final", "error"]] = {
    SpeechStarted: "speech_start",
    SpeechEnded: "speech_end",
    Partial: "partial",
    Final: "final",
    Failed: "error",
}


def _word(word: Word) -> dict[str, Any]:
    return {
        name: _time(value) if isinstance(value, float) else value
        for name, value in asdict(word).items()
    }


def _time(seconds: float) -> float:
    return round(seconds, TIMES_DIGITS)
