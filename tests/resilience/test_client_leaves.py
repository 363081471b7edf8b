"""A client that goes away takes its work with it."""

import http.client
import json

import httpx
import psutil
import pytest

from loadtest.server import Server
from tests.conditions import eventually
from tests.contract.wire import post, words_of
from tests.resilience.conftest import TRANSCRIBER, hellos
from tests.resilience.processes import cpu_seconds, family, replica, title
from tests.unit.bombs import comments

SEQUENTIAL = {"batch_size": 1, "vad_filter": False, "temperature": 0}


@pytest.mark.parametrize(
    ("clients", "seconds"),
    [
        # Far more than is decoded before the test gives up, by reference and inside the call.
        pytest.param(1, 1200, id="a-long-file", marks=pytest.mark.long),
        pytest.param(16, 90, id="many-chunks"),
    ],
)
def test_clients_that_leave_free_the_engine(
    server: Server, hello: bytes, clients: int, seconds: int
) -> None:
    transcriber = eventually(lambda: replica(server.process.pid, TRANSCRIBER))
    before = cpu_seconds(transcriber)
    audio = hellos(seconds)
    connections = [send_without_waiting(server, audio) for _ in range(clients)]
    eventually(lambda: cpu_seconds(transcriber) > before + 2)
    for connection in connections:
        connection.close()
    eventually(lambda: transcriber.cpu_percent(interval=0.5) < 20, within_seconds=15)
    assert words_of(post(f"{server.url}/transcribe", hello)) == "hello world"
    assert server.log.read_text().count(f"audio_s={seconds}") < clients  # what was all answered


def test_a_client_that_leaves_ends_the_decoding_of_its_file(server: Server) -> None:
    def decoding() -> psutil.Process | None:
        found = (p for p in family(server.process.pid) if "serve_app.audio.zygote" in title(p))
        return next((p for p in found if p.cpu_times().user > 0.5 and p.children() == []), None)

    assert eventually(lambda: replica(server.process.pid, "Ingress"))
    connection = send_without_waiting(server, comments())
    worker = eventually(decoding)
    connection.close()
    eventually(lambda: not worker.is_running(), within_seconds=15)
    assert "a worker ended without an answer" not in server.log.read_text()  # no limit did it


def send_without_waiting(server: Server, audio: bytes) -> http.client.HTTPConnection:
    """Upload a whole request without reading the answer."""
    request = httpx.Request(
        "POST",
        f"{server.url}/transcribe",
        files={"file": ("long.wav", audio)},
        data={"generate_kwargs": json.dumps(SEQUENTIAL)},
    )
    connection = http.client.HTTPConnection(request.url.host, request.url.port, timeout=60)
    connection.request("POST", "/transcribe", request.read(), dict(request.headers))
    return connection
