"""Latency without and with hundreds of connections that send slowly or not at all.

``python -m loadtest.slow_clients --model tiny.en --proxy haproxy [--output FILE]``: a few clients
post 5 s chunks in a closed loop, in turn alone and beside the slow connections, a third each of

- ``half_head``: the start of a request's head and no more,
- ``dribble``: a whole head, then a byte of the body a second,
- ``silent``: connected, nothing sent.

One that the server ends is counted by how (the status that it was answered with, or ``closed``
without an answer) and is opened anew at once. The two states take turns lest the machine's drift be
taken for the difference; percentiles are over all turns of a state. Exit code 1 if a request failed
or the ratio of the p95 is above ``BAR``.
"""

import argparse
import asyncio
import itertools
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from loadtest.load import Chunk, Outcome, Post, closed_loop, english_chunks, machine
from loadtest.memory import MemoryWatch
from loadtest.mixed_load import summary
from loadtest.options import COMPUTE_TYPE, EVALUATED_MODELS, contract_options
from loadtest.server import PROXIES, proxy_environment, start_server
from loadtest.tool import run_tool, tool_parser

BAR = 1.3
OPEN_PER_SECOND = 100.0
"""So fast the slow connections come at first, and again each that the server has ended."""
SETTLE_SECONDS = 8.0
"""Between the first slow connection and the first request that counts."""
CLAIMED_BYTES = 1_000_000
DRIBBLE_SECONDS = 1.0

_HEAD = (
    f"POST /transcribe HTTP/1.1\r\nHost: slow\r\nContent-Length: {CLAIMED_BYTES}\r\n"
    "Content-Type: multipart/form-data; boundary=x\r\n"
).encode()
_BODY = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'


@dataclass
class SlowClients:
    """``count`` connections to ``port`` while the context of :meth:`connected` is open."""

    port: int
    count: int
    endings: dict[str, Counter[str]] = field(default_factory=dict)
    n_open: Counter[str] = field(default_factory=Counter)

    async def __aenter__(self) -> "SlowClients":
        kinds = {"half_head": self._half_head, "dribble": self._dribble, "silent": self._silent}
        self.endings = {kind: self.endings.get(kind, Counter()) for kind in kinds}
        turns = itertools.cycle(kinds.items())
        self._tasks = [
            asyncio.create_task(self._keep_open(*turn, number / OPEN_PER_SECOND))
            for number, turn in zip(range(self.count), turns, strict=False)
        ]
        return self

    async def __aexit__(self, *exception: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep_open(
        self, kind: str, send: Callable[[asyncio.StreamWriter], Any], wait_seconds: float
    ) -> None:
        await asyncio.sleep(wait_seconds)
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                self.endings[kind]["refused"] += 1
            else:
                self.n_open[kind] += 1
                sending = asyncio.create_task(send(writer))
                try:
                    self.endings[kind][await _ending(reader)] += 1
                finally:
                    self.n_open[kind] -= 1
                    sending.cancel()
                    writer.transport.abort()
            await asyncio.sleep(1 / OPEN_PER_SECOND)

    async def _half_head(self, writer: asyncio.StreamWriter) -> None:
        writer.write(_HEAD[:60])

    async def _dribble(self, writer: asyncio.StreamWriter) -> None:
        writer.write(_HEAD + b"\r\n")
        with suppress(OSError):
            for byte in itertools.chain(_BODY, itertools.repeat(0)):
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(DRIBBLE_SECONDS)

    async def _silent(self, writer: asyncio.StreamWriter) -> None:
        """Nothing, which is what it is for."""


async def _ending(reader: asyncio.StreamReader) -> str:
    """How the server ends a connection: the status of its answer, or ``closed``."""
    answer = b""
    with suppress(OSError):
        while piece := await reader.read(65_536):
            answer += piece
    return answer.split(b" ", 2)[1].decode() if answer.startswith(b"HTTP/") else "closed"


@dataclass(frozen=True)
class NormalClients:
    """``clients`` who post the ``chunks`` in a circle, each as soon as its last was answered."""

    chunks: Sequence[Chunk]
    options: dict[str, Any]
    clients: int

    async def run(self, url: str, seconds: float) -> list[Outcome]:
        """Begin no request after ``seconds``."""
        deadline = time.perf_counter() + seconds
        return await closed_loop(url, self._posts(deadline), self.clients)

    def _posts(self, deadline: float) -> Iterator[Post]:
        for number in itertools.count():
            if time.perf_counter() >= deadline:
                return
            chunk = self.chunks[number % len(self.chunks)]
            yield Post(number, chunk.audio, self.options, chunk.seconds)


def _measure(given: argparse.Namespace) -> dict[str, Any]:
    about = machine()
    options = dict(contract_options(given.model, "en", batch_size=8))
    normal = NormalClients(english_chunks(given.chunk_seconds), options, given.clients)
    environment = proxy_environment(given.proxy)
    alone: list[Outcome] = []
    beside: list[Outcome] = []
    n_open: list[dict[str, int]] = []
    with ExitStack() as stack:
        server = stack.enter_context(start_server(given.model, environment=environment))
        memory = stack.enter_context(MemoryWatch(server.process.pid, 1.0, proxies=True))
        slow = SlowClients(httpx.URL(server.url).port or 80, given.connections)
        asyncio.run(normal.run(server.url, given.warm_up_seconds))
        before = _peaks(memory)
        for _ in range(given.turns):
            alone += asyncio.run(normal.run(server.url, given.seconds))
            beside += asyncio.run(_beside(normal, slow, server.url, given.seconds, n_open))
    document = {
        "tool": "slow_clients",
        "machine": about,
        "model": given.model,
        "compute_type": COMPUTE_TYPE,
        "proxy": given.proxy,
        "options": options,
        "clients": given.clients,
        "chunk_seconds": sum(chunk.seconds for chunk in normal.chunks) / len(normal.chunks),
        "turns": given.turns,
        "seconds_per_turn": given.seconds,
        "slow_connections": given.connections,
        "alone": summary(alone),
        "beside_slow": summary(beside),
        "slow_open_at_the_end_of_a_turn": n_open,
        "slow_endings": {kind: dict(counts) for kind, counts in slow.endings.items()},
        "peak_rss_mib_before": before,
        "peak_rss_mib": _peaks(memory),
    }
    p95 = [document[name]["latency_seconds"].get("p95") for name in ("alone", "beside_slow")]
    document["p95_ratio"] = p95[1] / p95[0] if all(p95) else None
    return document


async def _beside(
    normal: NormalClients,
    slow: SlowClients,
    url: str,
    seconds: float,
    n_open: list[dict[str, int]],
) -> list[Outcome]:
    async with slow:
        await asyncio.sleep(SETTLE_SECONDS)
        outcomes = await normal.run(url, seconds)
        n_open.append(dict(slow.n_open))
    return outcomes


def _peaks(memory: MemoryWatch) -> dict[str, float]:
    return {name: max(series.mebibytes) for name, series in memory.series().items()}


def _print(document: dict[str, Any]) -> None:
    print(
        f"{document['proxy']} proxy, {document['clients']} clients, chunks of "
        f"{document['chunk_seconds']:.1f} s\n{'':<12} requests failed   p50 s   p95 s   p99 s"
    )
    for name in ("alone", "beside_slow"):
        row = document[name]
        latency = [row["latency_seconds"].get(key, 0) for key in ("p50", "p95", "p99")]
        shown = " ".join(f"{seconds:7.2f}" for seconds in latency)
        print(f"{name:<12} {row['requests']:>8} {row['failed']:>6} {shown}")
        for failure in row["failures"]:
            print(f"  failed: {failure[:200]}")
    if document["p95_ratio"] is not None:
        print(f"p95 beside {document['slow_connections']} slow connections / alone: "
              f"{document['p95_ratio']:.2f} (bar: {BAR})")  # fmt: skip
    for kind, counts in document["slow_endings"].items():
        print(f"{kind}: ended {counts or 'never'}")
    print(f"open at the ends of turns: {document['slow_open_at_the_end_of_a_turn']}")
    for name, peak in document["peak_rss_mib"].items():
        before = document["peak_rss_mib_before"].get(name, 0.0)
        print(f"peak RSS of {name}: {peak:.0f} MiB ({before:.0f})")


def _is_good(document: dict[str, Any]) -> bool:
    failed = document["alone"]["failed"] + document["beside_slow"]["failed"]
    ratio = document["p95_ratio"]
    return not failed and ratio is not None and ratio <= BAR


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 1 where a request failed or the bar is missed, 2 without a measurement."""
    parser = tool_parser("slow_clients", __doc__)
    parser.add_argument("--model", choices=EVALUATED_MODELS, default="tiny.en")
    parser.add_argument("--proxy", choices=PROXIES, default=PROXIES[0])
    parser.add_argument("--connections", type=int, default=500)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--chunk-seconds", type=float, default=5.0)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each turn")
    parser.add_argument("--turns", type=int, default=2, help="of each state")
    parser.add_argument("--warm-up-seconds", type=float, default=10.0, help="not counted")
    given = parser.parse_args(arguments)
    return run_tool(given, _measure, _is_good, _print)


if __name__ == "__main__":
    sys.exit(main())
