"""A speech service between a browser and Whisper OX, in one file; README.md beside it says how.

The browser sends 16 kHz mono PCM16 over a WebSocket, and the text ``stop`` at the end. It gets JSON
messages: ``transcript`` (``text``, ``is_final``), ``error`` (``message``) and ``done``.
"""

import asyncio
import io
import json
import os
import wave
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import uvicorn
import websockets
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

RATE_HZ = 16_000
PAGE = Path(__file__).with_name("page.html")
BUSY = {429, 503}  # answers that say after how many seconds to ask again
WAITS_SECONDS = (0, 0.5, 1, 2)  # before each try


@dataclass(frozen=True)
class Settings:
    """The environment. ``chunk_seconds`` 0: the whole dictation is one chunk."""

    endpoint: str
    headers: dict[str, str]
    chunk_seconds: float
    mode: str

    @classmethod
    def from_environment(cls) -> "Settings":
        """Read the variables that README.md lists."""
        key = os.environ.get("WHISPER_OX_API_KEY")
        header = os.environ.get("WHISPER_OX_API_KEY_HEADER", "X-API-Key")
        return cls(
            endpoint=os.environ.get("WHISPER_OX_ENDPOINT", "http://127.0.0.1:8000/transcribe"),
            headers={header: key} if key else {},
            chunk_seconds=float(os.environ.get("WHISPER_CHUNK_DURATION_SECONDS", "15")),
            mode=os.environ.get("SPEECH_TO_TEXT_MODE", "whisper"),
        )

    @property
    def stream_url(self) -> str:
        """Where the server takes live sessions."""
        place = urlsplit(self.endpoint)
        return f"{place.scheme.replace('http', 'ws')}://{place.netloc}/v1/stream"


class Failed(Exception):
    """What to tell whoever dictates."""


async def heard(socket: WebSocket) -> AsyncIterator[bytes]:
    """The browser's audio, until it says ``stop`` or leaves."""
    while (message := await socket.receive())["type"] == "websocket.receive":
        if message.get("text") == "stop":
            return
        yield message.get("bytes") or b""


async def chunks(audio: AsyncIterator[bytes], seconds: float) -> AsyncIterator[bytes]:
    """``audio`` in pieces of ``seconds``, the last one shorter; 0: in one piece."""
    size, held = round(seconds * RATE_HZ) * 2, bytearray()
    async for data in audio:
        held += data
        while size and len(held) >= size:
            yield bytes(held[:size])
            del held[:size]
    if held:
        yield bytes(held)


def wav(pcm: bytes) -> bytes:
    """A WAV file of 16 kHz mono PCM16."""
    file = io.BytesIO()
    with wave.open(file, "wb") as audio:
        audio.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        audio.writeframes(pcm)
    return file.getvalue()


class Bridge:
    """Serves browsers with one connection pool to Whisper OX."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._headers = settings.headers
        self._client = httpx.AsyncClient(headers=self._headers, timeout=120)

    async def serve(self, socket: WebSocket) -> None:
        """One dictation. ``mode`` and ``language`` may be in the query."""
        await socket.accept()
        mode = socket.query_params.get("mode", self._settings.mode)
        language = socket.query_params.get("language")
        with suppress(WebSocketDisconnect):
            try:
                await (self._live if mode == "live" else self._chunked)(socket, language)
                await socket.send_json({"type": "done"})
            except Failed as error:
                await socket.send_json({"type": "error", "message": str(error)})
            await socket.close()

    async def _chunked(self, socket: WebSocket, language: str | None) -> None:
        """Post each chunk while the next one is recorded; send the texts in their order."""
        calls: asyncio.Queue[asyncio.Task[str] | None] = asyncio.Queue()

        async def record() -> None:
            try:
                async for pcm in chunks(heard(socket), self._settings.chunk_seconds):
                    calls.put_nowait(asyncio.create_task(self._transcribe(wav(pcm), language)))
            finally:
                calls.put_nowait(None)

        recording = asyncio.create_task(record())
        try:
            while (call := await calls.get()) is not None:
                if text := await call:
                    await send_text(socket, text, is_final=True)
        finally:
            recording.cancel()
            for call in filter(None, (calls.get_nowait() for _ in range(calls.qsize()))):
                call.cancel()

    async def _transcribe(self, audio: bytes, language: str | None) -> str:
        """The contract: a WAV and ``generate_kwargs`` in a form; segments in the answer."""
        asked = json.dumps({"language": language, "vad_filter": True, "beam_size": 5})
        files = {"file": ("chunk.wav", audio)}
        problem = ""
        for wait_seconds in WAITS_SECONDS:
            await asyncio.sleep(wait_seconds)
            try:
                answer = await self._client.post(
                    self._settings.endpoint, files=files, data={"generate_kwargs": asked}
                )
            except httpx.TransportError as error:
                problem = f"Whisper OX cannot be reached: {type(error).__name__}"
                continue
            if answer.is_success:
                return " ".join(one["text"].strip() for one in answer.json()["segments"])
            problem = f"Whisper OX answers {answer.status_code}: {answer.text[:300]}"
            if answer.status_code not in BUSY:
                break
            await asyncio.sleep(float(answer.headers.get("Retry-After", 0)))
        raise Failed(problem)

    async def _live(self, socket: WebSocket, language: str | None) -> None:
        """Pass audio on as it comes, and partial and final texts back."""
        query = urlencode({"rate": RATE_HZ} | ({"language": language} if language else {}))
        url = f"{self._settings.stream_url}?{query}"
        try:
            async with websockets.connect(url, additional_headers=self._headers) as server:
                passing = asyncio.create_task(self._pass_on(socket, server))
                try:
                    async for message in server:
                        event: dict[str, Any] = json.loads(message)
                        kind = event["type"]
                        if kind == "error":
                            raise Failed(f"Whisper OX: {event['message']}")
                        if kind in ("partial", "final"):
                            await send_text(socket, event["text"], is_final=kind == "final")
                finally:
                    passing.cancel()
        except (OSError, websockets.WebSocketException) as error:
            raise Failed(f"Whisper OX: {error}") from error

    async def _pass_on(self, socket: WebSocket, server: websockets.ClientConnection) -> None:
        async for pcm in heard(socket):
            await server.send(pcm)
        await server.send('{"type": "finish"}')


async def send_text(socket: WebSocket, text: str, *, is_final: bool) -> None:
    """Tell the browser what was said."""
    await socket.send_json({"type": "transcript", "text": text, "is_final": is_final})


async def page(request: Request) -> FileResponse:
    """A page with a microphone button."""
    return FileResponse(PAGE)


if __name__ == "__main__":
    speech = WebSocketRoute("/ws/v1/speech-to-text", Bridge(Settings.from_environment()).serve)
    app = Starlette(routes=[Route("/", page), speech])
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8080")))
