"""A client that goes away takes its work with it."""

import http.client
import json

import httpx
import pytest

from loadtest.server import Server
from tests.conditions import eventually
from tests.contract.wire import post, words_of
from tests.resilience.conftest import hellos
from tests.resilience.processes import cpu_seconds, replica

SEQUENTIAL = {"batch_size": 1, "vad_filter": False, "temperature": 0}


@pytest.mark.parametrize(
    ("clients", "seconds"),
    [(1, 1200), (16, 90)],  # far more than is decoded before the test gives up
    ids=["a-long-file", "many-chunks"],  # by reference and inside the call
)
def test_clients_that_leave_free_the_engine(
    server: Server, hello: bytes, clients: int, seconds: int
) -> None:
    transcriber = eventually(lambda: replica(server.process.pid, "Transcriber"))
    before = cpu_seconds(transcriber)
    audio = hellos(seconds)
    connections = [send_without_waiting(server, audio) for _ in range(clients)]
    eventually(lambda: cpu_seconds(transcriber) > before + 2)
    for connection in connections:
        connection.close()
    eventually(lambda: transcriber.cpu_percent(interval=0.5) < 20, within_seconds=15)
    assert words_of(post(f"{server.url}/transcribe", hello)) == "hello world"
    assert server.log.read_text().count(f"audio_s={seconds}") < clients  # what was all answered


def send_without_waiting(server: Server, audio: bytes) -> http.client.HTTPConnection:
    """Upload a whole request; the answer is not read."""
    request = httpx.Request(
        "POST",
        f"{server.url}/transcribe",
        files={"file": ("long.wav", audio)},
        data={"generate_kwargs": json.dumps(SEQUENTIAL)},
    )
    connection = http.client.HTTPConnection(request.url.host, request.url.port, timeout=60)
    connection.request("POST", "/transcribe", request.read(), dict(request.headers))
    return connection
