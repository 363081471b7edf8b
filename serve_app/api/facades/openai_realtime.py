"""OpenAI's Realtime API as far as it transcribes: base64 audio in JSON messages, events out.

Its turns (``openai_realtime_turns``) are told as items, their texts as deltas while they go on.
What a client may configure is in ``openai_realtime_session``.
"""

import asyncio
import base64
import json
import math
import time
import uuid
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.websockets import WebSocket

from serve_app.api.call import CallContext
from serve_app.api.dialects import OPENAI
from serve_app.api.edge.client_secret import session_of
from serve_app.api.edge.key_check import sent_keys
from serve_app.api.facades.openai_realtime_session import RealtimeSession
from serve_app.api.facades.openai_realtime_turns import Turn, Turns
from serve_app.api.live_call import LiveCall, first_done
from serve_app.api.render.verbose import logprobs
from serve_app.errors import InvalidOption, InvalidRequest, WhisperOxError
from serve_app.live.events import Event, Failed, Final, SpeechEnded, SpeechStarted
from serve_app.transcript import Word

PATHS = ("/v1/realtime", "/openai/v1/realtime", "/openai/realtime")
"""OpenAI's, and Azure OpenAI's newer and older ones. Any model or deployment in the query will do:
it names one that speaks, and a transcription's model comes in the session."""

SUBPROTOCOL = "realtime"
BETA_HEADER, BETA = "OpenAI-Beta", "realtime=v1"

LEAST_COMMIT_SECONDS = 0.1
"""OpenAI refuses to commit less."""

TRANSCRIPTION = "conversation.item.input_audio_transcription"


class _Connection:
    def __init__(self, call: LiveCall, session_seconds: float) -> None:
        self._call = call
        self._is_beta = BETA in call.socket.headers.get(BETA_HEADER, "")
        self._expires_at = int(time.time() + session_seconds)
        self._answering = asyncio.Lock()  # events of one turn stay together
        self._turns = Turns()
        self._previous: str | None = None  # the latest item
        self._committed_seconds = 0.0

    async def serve(self) -> None:
        try:
            secret = session_of(sent_keys(self._call.socket.scope, b""))
            self._configuration = RealtimeSession().updated(secret)
            self._pcm = self._configuration.pcm()
            self._call.choose_model(self._configuration.model)
            options = await self._call.check(self._configuration.live_options())
            self._session = self._call.begin(options)
        except Exception as error:
            await self._call.refuse(error)
            return
        await self._call.serve(self._session, self._exchange, self._tell)

    async def _exchange(self) -> None:
        await self._call.accept(SUBPROTOCOL)
        await self._send("session.created", session=self._body(is_beta=self._is_beta))
        await first_done(asyncio.create_task(self._read()), asyncio.create_task(self._write()))

    # From the client

    async def _read(self) -> None:
        while (data := await self._receive()) is not None:
            message: dict[str, Any] = {}
            try:
                message = _message(data)
                await self._obey(message)
            except (InvalidRequest, InvalidOption) as wrong:
                await self._tell(wrong, message.get("event_id"))

    async def _receive(self) -> bytes | str | None:
        # There are no keep-alive messages here, and whoever pushes to talk may be silent for long.
        return await self._call.receive(may_rest=not self._finds_turns)

    async def _obey(self, message: dict[str, Any]) -> None:
        kind = message.get("type")
        if kind == "input_audio_buffer.append":
            await self._call.feed(self._session, self._pcm.feed(_audio(message)))
        elif kind in ("session.update", "transcription_session.update"):
            await self._update(kind, message)
        elif kind == "input_audio_buffer.commit":
            async with self._answering:
                await self._commit()
        elif kind == "input_audio_buffer.clear":
            async with self._answering:
                await self._clear()
        else:
            raise InvalidRequest(
                f"type: got {str(kind)[:60]!r}; this server only transcribes and takes "
                "session.update, input_audio_buffer.append, input_audio_buffer.commit and "
                "input_audio_buffer.clear.",
                field="type",
            )

    async def _update(self, kind: str, message: dict[str, Any]) -> None:
        change = message.get("session")
        if not isinstance(change, dict):
            raise InvalidRequest("session: has to be an object.", field="session")
        new = self._configuration.updated(change)
        self._call.choose_model(new.model)
        options = await self._call.fitted(new.live_options())
        if new.audio.input.format != self._configuration.audio.input.format:
            await self._call.feed(self._session, self._pcm.finish())
            self._pcm = new.pcm()
        self._configuration = new
        self._call.change(self._session, options)
        is_beta = kind.startswith("transcription_session") or self._is_beta
        await self._send(f"{kind}d", session=self._body(is_beta=is_beta))

    async def _commit(self) -> None:
        if self._session.seconds - self._committed_seconds < LEAST_COMMIT_SECONDS:
            raise InvalidRequest(
                f"The buffer holds less than {LEAST_COMMIT_SECONDS:g} s of audio that has not been "
                "committed.",
                code="input_audio_buffer_commit_empty",
            )
        self._session.flush()
        await self._close_turn(self._session.n_utterances - 1)

    async def _clear(self) -> None:
        self._session.clear()
        self._turns.clear(self._session.n_utterances)
        self._committed_seconds = self._session.seconds
        await self._send("input_audio_buffer.cleared")

    # To the client

    async def _write(self) -> None:
        async for event in self._session.events():
            async with self._answering:
                await self._pass_on(event)

    async def _pass_on(self, event: Event) -> None:
        if isinstance(event, SpeechStarted):
            if self._finds_turns and (turn := self._turns.begin(event.utterance)) is not None:
                begin = {"audio_start_ms": _ms(event.at), "item_id": turn.id}
                await self._send("input_audio_buffer.speech_started", **begin)
        elif isinstance(event, SpeechEnded):
            if self._finds_turns and (turn := self._turns.open) is not None:
                end = {"audio_end_ms": _ms(event.at), "item_id": turn.id}
                await self._send("input_audio_buffer.speech_stopped", **end)
                await self._close_turn(event.utterance)
        elif (turn := self._turns.of(event.utterance)) is not None:
            if isinstance(event, Failed):
                turn.error = event.error
            else:
                await self._send_delta(turn, turn.hear(event))
        if isinstance(event, Final | Failed):
            self._turns.heard(event.utterance)
            await self._send_texts()

    async def _send_delta(self, turn: Turn, new: Sequence[Word]) -> None:
        text = "".join(word.word for word in new)
        text = text if turn.has_deltas else text.lstrip()
        if text:
            turn.has_deltas = True
            more = self._logprobs(new)
            await self._send(f"{TRANSCRIPTION}.delta", **_part(turn), delta=text, **more)

    async def _close_turn(self, last: int) -> None:
        """Commit the turn that goes on: its item takes its place in the conversation."""
        turn = self._turns.commit(last)
        self._committed_seconds = self._session.seconds
        previous, self._previous = self._previous, turn.id
        content = {"type": "input_audio", "transcript": None}
        item = {
            "id": turn.id,
            "object": "realtime.item",
            "type": "message",
            "status": "completed",
            "role": "user",
            "content": [content],
        }
        place: dict[str, Any] = {"previous_item_id": previous}
        await self._send("input_audio_buffer.committed", item_id=turn.id, **place)
        names = ["created"] if self._is_beta else ["added", "done"]
        for name in names:
            await self._send(f"conversation.item.{name}", item=item, **place)
        await self._send_texts()

    async def _send_texts(self) -> None:
        """Send the whole text of each turn of which nothing is left to hear."""
        for turn in self._turns.complete():
            if turn.error is not None:
                error = _error(turn.error)
                await self._send(f"{TRANSCRIPTION}.failed", **_part(turn), error=error)
                continue
            await self._send(
                f"{TRANSCRIPTION}.completed",
                **_part(turn),
                transcript=turn.text,
                usage={"type": "duration", "seconds": math.ceil(turn.seconds)},
                languages=[{"code": turn.language}] if turn.text else [],
                **self._logprobs(turn.words),
            )

    @property
    def _finds_turns(self) -> bool:
        """Whether the server tells where turns begin and end."""
        return self._configuration.audio.input.turn_detection is not None

    def _logprobs(self, words: Sequence[Word]) -> dict[str, Any]:
        return {"logprobs": logprobs(words)} if self._configuration.include else {}

    def _body(self, *, is_beta: bool) -> dict[str, Any]:
        return self._configuration.body(self._session.id, self._expires_at, is_beta=is_beta)

    async def _tell(self, error: WhisperOxError, event_id: object = None) -> None:
        await self._send("error", error=_error(error) | {"event_id": event_id})

    async def _send(self, kind: str, **fields: Any) -> None:
        event = {"type": kind, "event_id": f"event_{uuid.uuid4().hex[:20]}", **fields}
        # In ASCII, since a client may have sent half of a surrogate pair, which is told back to it.
        await self._call.socket.send_text(json.dumps(event))


def install_openai_realtime(app: FastAPI, context: CallContext) -> None:
    """Serve sessions under ``PATHS``."""
    router = APIRouter(include_in_schema=False)

    async def realtime(socket: WebSocket) -> None:
        call = LiveCall(socket, context)
        await _Connection(call, context.settings.live.session_seconds).serve()

    for path in PATHS:
        router.add_api_websocket_route(path, realtime)
    app.include_router(router)


def _message(data: bytes | str) -> dict[str, Any]:
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        message = None
    if isinstance(message, dict):
        return message
    raise InvalidRequest("A message is not a JSON object.")


def _audio(message: dict[str, Any]) -> bytes:
    try:
        return base64.b64decode(message["audio"], validate=True)
    except (KeyError, TypeError, ValueError):
        raise InvalidRequest("audio: has to be base64 text.", field="audio") from None


def _part(turn: Turn) -> dict[str, Any]:
    return {"item_id": turn.id, "content_index": 0}


def _error(error: WhisperOxError) -> dict[str, Any]:
    told: dict[str, Any] = OPENAI.error_body(error, "")["error"]
    return told


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
