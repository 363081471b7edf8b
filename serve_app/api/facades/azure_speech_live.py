"""Azure Speech's WebSocket, for its SDKs: ``recognize_once`` and continuous recognition."""

import uuid
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.websockets import WebSocket

from serve_app.api.call import CallContext
from serve_app.api.facades.azure_speech_messages import Wishes, read_message, write_message
from serve_app.api.live_call import LiveCall
from serve_app.api.live_turns import LiveTurn, LiveTurns
from serve_app.api.render.azure_speech import lexical, ticks
from serve_app.audio.wav_stream import WavStream
from serve_app.errors import WhisperOxError
from serve_app.live.events import Event, Failed, Final, Partial, SpeechEnded, SpeechStarted
from serve_app.live.options import LiveOptions
from serve_app.live.session import LiveSession

PATHS = ("/speech/recognition/{mode}/cognitiveservices/v1", "/stt/speech/universal/v2")
SUBPROTOCOL = "USP"

DEFAULT_MODE = "conversation"


class _Turn(LiveTurn):
    """One recognition: an utterance or, in the other modes, all until the audio ends."""

    def __init__(self, turn_id: str, session: LiveSession, wishes: Wishes) -> None:
        super().__init__(turn_id, session, WavStream())
        self.wishes = wishes
        self.has_phrase = False

    @property
    def has_speech(self) -> bool:
        """Whether somebody has begun to speak, which is the first event of a session."""
        return self.session.log.last > 0

    @property
    def is_done(self) -> bool:
        """Whether it has its only utterance."""
        return self.wishes.is_once and self.has_phrase

    @property
    def is_waiting_in_vain(self) -> bool:
        """Whether nobody has begun to speak for so long that nobody will."""
        silence = self.wishes.initial_silence_seconds
        return self.wishes.is_once and not self.has_speech and 0 < silence < self.session.seconds


class _Connection(LiveTurns[_Turn]):
    def __init__(self, call: LiveCall, context: CallContext, mode: str) -> None:
        super().__init__(call)
        self._limits = context.settings.options
        self._mode = mode
        self._query = dict(call.socket.query_params)
        self._wishes = Wishes.of(mode, self._query)
        self._latest_id = ""

    async def recognise(self) -> None:
        """Serve the connection.

        A language that the model does not know is refused when the turn begins: the SDKs tell
        their callers why a connection was closed, but not why a handshake was refused.
        """
        await self.serve(LiveOptions(), SUBPROTOCOL)

    async def obey(self, data: bytes | str) -> None:
        message = read_message(data)
        if message.path == "speech.context":
            self._wishes = Wishes.of(self._mode, self._query, message.body)
        elif message.path == "audio":
            turn = self.turn
            if message.request_id != self._latest_id:
                turn = await self._start(message.request_id)
            if turn is None or turn.is_done:
                return
            if not message.body:
                turn.end()
                return
            await self.hear(turn, message.body)
            if turn.is_waiting_in_vain:
                turn.end()

    async def _start(self, request_id: str) -> _Turn:
        self._latest_id = request_id
        session = await self.session(self._wishes.live_options(self._limits))
        turn = _Turn(request_id, session, self._wishes)
        await self.begin(turn)
        await self._send(turn, "turn.start", {"context": {"serviceTag": uuid.uuid4().hex}})
        return turn

    async def tell(self, turn: _Turn, event: Event) -> None:
        if turn.is_done:
            return
        if isinstance(event, SpeechStarted):
            await self._send(turn, "speech.startDetected", {"Offset": ticks(event.at)})
        elif isinstance(event, SpeechEnded):
            await self._send(turn, "speech.endDetected", {"Offset": ticks(event.at)})
        elif isinstance(event, Partial):
            hypothesis = {"Text": event.text, **_place(event.start, event.end)}
            language = self._language(turn, event.language)
            await self._send(turn, "speech.hypothesis", hypothesis | language)
        elif isinstance(event, Failed):
            await self._send_phrase(turn, "Error", _place(event.start, event.end))
        elif event.text:
            phrase = _phrase(event, is_detailed=turn.wishes.is_detailed)
            await self._send_phrase(turn, "Success", phrase | self._language(turn, event.language))

    async def tell_end(self, turn: _Turn) -> None:
        if turn.wishes.is_once and not turn.has_phrase:
            status = "NoMatch" if turn.has_speech else "InitialSilenceTimeout"
            await self._send_phrase(turn, status, _place(0.0, turn.session.seconds))
        await self._send(turn, "turn.end", {})

    async def tell_error(self, error: WhisperOxError) -> None:
        """Nothing: the reason for the close is what the SDKs tell their callers."""

    def _language(self, turn: _Turn, heard: str) -> dict[str, Any]:
        """The language, for a client who has asked which one is spoken."""
        if len(turn.wishes.languages) == 1:
            return {}
        return {"PrimaryLanguage": {"Language": turn.wishes.name_of(heard), "Confidence": "High"}}

    async def _send_phrase(self, turn: _Turn, status: str, phrase: dict[str, Any]) -> None:
        turn.has_phrase = True
        head = {"Id": uuid.uuid4().hex, "RecognitionStatus": status}
        await self._send(turn, "speech.phrase", head | phrase)
        if turn.wishes.is_once:
            await turn.session.close()

    async def _send(self, turn: _Turn, path: str, body: dict[str, Any]) -> None:
        await self.call.socket.send_text(write_message(turn.id, path, body))


def install_azure_speech_live(app: FastAPI, context: CallContext) -> None:
    """Serve recognitions under ``PATHS``."""
    router = APIRouter(include_in_schema=False)

    async def recognise(socket: WebSocket) -> None:
        mode = socket.path_params.get("mode", DEFAULT_MODE)
        await _Connection(LiveCall(socket, context), context, mode).recognise()

    for path in PATHS:
        router.add_api_websocket_route(path, recognise)
    app.include_router(router)


def _phrase(final: Final, *, is_detailed: bool) -> dict[str, Any]:
    phrase = {**_place(final.start, final.end), "DisplayText": final.text}
    if not is_detailed:
        return phrase
    plain = lexical(final.text)
    words = [
        {"Word": lexical(word.word), "Confidence": word.probability, **_place(word.start, word.end)}
        for word in final.words
    ]
    best = {
        "Confidence": final.confidence,
        "Lexical": plain,
        "ITN": plain,
        "MaskedITN": plain,
        "Display": final.text,
        "Words": words,
    }
    return phrase | {"NBest": [best]}


def _place(start: float, end: float) -> dict[str, int]:
    return {"Offset": ticks(start), "Duration": ticks(end) - ticks(start)}
