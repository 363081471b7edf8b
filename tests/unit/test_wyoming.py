"""Wyoming's clients in front of a server that refuses them."""

import asyncio
import json
import math
from http import HTTPStatus
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from loadtest.server import free_port
from serve_app.wyoming import Server, serve_wyoming

NAME = "patient Meier"


def refuse(connection: ServerConnection, request: Request) -> Response:
    """Answer a handshake as the server does."""
    error = {"code": "invalid_request", "message": f"prompt: got '<|en|> {NAME}'."}
    return connection.respond(HTTPStatus.BAD_REQUEST, json.dumps({"error": error}))


async def fail(connection: ServerConnection) -> None:
    """End a session as the server does."""
    error = {"type": "error", "code": "quota_exceeded", "message": f"{NAME} has spoken enough."}
    await connection.send(json.dumps(error))


async def told(http_port: int, *events: dict[str, Any]) -> str:
    """All that a client of Wyoming gets for ``events``."""
    port, server = free_port(), Server(f"http://127.0.0.1:{http_port}", {})
    listening = asyncio.create_task(serve_wyoming(server, "127.0.0.1", port))
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            break
        except ConnectionRefusedError:
            await asyncio.sleep(0.01)
    writer.writelines(json.dumps(event).encode() + b"\n" for event in events)
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    listening.cancel()
    return answer.decode()


@pytest.mark.parametrize(
    ("refusing", "audio", "code"),
    [
        (True, {}, "invalid_request"),
        (False, {}, "quota_exceeded"),
        (False, {"width": NAME}, "invalid_request"),
    ],
)
def test_a_refusal_quotes_its_cause_to_the_client_and_not_in_the_log(
    refusing: bool, audio: dict[str, Any], code: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> str:
        async with serve(fail, "127.0.0.1", 0, process_request=refuse if refusing else None) as it:
            port = it.sockets[0].getsockname()[1]
            return await told(port, {"type": "audio-start", "data": audio})

    caplog.set_level("WARNING", "whisper_ox")
    assert NAME in asyncio.run(scene())
    assert NAME not in caplog.text
    assert code in caplog.text


def test_half_of_a_surrogate_pair_is_passed_on_and_told_back() -> None:
    asked = {"type": "transcribe", "data": {"language": "\ud800", "transcript_terms": ["\ud800"]}}

    async def scene() -> str:
        async with serve(fail, "127.0.0.1", 0) as it:
            port = it.sockets[0].getsockname()[1]
            return await told(port, asked, {"type": "audio-start"})

    answer = asyncio.run(scene())
    assert '{"language": "\\ud800"}' in answer
    assert NAME in answer


def test_a_server_that_is_not_there_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING", "whisper_ox"):
        answer = asyncio.run(told(free_port(), {"type": "describe"}))
    assert "does not answer" in answer
    assert "not_ready" in caplog.text


def test_clients_who_ask_together_what_is_served_cost_one_question() -> None:
    n_asked = 0

    def answer(connection: ServerConnection, request: Request) -> Response:
        nonlocal n_asked
        n_asked += request.path == "/readyz"
        ready = {"status": "ready", "model": "tiny.en", "multilingual": False}
        return connection.respond(HTTPStatus.OK, json.dumps(ready))

    async def scene() -> str:
        async with serve(fail, "127.0.0.1", 0, process_request=answer) as it:
            port = it.sockets[0].getsockname()[1]
            return await told(port, *[{"type": "describe"}] * 50, {"type": "audio-start"})

    assert asyncio.run(scene()).count('"name": "tiny.en"') == 50
    assert n_asked < 10  # once a second


@pytest.mark.parametrize("length", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("name", ["data_length", "payload_length"])
def test_a_length_that_is_no_number_of_bytes_is_refused(name: str, length: float) -> None:
    assert "not an event" in asyncio.run(told(free_port(), {"type": "describe", name: length}))
