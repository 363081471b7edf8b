"""ElevenLabs' WebSocket ``/v1/speech-to-text/realtime``: base64 audio in JSON, transcripts out.

Text that will not change is committed: on the client's message, or where somebody stops speaking.
docs/elevenlabs.md says what each parameter does here.
"""

import asyncio
import base64
import json
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI
from pydantic import BaseModel
from starlette.websockets import WebSocket

from serve_app.api.call import CallContext
from serve_app.api.facades.elevenlabs import PATH as CONVERT_PATH
from serve_app.api.facades.elevenlabs_request import CALLERS_NAMES
from serve_app.api.live_call import LiveCall, first_done
from serve_app.api.render.elevenlabs import spaced_words
from serve_app.api.sources.form_values import Texts, Unserved
from serve_app.audio.pcm import Encoding, PcmStream
from serve_app.errors import (
    IdleTimeout,
    InvalidOption,
    InvalidRequest,
    MessageTooLarge,
    Overloaded,
    QuotaExceeded,
    SessionLimit,
    WhisperOxError,
)
from serve_app.live.events import Event, Failed, Partial, SpeechEnded, SpeechStarted
from serve_app.live.options import MOST_PROMPT_CHARACTERS, LiveOptions
from serve_app.options import OptionLimits, build_options, read_values
from serve_app.options.kinds import Choice, Flag, Number, Whole
from serve_app.options.language import three_letters
from serve_app.transcript import Word

PATH = f"{CONVERT_PATH}/realtime"

FORMATS: dict[str, tuple[Encoding, int]] = {
    **{f"pcm_{rate}": ("pcm16", rate) for rate in (8_000, 16_000, 22_050, 24_000, 44_100, 48_000)},
    "ulaw_8000": ("mulaw", 8_000),
}

_ERRORS: dict[type[WhisperOxError], str] = {
    QuotaExceeded: "quota_exceeded",
    Overloaded: "rate_limited",
    IdleTimeout: "insufficient_audio_activity",
    SessionLimit: "session_time_limit_exceeded",
    MessageTooLarge: "chunk_size_exceeded",
    InvalidRequest: "input_error",
    InvalidOption: "input_error",
}
"""ElevenLabs' names of our errors; any other is a ``transcriber_error``."""


class _Wishes(BaseModel):
    """ElevenLabs' parameters that have an effect here."""

    model_id: str = "scribe_v2_realtime"
    audio_format: Annotated[str, Choice(tuple(FORMATS))] = "pcm_16000"
    commit_strategy: Annotated[str, Choice(("manual", "vad"))] = "manual"
    vad_silence_threshold_secs: Annotated[float, Number(0.3, 3)] = 1.5
    vad_threshold: Annotated[float, Number(0.1, 0.9)] = 0.4
    min_speech_duration_ms: Annotated[int, Whole(50, 2_000)] = 100
    language_code: Any = None
    keyterms: Annotated[tuple[str, ...], Texts()] = ()
    include_timestamps: Annotated[bool, Flag()] = False
    entity_redaction: Annotated[None, Unserved("this server hides nothing in a transcript")] = None
    transcript_edit: Annotated[None, Unserved("this server edits no transcript")] = None

    @property
    def is_manual(self) -> bool:
        """Whether only the client commits."""
        return self.commit_strategy == "manual"

    def options(self, limits: OptionLimits) -> LiveOptions:
        """Raises ``InvalidOption``."""
        keyterms = ", ".join(self.keyterms) or None
        if keyterms is not None and len(keyterms) > MOST_PROMPT_CHARACTERS:
            most = f"keyterms: up to {MOST_PROMPT_CHARACTERS} characters in all"
            raise InvalidOption(most, field="keyterms")
        values = {"language": self.language_code, "hotwords": keyterms}
        try:
            options = build_options(values, limits=limits).options
        except InvalidOption as wrong:
            raise wrong.renamed(CALLERS_NAMES) from None
        return LiveOptions(
            language=options.language,
            prompt=options.hotwords,
            silence_seconds=None if self.is_manual else self.vad_silence_threshold_secs,
            threshold=self.vad_threshold,
            min_speech_seconds=self.min_speech_duration_ms / 1000,
        )


class _Connection:
    def __init__(self, call: LiveCall, limits: OptionLimits) -> None:
        self._call = call
        self._limits = limits
        self._words: list[Word] = []  # final, but not committed yet
        self._language = "en"
        self._n_told = 0  # utterances whose final text is known
        # Commits that wait for their text: the last utterance, and whether the client asked.
        self._due: list[tuple[int, bool]] = []

    async def serve(self) -> None:
        query = self._call.socket.query_params
        values: dict[str, Any] = {name: query[name] for name in query if name in _FIELDS}
        values |= {"keyterms": query.getlist("keyterms")} if "keyterms" in query else {}
        try:
            self._wishes = read_values(_Wishes, values, self._limits)
            if not self._wishes.model_id.startswith("scribe"):
                self._call.choose_model(self._wishes.model_id)
            encoding, rate_hz = FORMATS[self._wishes.audio_format]
            self._pcm = PcmStream(encoding, rate_hz, 1)
            options = await self._call.check(self._wishes.options(self._limits))
            self._session = self._call.begin(options)
        except Exception as error:
            await self._call.refuse(error)
            return
        await self._call.serve(self._session, self._exchange, self._tell_error)

    async def _exchange(self) -> None:
        await self._call.accept()
        config = {**self._wishes.model_dump(), "sample_rate": FORMATS[self._wishes.audio_format][1]}
        await self._send("session_started", session_id=self._session.id, config=config)
        await first_done(asyncio.create_task(self._read()), asyncio.create_task(self._write()))

    async def _read(self) -> None:
        # There are no keep-alive messages, and whoever pushes to talk may be silent for long.
        is_manual = self._wishes.is_manual
        while (data := await self._call.receive(may_rest=is_manual)) is not None:
            try:
                audio, commits = _chunk(data)
            except InvalidRequest as wrong:
                await self._tell_error(wrong)
                continue
            await self._call.feed(self._session, self._pcm.feed(audio))
            if commits:
                self._session.flush()
                self._due.append((self._session.n_utterances - 1, True))
                await self._commit()

    async def _write(self) -> None:
        async for event in self._session.events():
            await self._pass_on(event)

    async def _pass_on(self, event: Event) -> None:
        if isinstance(event, SpeechStarted):
            return
        if isinstance(event, Partial):
            text = _text([*self._words, *event.words])
            await self._send("partial_transcript", text=text)
            return
        if isinstance(event, SpeechEnded):
            if not self._wishes.is_manual:
                self._due.append((event.utterance, False))
        else:
            self._n_told = event.utterance + 1
            if isinstance(event, Failed):
                await self._send("transcriber_error", error=event.error.message)
            else:
                self._words += event.words
                self._language = event.language
        await self._commit()

    async def _commit(self) -> None:
        """Commit what is due and has its text; without any if the client has asked for it."""
        while self._due and self._due[0][0] < self._n_told:
            _, is_asked = self._due.pop(0)
            words, self._words = self._words, []
            if not words and not is_asked:
                continue
            text = _text(words)
            await self._send("committed_transcript", text=text)
            if self._wishes.include_timestamps:
                await self._send(
                    "committed_transcript_with_timestamps",
                    text=text,
                    language_code=three_letters(self._language),
                    words=spaced_words(words),
                )

    async def _tell_error(self, error: WhisperOxError) -> None:
        name = next((name for kind, name in _ERRORS.items() if isinstance(error, kind)), None)
        await self._send(name or "transcriber_error", error=error.message)

    async def _send(self, kind: str, **fields: Any) -> None:
        message = {"message_type": kind, **fields}
        await self._call.socket.send_text(json.dumps(message))


_FIELDS = _Wishes.model_fields


def install_elevenlabs_live(app: FastAPI, context: CallContext) -> None:
    """Serve live sessions under ``PATH``."""
    router = APIRouter(include_in_schema=False)

    @router.websocket(PATH)
    async def realtime(socket: WebSocket) -> None:
        await _Connection(LiveCall(socket, context), context.settings.options).serve()

    app.include_router(router)


def _chunk(data: bytes | str) -> tuple[bytes, bool]:
    """The audio of a message, and whether it commits. Raises ``InvalidRequest``."""
    try:
        message = json.loads(data)
        if message["message_type"] != "input_audio_chunk":
            raise ValueError
        audio = base64.b64decode(message["audio_base_64"], validate=True)
        return audio, message.get("commit") is True
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InvalidRequest(
            "A message is not JSON with the message_type input_audio_chunk and base64 text in "
            "audio_base_64."
        ) from None


def _text(words: list[Word]) -> str:
    return "".join(word.word for word in words).strip()
