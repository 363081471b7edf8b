"""DashScope's realtime speech recognition (paraformer), as its SDK and EchoKit speak it.

A task is ``run-task``, audio in binary messages, and ``finish-task``. One task may follow another.
"""

import json
import math
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.websockets import WebSocket

from serve_app.api.call import CallContext
from serve_app.api.live_call import LiveCall
from serve_app.api.live_turns import AudioStream, LiveTurn, LiveTurns
from serve_app.audio.pcm import MAX_RATE_HZ, MIN_RATE_HZ, PcmStream
from serve_app.audio.wav_stream import WavStream
from serve_app.errors import InvalidOption, InvalidRequest, WhisperOxError
from serve_app.live.events import Event, Failed, Final, Partial
from serve_app.live.options import LiveOptions, seconds_of
from serve_app.live.session import LiveSession
from serve_app.options import build_options
from serve_app.transcript import Word

PATH = "/api-ws/v1/inference"

DEFAULT_RATE_HZ = 16_000
DEFAULT_SILENCE_SECONDS = 0.8
"""DashScope's own. ``max_sentence_silence`` may be 0.2 to 6 s."""

LONGEST_SENTENCE_SECONDS, MOST_SENTENCE_WORDS = 60.0, 300
"""A sentence that is longer ends with its utterance: each partial text repeats all of it."""


class _Task(LiveTurn):
    """A task. A sentence is what is said between two silences, of one or more utterances.

    EchoKit takes only the first sentence after ``finish-task``, so what has not been told by then
    becomes one sentence.
    """

    def __init__(self, task_id: str, session: LiveSession, audio: AudioStream) -> None:
        super().__init__(task_id, session, audio)
        self.n_sentences = 0
        self.words: list[Word] = []
        self.error: WhisperOxError | None = None

    @property
    def is_long(self) -> bool:
        """Whether the sentence has gone on for long enough."""
        if not self.words:
            return False
        seconds = self.words[-1].end - self.words[0].start
        return seconds >= LONGEST_SENTENCE_SECONDS or len(self.words) >= MOST_SENTENCE_WORDS

    def sentence(self, words: list[Word], *, is_whole: bool) -> dict[str, Any]:
        """The next sentence, or that which goes on."""
        return {
            "sentence_id": self.n_sentences + 1,
            "begin_time": _ms(words[0].start),
            "end_time": _ms(words[-1].end) if is_whole else None,
            "text": "".join(word.word for word in words).strip(),
            "heartbeat": False,
            "sentence_end": is_whole,
            "words": [_word(word) for word in words],
        }


class _Connection(LiveTurns[_Task]):
    def __init__(self, call: LiveCall, context: CallContext) -> None:
        super().__init__(call)
        self._limits = context.settings.options

    async def obey(self, data: bytes | str) -> None:
        if isinstance(data, bytes):
            if self.turn is not None:
                await self.hear(self.turn, data)
            return
        head, payload = _message(data)
        action, task_id = head.get("action"), str(head.get("task_id", ""))
        try:
            if action == "run-task":
                await self._start(task_id, payload)
            elif action == "finish-task":
                if self.turn is not None and self.turn.id == task_id:
                    self.turn.end()
            elif action != "continue-task":
                raise InvalidRequest(
                    f"header.action: got {str(action)[:40]!r}; allowed: run-task, continue-task, "
                    "finish-task.",
                    field="header.action",
                )
        except (InvalidRequest, InvalidOption) as wrong:
            await self._fail(task_id, wrong)

    async def _start(self, task_id: str, payload: dict[str, Any]) -> None:
        wishes = payload.get("parameters")
        wishes = wishes if isinstance(wishes, dict) else {}
        audio = _audio(wishes)
        hints = wishes.get("language_hints")
        language = hints[0] if isinstance(hints, list) and len(hints) == 1 else None
        try:
            parsed = build_options({"language": language}, limits=self._limits)
            options = LiveOptions(
                language=parsed.options.language, silence_seconds=_silence_seconds(wishes)
            )
            session = await self.session(options)
        except InvalidOption as wrong:
            raise wrong.renamed({"language": "language_hints"}) from None
        task = _Task(task_id, session, audio)
        await self.begin(task)
        await self._send(task_id, "task-started", {})

    async def tell(self, turn: _Task, event: Event) -> None:
        if isinstance(event, Partial):
            await self._send_sentence(turn, [*turn.words, *event.words], is_whole=False)
        elif isinstance(event, Failed):
            turn.error = event.error
        elif isinstance(event, Final):
            turn.words += event.words
            if turn.ending is None and (turn.is_long or not event.is_cut):
                await self._end_sentence(turn)

    async def tell_end(self, turn: _Task) -> None:
        await self._end_sentence(turn)
        if turn.error is None:
            # With an empty payload the SDK would not call its caller back.
            await self._send(turn.id, "task-finished", {"output": {}, "usage": None})
        else:
            await self._fail(turn.id, turn.error)

    async def tell_error(self, error: WhisperOxError) -> None:
        await self._fail("" if self.turn is None else self.turn.id, error)

    async def _end_sentence(self, task: _Task) -> None:
        if task.words:
            await self._send_sentence(task, task.words, is_whole=True)
            task.n_sentences += 1
            task.words = []

    async def _send_sentence(self, task: _Task, words: list[Word], *, is_whole: bool) -> None:
        sentence = task.sentence(words, is_whole=is_whole)
        usage = {"duration": math.ceil(task.session.seconds)} if is_whole else None
        await self._send(
            task.id, "result-generated", {"output": {"sentence": sentence}, "usage": usage}
        )

    async def _fail(self, task_id: str, error: WhisperOxError) -> None:
        code = "CLIENT_ERROR" if error.status < 500 else "SERVER_ERROR"
        await self._send(task_id, "task-failed", {}, error_code=code, error_message=error.message)

    async def _send(self, task_id: str, event: str, payload: dict[str, Any], **more: str) -> None:
        head = {"task_id": task_id, "event": event, **more, "attributes": {}}
        # In ASCII, since a client may send half of a surrogate pair, which is told back to it.
        await self.call.socket.send_text(json.dumps({"header": head, "payload": payload}))


def install_dashscope(app: FastAPI, context: CallContext) -> None:
    """Serve tasks under ``PATH``."""
    router = APIRouter(include_in_schema=False)

    @router.websocket(PATH)
    async def inference(socket: WebSocket) -> None:
        await _Connection(LiveCall(socket, context), context).serve(LiveOptions())

    app.include_router(router)


def _message(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and payload."""
    try:
        message = json.loads(text)
        head, payload = message["header"], message.get("payload") or {}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        head = payload = None
    if isinstance(head, dict) and isinstance(payload, dict):
        return head, payload
    raise InvalidRequest("A text message is not a JSON object with a header and a payload.")


def _audio(wishes: dict[str, Any]) -> AudioStream:
    form, rate_hz = wishes.get("format", "pcm"), wishes.get("sample_rate", DEFAULT_RATE_HZ)
    if form == "wav":
        return WavStream()
    if form != "pcm":
        raise InvalidRequest(
            f"format: got {str(form)[:40]!r}; allowed: pcm, wav.", field="parameters.format"
        )
    if not isinstance(rate_hz, int) or not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise InvalidRequest(
            f"sample_rate: got {str(rate_hz)[:40]!r}; allowed: {MIN_RATE_HZ} to {MAX_RATE_HZ}.",
            field="parameters.sample_rate",
        )
    return PcmStream("pcm16", rate_hz, 1)


def _silence_seconds(wishes: dict[str, Any]) -> float:
    silence = seconds_of(wishes.get("max_sentence_silence"))
    return DEFAULT_SILENCE_SECONDS if silence is None else min(max(silence, 0.2), 6.0)


def _word(word: Word) -> dict[str, Any]:
    whole = word.word.strip()
    text = whole.rstrip(".,!?;:…。，！？；：、")
    return {
        "begin_time": _ms(word.start),
        "end_time": _ms(word.end),
        "text": text,
        "punctuation": whole[len(text) :],
    }


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
