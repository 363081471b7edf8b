"""A client that goes away takes its work with it."""

import http.client
import json

import httpx

from loadtest.server import Server
from tests.conditions import eventually
from tests.contract.wire import post, words_of
from tests.resilience.conftest import hellos
from tests.resilience.processes import cpu_seconds, replica

LONG_SECONDS = 1200
"""Far more than a minute of decoding, one window after the other."""
SEQUENTIAL = {"batch_size": 1, "vad_filter": False, "temperature": 0}


def test_a_client_that_leaves_frees_the_engine(server: Server, hello: bytes) -> None:
    transcriber = eventually(lambda: replica(server.process.pid, "Transcriber"))
    before = cpu_seconds(transcriber)
    connection = send_without_waiting(server, hellos(LONG_SECONDS))
    eventually(lambda: cpu_seconds(transcriber) > before + 2)
    connection.close()
    eventually(lambda: transcriber.cpu_percent(interval=0.5) < 20, within_seconds=20)
    assert words_of(post(f"{server.url}/transcribe", hello)) == "hello world"
    assert f"audio_s={LONG_SECONDS}" not in server.log.read_text()


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
