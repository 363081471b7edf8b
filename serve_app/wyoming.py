"""Home Assistant's Wyoming protocol over TCP, in front of a server: a client of ``/v1/stream``.

An event is a line of JSON, then as many bytes of further data in JSON and of payload as the line
says. Each recording is a live session. The protocol has no API keys, so the server's is sent.
"""

import asyncio
import json
import logging
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import anyio
import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException

from serve_app import __version__
from serve_app.errors import InvalidRequest, InvalidSetting, NotReady, WhisperOxError
from serve_app.fresh import Fresh
from serve_app.options.language import LANGUAGES
from serve_app.settings import ApiKey

logger = logging.getLogger("whisper_ox.wyoming")

MOST_DATA_BYTES = 64 * 1024
MOST_PAYLOAD_BYTES = 1024 * 1024
IDLE_SECONDS = 60.0
LINGER_SECONDS = 5.0
"""How long what a refused client still sends is read and dropped. If the connection were closed
with something unread, TCP would reset it, and the client might never see why."""

LONGEST_PROMPT = 1000

Data = dict[str, Any]


def key_headers(api_key: ApiKey) -> dict[str, str]:
    """The headers that open the server to Wyoming's clients.

    Raises ``InvalidSetting`` if a key is needed and there is only a file of keys.
    """
    if api_key.keys_file is not None and not api_key.key:
        raise InvalidSetting(
            "wyoming.port needs WHISPER_API_KEY: Wyoming's clients send no key, so this one is "
            "used for them. A keys file alone is not enough.",
            field="wyoming.port",
        )
    return {api_key.header: api_key.key.strip()} if api_key.key else {}


@dataclass(frozen=True)
class Server:
    """Where the HTTP server is, ``http://host:port``, and the headers that open it."""

    url: str
    headers: Mapping[str, str]

    async def info(self) -> Data:
        """What is served, as a Wyoming ``info`` event says it."""
        # There is no TLS, and loading the certificates for it would take tens of milliseconds.
        open_client = httpx.AsyncClient(headers=dict(self.headers), trust_env=False, verify=False)
        async with open_client as client:
            ready = (await client.get(f"{self.url}/readyz")).raise_for_status().json()
        about = {
            "attribution": {"name": "OpenAI", "url": "https://github.com/openai/whisper"},
            "installed": True,
        }
        model = {
            "name": ready["model"],
            "description": "Whisper",
            "version": None,
            "languages": [*LANGUAGES] if ready["multilingual"] else ["en"],
        }
        program = {
            "name": "whisper-ox",
            "description": "Whisper OX",
            "version": __version__,
            "models": [model | about],
            "supports_transcript_streaming": True,
        }
        return {"asr": [program | about]}

    def session(self, wishes: Data, audio: Data) -> "connect":
        """A live session for audio as an ``audio-start`` describes it."""
        if audio.get("width", 2) != 2:
            raise InvalidRequest(f"width: got {audio['width']!r}; allowed: 2 bytes a sample.")
        names = [*_texts(wishes, "transcript_names"), *_texts(wishes, "transcript_terms")]
        query = {
            "rate": audio.get("rate", 16_000),
            "channels": audio.get("channels", 1),
            "partials": "false",
            "language": wishes.get("language"),
            "prompt": ", ".join(names)[:LONGEST_PROMPT],
        }
        told = urlencode({n: value for n, value in query.items() if value}, errors="replace")
        url = f"{self.url.replace('http', 'ws', 1)}/v1/stream?{told}"
        # The server answers pings only after the audio before them, which it may hold back.
        return connect(url, additional_headers=self.headers, proxy=None, ping_timeout=None)


class _Client:
    """One connection."""

    def __init__(
        self,
        server: Server,
        info: Fresh[Data],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._server = server
        self._info = info
        self._reader = reader
        self._writer = writer
        self._wishes: Data = {}

    async def serve(self) -> None:
        """Answer until the client leaves or does something wrong."""
        try:
            while (event := await self._read()) is not None:
                kind, data, _ = event
                if kind == "describe":
                    await self._write("info", await self._info.get())
                elif kind == "transcribe":
                    self._wishes = data
                elif kind == "audio-start":
                    async with self._server.session(self._wishes, data) as session:
                        await self._hear(session)
        except InvalidStatus as refused:
            await self._fail(_error(refused))
        except WhisperOxError as error:
            await self._fail(error)
        except (WebSocketException, httpx.HTTPError):
            await self._fail(NotReady("The server does not answer."))
        except OSError:
            pass  # it has left, or sends nothing any more
        finally:
            self._writer.close()

    async def _hear(self, session: ClientConnection) -> None:
        """Pass on one recording and write down what is heard of it."""
        works = (self._tell(session), self._pass_on(session))
        tasks = [asyncio.create_task(work) for work in works]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            if not task.cancelled():
                task.result()

    async def _pass_on(self, session: ClientConnection) -> None:
        while (event := await self._read()) is not None:
            if event[0] == "audio-chunk":
                await session.send(event[2])
            elif event[0] == "audio-stop":
                await session.send('{"type": "finish"}')
                return
        raise ConnectionResetError

    async def _tell(self, session: ClientConnection) -> None:
        texts: list[str] = []
        language = self._wishes.get("language")
        await self._write("transcript-start", {"language": language} if language else {})
        async for message in session:
            event = json.loads(message)
            if event["type"] == "final" and event["text"]:
                language = event["language"]
                text = f" {event['text']}" if texts else event["text"]
                texts.append(text)
                await self._write("transcript-chunk", {"text": text})
            elif event["type"] == "error":
                raise WhisperOxError(event["message"], code=event["code"])
        told = {"text": "".join(texts)} | ({"language": language} if language else {})
        await self._write("transcript", told)
        await self._write("transcript-stop", {})

    async def _fail(self, error: WhisperOxError) -> None:
        # Not the message, which may quote words to expect.
        logger.warning("a Wyoming client was refused: %s", error.code)
        with suppress(OSError), anyio.move_on_after(LINGER_SECONDS):
            await self._write("error", {"text": error.message})
            self._writer.write_eof()
            while await self._reader.read(MOST_DATA_BYTES):
                pass

    async def _read(self) -> tuple[str, Data, bytes] | None:
        """Type, data and payload of the next event; None once the client has left."""
        try:
            with anyio.fail_after(IDLE_SECONDS):
                return await self._read_event()
        except asyncio.IncompleteReadError:
            return None

    async def _read_event(self) -> tuple[str, Data, bytes] | None:
        try:
            line = await self._reader.readline()
            if not line:
                return None
            head = json.loads(line)
            data = dict(head.get("data") or {})
            more = await self._read_bytes(head, "data_length", MOST_DATA_BYTES)
            data.update(json.loads(more or b"{}"))
            payload = await self._read_bytes(head, "payload_length", MOST_PAYLOAD_BYTES)
            return str(head["type"]), data, payload
        except (ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError):
            raise InvalidRequest("This is not an event of the Wyoming protocol.") from None

    async def _read_bytes(self, head: Data, name: str, most: int) -> bytes:
        n_bytes = int(head.get(name) or 0)
        if not 0 <= n_bytes <= most:
            raise InvalidRequest(f"{name}: got {n_bytes}; allowed: 0 to {most}.")
        return await self._reader.readexactly(n_bytes)

    async def _write(self, kind: str, data: Data) -> None:
        body = json.dumps(data).encode()
        line = json.dumps({"type": kind, "version": __version__, "data_length": len(body)})
        self._writer.write(f"{line}\n".encode() + body)
        await self._writer.drain()


async def serve_wyoming(server: Server, host: str, port: int) -> None:
    """Listen until cancelled."""
    info = Fresh(server.info)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _Client(server, info, reader, writer).serve()

    async with await asyncio.start_server(answer, host, port, limit=MOST_DATA_BYTES) as listening:
        await listening.serve_forever()


def start_wyoming(server: Server, host: str, port: int) -> None:
    """Listen in a thread of its own until the process ends."""
    listening = serve_wyoming(server, host, port)
    threading.Thread(target=asyncio.run, args=(listening,), name="wyoming", daemon=True).start()


def _texts(wishes: Data, name: str) -> list[str]:
    value = wishes.get(name)
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []


def _error(refused: InvalidStatus) -> WhisperOxError:
    """The server's own error."""
    try:
        error = json.loads(refused.response.body or b"")["error"]
        return WhisperOxError(str(error["message"]), code=str(error["code"]))
    except (ValueError, KeyError, TypeError):
        return NotReady(f"The server answers {refused.response.status_code}.")
