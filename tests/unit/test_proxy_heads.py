"""Heads of requests are bounded in size and time, on real connections to a real uvicorn."""

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from websockets.sync.client import connect

from serve_app.proxy.heads import BoundedHeads, bound_heads
from serve_app.settings import ProxySettings
from tests.conditions import eventually

HEAD_SECONDS = 0.2
MAX_HEAD_BYTES = 8_192
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"


async def slow(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the length of the body, refuses it under /no; a WebSocket it echoes once."""
    if scope["type"] == "websocket":
        echo = WebSocket(scope, receive, send)
        await echo.accept()
        await echo.send_text(await echo.receive_text())
        await echo.close()
        return
    if scope["path"] == "/no":
        await PlainTextResponse("no", 401)(scope, receive, send)
        return
    body = await Request(scope, receive).body()
    await PlainTextResponse(str(len(body)))(scope, receive, send)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WHISPER_OX_HEAD_SECONDS", "60")
        patch.setenv("WHISPER_OX_MAX_HEAD_BYTES", str(MAX_HEAD_BYTES))
        patch.setitem(uvicorn.config.HTTP_PROTOCOLS, "auto", "replaced by bound_heads")
        patch.setattr(BoundedHeads, "limits", ProxySettings())
        bound_heads()
        config = uvicorn.Config(
            slow, port=0, lifespan="off", log_config=None, timeout_keep_alive=60
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        eventually(lambda: server.started)
        yield server.servers[0].sockets[0].getsockname()[1]
        server.should_exit = True
        thread.join()


@pytest.fixture
def hurried(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads have to come at once."""
    limits = ProxySettings(head_seconds=HEAD_SECONDS, max_head_bytes=MAX_HEAD_BYTES)
    monkeypatch.setattr(BoundedHeads, "limits", limits)


@pytest.fixture
def connection(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        yield connection


def rest_of(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    return b"".join(iter(lambda: connection.recv(65_536), b""))


def refusal(connection: socket.socket) -> tuple[int, dict[str, Any]]:
    head, _, body = rest_of(connection).partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    error: dict[str, Any] = json.loads(body)["error"]
    assert f"x-request-id: {error['request_id']}" in lines
    assert {"connection: close", "content-type: application/json"} <= set(lines)
    return int(lines[0].split()[1]), error


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("start", [b"", b"\r\n", b"POST / HT", HEAD, HEAD + b"Content-Length: 5"])
def test_a_head_that_stops_is_given_up(connection: socket.socket, start: bytes) -> None:
    connection.sendall(start)
    status, error = refusal(connection)
    assert (status, error["code"]) == (408, "upload_timeout")


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("rest", [b"GET / HT", b"\r\n"])
def test_a_second_head_that_stops_is_given_up(connection: socket.socket, rest: bytes) -> None:
    connection.sendall(HEAD + b"Content-Length: 2\r\n\r\nhi")
    assert b"200 OK" in connection.recv(65_536)
    connection.sendall(rest)
    assert refusal(connection)[0] == 408


def test_a_head_without_an_end_is_refused_while_it_comes(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"X-Endless: " + b"y" * MAX_HEAD_BYTES)
    status, error = refusal(connection)
    assert (status, error["code"]) == (431, "headers_too_large")


def test_a_body_is_no_head(connection: socket.socket) -> None:
    size = 10 * MAX_HEAD_BYTES
    connection.sendall(HEAD + f"Content-Length: {size}\r\n\r\n".encode() + bytes(size))
    assert connection.recv(65_536).endswith(str(size).encode())


def refused_upload(connection: socket.socket, n_bytes: int) -> None:
    """The head of a request that has its answer before its body comes."""
    connection.sendall(
        f"POST /no HTTP/1.1\r\nHost: x\r\nContent-Length: {n_bytes}\r\n\r\n".encode()
    )
    assert b"401 Unauthorized" in connection.recv(65_536)


def test_the_body_of_a_refused_request_is_thrown_away(
    connection: socket.socket,
) -> None:
    size = 2_000_000  # more than one piece
    refused_upload(connection, size)
    connection.sendall(bytes(size))
    connection.sendall(HEAD + b"Content-Length: 2\r\n\r\nhi")
    answer = connection.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"2")


@pytest.mark.usefixtures("hurried")
def test_the_body_of_a_refused_request_has_little_time_and_no_second_answer(
    connection: socket.socket,
) -> None:
    refused_upload(connection, 1_000)
    connection.sendall(b"slowly")
    assert rest_of(connection) == b""


def test_a_request_in_progress_does_not_get_the_answer_to_the_next(
    connection: socket.socket,
) -> None:
    connection.sendall(HEAD + b"Content-Length: 2\r\n\r\nhi\x00no HTTP\r\n\r\n")
    assert b"invalid_http" not in rest_of(connection)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x00\x01\x02 hello\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        HEAD + b"No colon\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(connection: socket.socket, request_bytes: bytes) -> None:
    connection.sendall(request_bytes)
    status, error = refusal(connection)
    assert (status, error["code"]) == (400, "invalid_http")


@pytest.mark.usefixtures("hurried")
def test_a_slow_body_and_a_slow_answer_have_no_limit_here(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"Content-Length: 2\r\n\r\nh")
    connection.settimeout(2 * HEAD_SECONDS)
    with pytest.raises(TimeoutError):
        connection.recv(65_536)
    connection.settimeout(30)
    connection.sendall(b"i")
    assert connection.recv(65_536).endswith(b"2")


@pytest.mark.usefixtures("hurried")
def test_an_idle_web_socket_has_no_limit_here(port: int) -> None:
    with connect(f"ws://127.0.0.1:{port}/") as client:
        with pytest.raises(TimeoutError):
            client.recv(timeout=2 * HEAD_SECONDS)
        client.send("still here")
        assert client.recv() == "still here"
