"""How long ``/health`` takes while one client attacks the server with cheap requests.

``python -m loadtest.held_loop [--proxy haproxy] [--attack NAME ...] [--seconds 5]`` starts a
server. A separate process asks for ``/health`` every 10 ms: first while nothing else happens, then
during each attack, which is repeated for ``--seconds``. The output has milliseconds, the most
memory that the server's processes added, and the last answer to the attack.
"""

import argparse
import http.client
import json
import multiprocessing
import socket
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psutil

from loadtest.load import machine
from loadtest.server import PROXIES, proxy_environment, start_server
from loadtest.tool import run_tool, tool_parser

INTERVAL_SECONDS = 0.01
ANSWER_SECONDS = 60.0
PIECE_BYTES = 256 * 1024
_FORM = b"POST /transcribe HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
_CHUNKED = _FORM + b"Transfer-Encoding: chunked\r\n\r\n"
_PART = b'--x\r\nContent-Disposition: form-data; name="%b"\r\n\r\n'
_FILE = b'--x\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n'
_END = b"\r\n--x--\r\n"
_SPACED_HEADERS = b"--x\r\n" + (b"X:" + b" " * 4_200 + b"y\r\n") * 7
_SPACED_HEADERS += b'Content-Disposition: form-data; name="a"\r\n\r\n\r\n'


def _sized(start: bytes, unit: bytes, n_bytes: int, end: bytes = b"") -> Iterator[bytes]:
    """A form with the body ``start``, about ``n_bytes`` of ``unit``, and ``end``."""
    piece = unit * max(1, PIECE_BYTES // len(unit))
    pieces = max(1, n_bytes // len(piece))
    length = len(start) + pieces * len(piece) + len(end)
    yield _FORM + b"Content-Length: %d\r\n\r\n" % length + start
    for _ in range(pieces):
        yield piece
    yield end


def _endless(start: bytes, unit: bytes, n_bytes: int, end: bytes) -> Iterator[bytes]:
    """``start``, about ``n_bytes`` of ``unit``, and ``end``, without anything around them."""
    yield start
    for _ in range(n_bytes // PIECE_BYTES):
        yield unit * (PIECE_BYTES // len(unit))
    yield end


def _options(text: str) -> Iterator[bytes]:
    field = _PART % b"generate_kwargs" + text.encode()
    return _sized(field + b"\r\n" + _FILE, b"x", 1, _END)


ATTACKS: dict[str, Any] = {
    "spaces after a boundary": lambda: _sized(_FILE + b"\r\n--x", b" ", 20_000_000, b"\r\n" + _END),
    "spaces in part headers": lambda: _sized(b"", _SPACED_HEADERS, 1_900_000, b"--x--\r\n"),
    "a body as fast as it goes": lambda: _sized(_FILE, bytes(1024), 300_000_000, _END),
    "chunks of one byte": lambda: _endless(
        _CHUNKED + b"%x\r\n%b\r\n" % (len(_FILE), _FILE), b"1\r\nx\r\n", 60_000_000, b"0\r\n\r\n"
    ),
    "trailers": lambda: _endless(
        _CHUNKED + b"0\r\n", b"X-Trailer: yyyyyyyyyyyyyyyyyy\r\n", 105_000_000, b"\r\n"
    ),
    "headers": lambda: _endless(
        _FORM, b"X-Filler: yyyyyyyyyyyyyyyyyyy\r\n", 105_000_000, b"\r\n"
    ),
    "many clips as text": lambda: _options('{"clip_timestamps": "0%s"}' % (",1" * 32_000)),
    "many tokens as text": lambda: _options('{"suppress_tokens": "0%s"}' % (",1" * 32_000)),
    "many empty lists": lambda: _options('{"vad_parameters": [[]%s]}' % (",[]" * 21_000)),
}  # fmt: skip


def _attack(url: str, pieces: Iterable[bytes]) -> str:
    """Send a request on a connection of its own; returns the first line and code of the answer."""
    address = urlsplit(url)
    host = (address.hostname or "", address.port or 80)
    with socket.create_connection(host, ANSWER_SECONDS) as connection:
        connection.settimeout(ANSWER_SECONDS)
        with suppress(OSError):  # a server may answer and close before it has read all
            for piece in pieces:
                connection.sendall(piece)
        answer = http.client.HTTPResponse(connection)
        try:
            answer.begin()
            return f"{answer.status} {json.loads(answer.read())['error']['code']}"
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
            return str(getattr(answer, "status", "") or "closed").replace("UNKNOWN", "closed")


def _probe(url: str, seconds: Connection) -> None:
    """Time ``/health`` until told to stop, then send the seconds of each answer."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    taken: list[float] = []
    seconds.send(taken)  # it is ready
    while not seconds.poll():
        began = time.perf_counter()
        connection.request("GET", "/health")
        connection.getresponse().read()
        taken.append(time.perf_counter() - began)
        time.sleep(max(0.0, INTERVAL_SECONDS - taken[-1]))
    seconds.send(taken)


class _Memory(threading.Thread):
    """The most memory that the server's processes hold together, by private pages, in MiB."""

    def __init__(self, pid: int) -> None:
        super().__init__()
        self._root = psutil.Process(pid)
        self.is_over = threading.Event()
        self.first = self.most = self._mebibytes()

    def run(self) -> None:
        with suppress(psutil.Error):  # the server has ended
            while not self.is_over.wait(0.1):
                self.most = max(self.most, self._mebibytes())

    def _mebibytes(self) -> float:
        total = 0
        for process in [self._root, *self._root.children(recursive=True)]:
            with suppress(psutil.Error):
                memory = process.memory_info()
                total += memory.rss - memory.shared
        return total / 2**20


def _measured(url: str, pid: int, name: str, seconds: float) -> dict[str, Any]:
    here, there = multiprocessing.get_context("spawn").Pipe()
    prober = multiprocessing.get_context("spawn").Process(
        target=_probe, args=(url, there), daemon=True
    )
    prober.start()
    here.recv()
    memory = _Memory(pid)
    memory.start()
    began = time.perf_counter()
    answer, times = "", 0
    while time.perf_counter() - began < seconds:
        if name in ATTACKS:
            answer = _attack(url, ATTACKS[name]())
            times += 1
        else:
            time.sleep(0.1)
    memory.is_over.set()
    memory.join()
    here.send(None)
    taken = np.array(here.recv()) * 1000
    prober.join()
    return {
        "requests": times,
        "answer": answer,
        "p50_ms": round(float(np.percentile(taken, 50)), 1),
        "p99_ms": round(float(np.percentile(taken, 99)), 1),
        "max_ms": round(float(taken.max()), 1),
        "probes": len(taken),
        "memory_mib": round(memory.most - memory.first),
    }


def _run(given: argparse.Namespace) -> dict[str, Any]:
    document: dict[str, Any] = {"tool": "held_loop", "machine": machine()}
    with start_server("tiny.en", environment=proxy_environment(given.proxy)) as server:
        for name in ["idle", *(given.attack or ATTACKS), "idle again"]:
            run = document[name] = _measured(server.url, server.process.pid, name, given.seconds)
            print(f"{name:28} {json.dumps(run)}", flush=True)
    return document


def main(arguments: list[str] | None = None) -> int:
    """Attack and print. Returns 2 if the server does not start."""
    parser = tool_parser("held_loop", __doc__)
    parser.add_argument("--proxy", choices=PROXIES, default=PROXIES[0])
    parser.add_argument("--attack", choices=ATTACKS, action="append", help="repeatable")
    parser.add_argument("--seconds", type=float, default=5.0)
    return run_tool(parser.parse_args(arguments), _run, lambda document: True)


if __name__ == "__main__":
    sys.exit(main())
