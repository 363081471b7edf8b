"""Broken requests to a running server, each on a connection of its own."""

import asyncio
import json
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

from loadtest.fuzz.request_inputs import broken_request
from loadtest.fuzz.tally import Attempt, Tally

ANSWER_SECONDS = 120.0
"""For an answer to a whole request, and for the end of a connection that the client closed."""

_MORE_SECONDS = 1.0
"""For an answer to what may be half a request; then the client closes its side."""

_MOST_ANSWER_BYTES = 4 * 1024 * 1024
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")
_HTTP2_SETTINGS = re.compile(rb"\x00.{2}\x04\x00\x00{4}", re.DOTALL)
"""What a server that speaks HTTP/2, as HAProxy does, answers its preface with (RFC 9113, 6.5)."""


async def fuzz_server(
    url: str, inputs: int, seed: int, clients: int = 16, folder: Path | None = None
) -> Tally:
    """Send ``inputs`` requests from ``clients`` at once.

    Outcomes are the status and error code, or how the connection ended. A 5xx is a failure, and so
    are a connection that neither answers nor ends, a refused one, and a whole request without an
    answer.
    """
    tally = Tally("http", seed, folder)
    numbers = iter(range(inputs))
    await asyncio.gather(*(_client(url, numbers, tally) for _ in range(clients)))
    return tally


async def _client(url: str, numbers: Iterator[int], tally: Tally) -> None:
    for number in numbers:
        if tally.has_too_many_failures:
            return
        raw, is_whole = broken_request(Random(f"{tally.seed}/http/{number}"))
        began = time.perf_counter()
        outcome, failure = await _outcome(url, raw, is_whole)
        seconds = time.perf_counter() - began
        tally.note(Attempt(number, outcome, seconds, failure), raw)


async def _outcome(url: str, raw: bytes, is_whole: bool) -> tuple[str, str]:
    """Name of the outcome, and why it may not be."""
    address = urlsplit(url)
    try:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
    except OSError as error:
        return "no connection", str(error)
    try:
        answer = await _answer(reader, writer, raw, is_whole)
    except asyncio.TimeoutError:
        return "hang", f"neither an answer nor an end for {ANSWER_SECONDS:.0f} s"
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    if not answer:
        return "closed", "a whole request without an answer" if is_whole else ""
    if _HTTP2_SETTINGS.match(answer):
        return "HTTP/2", ""
    status = _STATUS.match(answer)
    if status is None:
        return "no HTTP", repr(answer[:200])
    name = f"{status[1].decode()} {_error_code(answer)}".strip()
    return name, repr(answer[:2_000]) if status[1] >= b"500" else ""


async def _answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, raw: bytes, is_whole: bool
) -> bytes:
    """The first final answer, b"" without one. Raises ``asyncio.TimeoutError``."""
    sending = asyncio.ensure_future(_send(writer, raw))
    try:
        try:
            head = await asyncio.wait_for(
                _head(reader), ANSWER_SECONDS if is_whole else _MORE_SECONDS
            )
        except asyncio.TimeoutError:
            if is_whole:
                raise
            with suppress(OSError):
                writer.write_eof()
            head = await asyncio.wait_for(_head(reader), ANSWER_SECONDS)
        return head + await asyncio.wait_for(_body(reader, head), ANSWER_SECONDS)
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def _send(writer: asyncio.StreamWriter, raw: bytes) -> None:
    with suppress(OSError):  # a server may answer and close before it has read all
        writer.write(raw)
        await writer.drain()


async def _head(reader: asyncio.StreamReader) -> bytes:
    """Head of the first answer that is not 1xx; what came of it if the connection ends."""
    head = b""
    while not head or head.startswith(b"HTTP/1.1 1"):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as cut:
            return cut.partial
        except OSError:
            return b""
    return head


async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    """Body of an error under ``head``; that of any other answer is left unread."""
    length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    if length is None or not _is_error(head):
        return b""
    try:
        return await reader.readexactly(min(int(length[1]), _MOST_ANSWER_BYTES))
    except asyncio.IncompleteReadError as cut:
        return cut.partial
    except OSError:
        return b""


def _is_error(answer: bytes) -> bool:
    status = _STATUS.match(answer)
    return status is not None and status[1] >= b"400"


def _error_code(answer: bytes) -> str:
    """The error's code; "(foreign)" where the body of an error is not ours."""
    if not _is_error(answer):
        return ""
    body = answer.partition(b"\r\n\r\n")[2]
    try:
        return str(json.loads(body)["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return "(foreign)" if body else "(empty)"
