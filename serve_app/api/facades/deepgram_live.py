"""Deepgram's WebSocket ``/v1/listen``: audio in binary messages, ``Results`` out.

docs/deepgram.md says what each parameter and message does here.
"""

import asyncio
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.websockets import WebSocket

from serve_app.api.call import CallContext
from serve_app.api.error_answers import POLICY_VIOLATION
from serve_app.api.facades.deepgram import PATH
from serve_app.api.facades.deepgram_live_request import StreamWishes, prompt_of
from serve_app.api.facades.deepgram_request import (
    choose_model,
    read_query,
)
from serve_app.api.live_call import INTERNAL_ERROR, LiveCall, first_done
from serve_app.api.render.deepgram import alternative_of, audio_metadata, model_of
from serve_app.api.sources.query import query_pairs
from serve_app.errors import (
    IdleTimeout,
    InvalidAudio,
    InvalidOption,
    UnsupportedAudio,
    WhisperOxError,
)
from serve_app.live.events import Event, Failed, Partial, SpeechEnded, SpeechStarted
from serve_app.options import OptionLimits, read_values
from serve_app.transcript import Word

CHANNEL = [0, 1]
"""The first of one: channels are averaged."""


class _Connection:
    def __init__(self, call: LiveCall, limits: OptionLimits) -> None:
        self._call = call
        self._limits = limits
        self._sha256 = hashlib.sha256()
        self._n_told = 0  # utterances whose final text has been told
        self._finalized: set[int] = set()  # utterances that a Finalize message waits for
        self._ended: set[int] = set()  # those after which somebody pauses, not told yet
        self._last_word_end: float | None = None
        self._finishing: asyncio.Task[None] | None = None

    async def serve(self) -> None:
        try:
            query = query_pairs(self._call.socket)
            own = {name: text for name, text in query if name in StreamWishes.model_fields}
            self._wishes = read_values(StreamWishes, own, self._limits)
            rest = [pair for pair in query if pair[0] not in own]
            asked = read_query(rest, self._limits)
            self._parts = asked.parts
            self._audio = self._wishes.audio()
            choose_model(self._call.choose_model, asked.model)
            options = await self._call.check(self._wishes.options(asked))
            self._session = self._call.begin(options)
        except Exception as error:
            await self._call.refuse(error)
            return
        self._model_id, self._model = model_of(self._call.model_name)
        await self._call.serve(self._session, self._exchange, self._tell_error)

    async def _exchange(self) -> None:
        await self._call.accept()
        await first_done(asyncio.create_task(self._read()), asyncio.create_task(self._write()))

    # From the client

    async def _read(self) -> None:
        while True:
            data = await self._call.receive(may_rest=self._finishing is not None)
            if data is None:
                return
            if isinstance(data, str):
                await self._obey(data)
            elif self._finishing is None:
                self._sha256.update(data)
                await self._call.feed(self._session, self._audio.feed(data))
                await self._end_utterance()

    async def _obey(self, text: str) -> None:
        try:
            message = json.loads(text)
            kind = message["type"]
        except (ValueError, KeyError, TypeError, RecursionError):
            message, kind = {}, None
        if kind == "Finalize":
            await self._finalize()
        elif kind == "CloseStream":
            if self._finishing is None:
                self._finishing = asyncio.create_task(self._finish())
        elif kind == "Configure":
            await self._configure(message)
        elif kind != "KeepAlive":
            await self._send(
                "Error",
                variant="SchemaError",
                description="A text message has to be JSON with the type KeepAlive, Finalize, "
                "CloseStream or Configure.",
                message=text[:200],
            )

    async def _finish(self) -> None:
        await self._session.feed(self._audio.finish())
        await self._session.finish()

    async def _finalize(self) -> None:
        self._session.flush()
        last = self._session.n_utterances - 1
        if last < self._n_told:
            await self._send_results((), self._session.seconds, from_finalize=True)
        else:
            self._finalized.add(last)

    async def _configure(self, message: dict[str, Any]) -> None:
        keyterms = message.get("keyterms")
        try:
            if keyterms is not None:
                if not isinstance(keyterms, list) or not all(isinstance(k, str) for k in keyterms):
                    raise InvalidOption("keyterms: has to be a list of texts", field="keyterms")
                prompt = prompt_of(", ".join(keyterms) or None)
                changed = self._session.options.model_copy(update={"prompt": prompt})
                self._session.options = changed
        except InvalidOption as wrong:
            await self._send(
                "ConfigureFailure",
                request_id=self._call.request_id,
                code="CONFIGURE_KEYTERM_LIMIT_EXCEEDED",
                description=wrong.message,
            )
            return
        more = {} if keyterms is None else {"keyterms": keyterms}
        await self._send("ConfigureSuccess", request_id=self._call.request_id, **more)

    # To the client

    async def _write(self) -> None:
        async for event in self._session.events():
            await self._pass_on(event)
        told = audio_metadata(
            self._call.request_id, self._sha256.hexdigest(), self._session.seconds
        )
        await self._send("Metadata", **told)

    async def _pass_on(self, event: Event) -> None:
        if isinstance(event, SpeechStarted):
            if self._wishes.vad_events:
                await self._send("SpeechStarted", channel=CHANNEL, timestamp=_time(event.at))
        elif isinstance(event, SpeechEnded):
            if event.utterance >= self._n_told:
                self._ended.add(event.utterance)
            elif self._wishes.finds_ends:
                await self._send_results((), event.at, speech_final=True)
        elif isinstance(event, Partial):
            await self._send_results(event.words, event.start, event.end, is_final=False)
        else:
            await self._tell_final(event)

    async def _tell_final(self, event: Event) -> None:
        assert not isinstance(event, SpeechStarted | SpeechEnded | Partial)
        self._n_told = event.utterance + 1
        words: Sequence[Word] = ()
        if isinstance(event, Failed):
            await self._tell_error(event.error)
        else:
            words = event.words
        if words:
            self._last_word_end = words[-1].end
        await self._send_results(
            words,
            event.start,
            event.end,
            speech_final=self._wishes.finds_ends and event.utterance in self._ended,
            from_finalize=event.utterance in self._finalized,
        )
        self._finalized.discard(event.utterance)
        self._ended.discard(event.utterance)
        await self._end_utterance()

    async def _end_utterance(self) -> None:
        """Tell that nobody has said a word for as long as the client asks for."""
        wished, end = self._wishes.utterance_end_ms, self._last_word_end
        if wished is None or end is None or self._n_told < self._session.n_utterances:
            return
        if self._session.seconds - end >= wished / 1000:
            self._last_word_end = None
            await self._send("UtteranceEnd", channel=CHANNEL, last_word_end=_time(end))

    async def _send_results(
        self,
        words: Sequence[Word],
        start: float,
        end: float | None = None,
        *,
        is_final: bool = True,
        speech_final: bool = False,
        from_finalize: bool = False,
    ) -> None:
        await self._send(
            "Results",
            channel_index=CHANNEL,
            start=_time(start),
            duration=_time((start if end is None else end) - start),
            is_final=is_final,
            speech_final=speech_final,
            from_finalize=from_finalize,
            channel={"alternatives": [alternative_of(words, self._parts)]},
            metadata={
                "request_id": self._call.request_id,
                "model_uuid": self._model_id,
                "model_info": self._model,
            },
        )

    async def _tell_error(self, error: WhisperOxError) -> None:
        """Also closes the socket where Deepgram's clients know a code for the reason."""
        await self._send("Error", variant=error.code, description=error.message)
        if isinstance(error, IdleTimeout):
            await self._call.socket.close(INTERNAL_ERROR, "NET-0001")
        elif isinstance(error, InvalidAudio | UnsupportedAudio):
            await self._call.socket.close(POLICY_VIOLATION, "DATA-0000")

    async def _send(self, kind: str, **fields: Any) -> None:
        message = {"type": kind, **fields}  # in ASCII: a client may send half of a surrogate pair
        await self._call.socket.send_text(json.dumps(message))


def install_deepgram_live(app: FastAPI, context: CallContext) -> None:
    """Serve live sessions under Deepgram's path."""
    router = APIRouter(include_in_schema=False)

    @router.websocket(PATH)
    async def listen(socket: WebSocket) -> None:
        await _Connection(LiveCall(socket, context), context.settings.options).serve()

    app.include_router(router)


def _time(seconds: float) -> float:
    return round(seconds, 3)
