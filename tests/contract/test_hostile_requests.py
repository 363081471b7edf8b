"""Hostile requests to a running server: none breaks it, and none costs it much.

``WHISPER_OX_EXAMPLES=5000 pytest tests/contract/test_hostile_requests.py`` is the long run.
"""

import json
import re
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import httpx
import psutil
import pytest
from hypothesis import given

from loadtest.server import Server
from tests import hostile
from tests.contract.wire import post, words_of
from tests.resilience.processes import family, title

ANSWER_SECONDS = 60.0
CPU_SECONDS_FOR_EACH = 0.5
"""CPU seconds of all processes of the server, on average. Most go to valid requests."""

MEBIBYTES = 150
"""MiB that a run may add to the server's memory, including heaps and buffers that are kept."""

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")


@pytest.fixture(scope="module")
def watched(tiny_en: Server, hello: bytes) -> Iterator[Server]:
    """A server that is as healthy, fast and small after a test run as before."""
    post(f"{tiny_en.url}/transcribe", hello)
    seconds, mebibytes, replicas = used(tiny_en)
    outcomes.clear()
    yield tiny_en
    seconds_after, mebibytes_after, replicas_after = used(tiny_en)
    n_requests = sum(outcomes.values())
    print(
        f"\n{n_requests} requests: {dict(outcomes.most_common())}, "
        f"{(seconds_after - seconds) / n_requests:.3f} CPU seconds each, "
        f"{mebibytes_after - mebibytes:+.0f} MiB"
    )
    assert words_of(post(f"{tiny_en.url}/transcribe", hello)) == "hello world"
    assert len(replicas) == 2
    assert replicas_after == replicas  # none died
    assert seconds_after - seconds < CPU_SECONDS_FOR_EACH * n_requests
    assert mebibytes_after - mebibytes < MEBIBYTES


outcomes: Counter[str] = Counter()


def used(server: Server) -> tuple[float, float, set[int]]:
    """CPU seconds and private MiB of a server's processes, and the ids of its replicas."""
    seconds, mebibytes, replicas = 0.0, 0.0, set()
    for process in family(server.process.pid):
        with suppress(psutil.Error):
            if "ServeReplica" in title(process):
                replicas.add(process.pid)
            memory, times = process.memory_info(), process.cpu_times()
            seconds += times.user + times.system
            mebibytes += (memory.rss - memory.shared) / 2**20
    return seconds, mebibytes, replicas


def outcome(server: Server, sent: bytes, *, ends: bool) -> str:
    """Status and code of the first answer, or "closed". Fails for a connection that hangs."""
    url = httpx.URL(server.url)
    with socket.create_connection((url.host, url.port or 80), ANSWER_SECONDS) as connection:
        with suppress(OSError):  # a server may answer and close before it has read all
            connection.sendall(sent)
            if ends:
                connection.shutdown(socket.SHUT_WR)
        answer = b""
        with suppress(ConnectionError):
            while len(answer) < 65_536 and (piece := connection.recv(65_536)):
                answer += piece
    status = _STATUS.match(answer)
    if status is None:
        return "not HTTP/1" if answer else "closed"
    code = ""
    with suppress(ValueError, KeyError, TypeError):
        code = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"]
    return f"{status[1].decode()} {code}".strip()


@hostile.examples(15)
@given(hostile.whole_requests())
def test_a_whole_request_is_answered_and_never_with_5xx(watched: Server, sent: bytes) -> None:
    found = outcome(watched, sent, ends=False)
    outcomes[found] += 1
    assert found[:1] in ("2", "4") or found == "closed"


@hostile.examples(15)
@given(hostile.broken_requests)
def test_broken_http_is_answered_or_cut_off_and_never_with_5xx(
    watched: Server, sent: bytes
) -> None:
    found = outcome(watched, sent, ends=True)
    outcomes[found] += 1
    assert not found.startswith("5")
