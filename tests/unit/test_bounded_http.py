"""Heads and trailers without an end, sent to a real uvicorn."""

import asyncio
from collections.abc import Iterable

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from serve_app.serving.bounded_http import MAX_HEAD_BYTES, bound_heads

MEBIBYTE = 2**20
POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
CLOSE = POST + b"Connection: close\r\nContent-Length: 5\r\n"


async def counting(scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    await PlainTextResponse(f"{len(body)} bytes")(scope, receive, send)


def exchange(pieces: Iterable[bytes]) -> tuple[bytes, int]:
    """The answer to ``pieces``, sent until the server closes, and how many bytes it let come."""

    async def run() -> tuple[bytes, int]:
        bound_heads()
        server = uvicorn.Server(
            uvicorn.Config(counting, port=0, lifespan="off", log_config=None, access_log=False)
        )
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0)
        port = server.servers[0].sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        n_sent = 0
        for piece in pieces:
            if writer.is_closing() or reader.at_eof():
                break
            writer.write(piece)
            n_sent += len(piece)
            try:
                await writer.drain()
            except ConnectionError:
                break
        try:
            answer = await reader.read()
        except ConnectionError:  # what was sent after the server had closed
            answer = b""
        writer.close()
        server.should_exit = True
        await serving
        return answer, n_sent

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("start", "unit"),
    [
        (POST, b"X-Filler: yyyyyyyyyyyyyyyyyyyyy\r\n"),
        (POST + b"X-Filler: ", b"y" * 32),
        (b"POST /", b"y" * 32),
        (CHUNKED + b"5\r\nhello\r\n0\r\n", b"X-Trailer: yyyyyyyyyyyyyyyyyyyy\r\n"),
        (CHUNKED + b"5;x=", b"y" * 32),
    ],
    ids=["lines", "one-line", "path", "trailers", "chunk-extension"],
)
def test_what_has_no_end_is_refused_at_its_bound(start: bytes, unit: bytes) -> None:
    flood = (unit * 2_048 for _ in range(500))
    answer, n_sent = exchange([start, *flood])
    assert answer.startswith(b"HTTP/1.1 400 ") or not answer
    assert n_sent < 16 * MEBIBYTE  # the buffers of both ends


def test_up_to_the_bound_everything_is_taken() -> None:
    answer, _ = exchange([CLOSE + b"X-Filler: " + b"y" * (MAX_HEAD_BYTES - 200), b"\r\n\r\nhello"])
    assert answer.endswith(b"\r\n\r\n5 bytes")


def test_a_body_in_many_chunks_is_not_a_head() -> None:
    chunk = b"1\r\ny\r\n" * 20_000
    close = CHUNKED.replace(b"Host", b"Connection: close\r\nHost")
    answer, _ = exchange([close, *[chunk] * 5, b"0\r\n\r\n"])
    assert answer.endswith(b"100000 bytes")
