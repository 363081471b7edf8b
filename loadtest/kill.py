"""What clients see when a process of the server is killed under load, and how soon it is back.

``python -m loadtest.kill --replicas 2 --proxy haproxy --what transcriber [--output FILE]``: clients
post chunks of 5 to 15 s in a closed loop; every few seconds, at a random moment, one process gets
SIGKILL: a model replica, an HTTP replica, or the proxy that holds the clients' connections. Every
request must end in a transcript, in an error with a code of ours, or in a closed connection; one
that does neither within ``LOST_SECONDS`` is lost. Each chunk is first answered alone, and a
transcript must be the same text as then (``loadtest.soak`` says how near is near). A client that
got no transcript waits ``BACKOFF_SECONDS`` before its next request.

Recovery counts from the kill, to the end of the first transcript of a request sent after it
(``first_transcript_seconds``, which holds the time that a transcript takes under this load), to the
first 200 of ``/readyz`` (``ready_seconds``), and to the moment when as many model replicas have
loaded as before (``replaced_seconds``). ``longest_gap_seconds`` is the longest time of the whole
run in which no client got a transcript. Exit code 1 for lost requests, unstated errors or other
texts.
"""

import argparse
import asyncio
import itertools
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from loadtest.load import (
    Outcome,
    Post,
    closed_loop,
    english_chunks,
    latency_percentiles,
    machine,
)
from loadtest.memory import REPLICA_TITLE
from loadtest.options import COMPUTE_TYPE, EVALUATED_MODELS, contract_options
from loadtest.recovery import (
    RECOVERIES,
    Kill,
    ends,
    first_transcript_seconds,
    is_good,
    longest_gap_seconds,
    spread,
)
from loadtest.server import PROXIES, Server, proxy_environment, start_server
from loadtest.soak import Case, answered_alone, verdict
from loadtest.tool import run_tool, tool_parser
from serve_app.errors import WhisperOxError
from serve_app.serving.profile import profile_path

TITLES = {
    "transcriber": f"{REPLICA_TITLE}Transcriber",
    "ingress": f"{REPLICA_TITLE}Ingress",
    "python": "ray::ProxyActor",
    "haproxy": "haproxy -",
}
"""What the command line of a process holds, by ``--what``, or by ``--proxy`` for the proxy."""

RETRIED, READY = "once more", "workers) is ready"
"""In the server's log: a request that is tried again, a model replica that has loaded."""

CHUNK_SECONDS = (5.0, 10.0, 15.0)
CHUNKS_PER_LENGTH = 4
LOST_SECONDS = 180.0
BACKOFF_SECONDS = 0.5
WARM_UP_SECONDS, SETTLE_SECONDS = 5.0, 5.0
CALM_SECONDS = (2.0, 8.0)
"""Between a recovery and the next kill, drawn evenly."""
POLL_SECONDS = 0.05
PATIENCE_SECONDS = 180.0
"""For a server to recover."""


def write_profile(folder: Path, replicas: int) -> Path:
    """The ``dev`` profile with so many model replicas."""
    profile = yaml.safe_load(profile_path("dev").read_text(encoding="utf-8"))
    for deployment in profile["applications"][0]["deployments"]:
        if deployment["name"] == "Transcriber":
            deployment["num_replicas"] = replicas
    path = folder / f"{replicas}-replicas.yaml"
    path.write_text(yaml.safe_dump(profile), encoding="utf-8")
    return path


def victim(leader: int, title: str) -> psutil.Process:
    """The oldest process of a server's session with ``title``; ``WhisperOxError`` if none is."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if os.getsid(process.pid) == leader and title in " ".join(process.cmdline()):
                found.append((process.create_time(), process.pid, process))
    if not found:
        raise WhisperOxError(f"the server has no process {title!r}")
    return min(found)[2]


class Killing:
    """Load on a server of ours, and the kills."""

    def __init__(self, server: Server, cases: Sequence[Case], clients: int) -> None:
        self._server = server
        self._cases = cases
        self._clients = clients
        self._chance = random.Random(0)
        self._ended = False
        self.chosen: list[Case] = []
        self.kills: list[Kill] = []

    async def run(self, title: str, n_kills: int) -> list[Outcome]:
        """Load from before the first kill until after the last recovery."""
        load = asyncio.create_task(
            closed_loop(
                self._server.url, self._posts(), self._clients, backoff_seconds=BACKOFF_SECONDS
            )
        )
        try:
            await asyncio.sleep(WARM_UP_SECONDS)
            for _ in range(n_kills):
                await asyncio.sleep(self._chance.uniform(*CALM_SECONDS))
                self.kills.append(await self._kill(title))
            await asyncio.sleep(SETTLE_SECONDS)
        finally:
            self._ended = True
        return await load

    def _posts(self) -> Iterator[Post]:
        chance = random.Random(1)
        for number in itertools.count():
            if self._ended:
                return
            case = chance.choice(self._cases)
            self.chosen.append(case)
            yield Post(number, case.audio, case.options, case.seconds, give_up_seconds=LOST_SECONDS)

    async def _kill(self, title: str) -> Kill:
        process = await asyncio.to_thread(victim, self._server.process.pid, title)
        loaded = self._n_logged(READY)
        at = time.perf_counter()
        process.send_signal(signal.SIGKILL)
        print(f"killed {process.pid} ({title.strip()})", flush=True)
        ready_seconds = await self._until(self._is_ready, at)
        replaced_seconds = None
        if title == TITLES["transcriber"]:
            replaced_seconds = await self._until(lambda: self._n_logged(READY) > loaded, at)
        print(f"  ready after {ready_seconds:.1f} s", flush=True)
        return Kill(at, ready_seconds, replaced_seconds)

    async def _until(self, look: Callable[[], bool], at: float) -> float:
        while not await asyncio.to_thread(look):
            if time.perf_counter() > at + PATIENCE_SECONDS:
                raise WhisperOxError(f"no recovery within {PATIENCE_SECONDS:.0f} s of a kill")
            await asyncio.sleep(POLL_SECONDS)
        return time.perf_counter() - at

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self._server.url}/readyz", timeout=10).status_code == 200
        except httpx.HTTPError:
            return False

    def _n_logged(self, mark: str) -> int:
        return self._server.log.read_text(encoding="utf-8", errors="replace").count(mark)


def _cases(model: str) -> list[Case]:
    options = {**contract_options(model, "en", batch_size=8), "temperature": 0}
    chunks = [
        chunk for length in CHUNK_SECONDS for chunk in english_chunks(length)[:CHUNKS_PER_LENGTH]
    ]
    return [Case(chunk.name, chunk.audio, options, "en", chunk.seconds) for chunk in chunks]


def _measure(given: argparse.Namespace) -> dict[str, Any]:
    about = machine()
    cases = _cases(given.model)
    environment = proxy_environment(given.proxy)
    title = TITLES[given.proxy if given.what == "proxy" else given.what]
    with tempfile.TemporaryDirectory(prefix="whisper-ox-") as folder:
        profile = write_profile(Path(folder), given.replicas)
        with start_server(given.model, ["--config", str(profile)], environment) as server:
            cases = [answered_alone(server.url, case, None) for case in cases]
            killing = Killing(server, cases, given.clients)
            outcomes = asyncio.run(killing.run(title, given.kills))
            after = answered_alone(server.url, cases[0], None)
            retried = server.log.read_text(encoding="utf-8", errors="replace").count(RETRIED)
    good = [outcome for outcome in outcomes if outcome.is_transcript]
    kills = [
        {**asdict(kill), "first_transcript_seconds": first_transcript_seconds(kill, outcomes)}
        for kill in killing.kills
    ]
    return {
        "tool": "kill",
        "machine": about,
        "model": given.model,
        "compute_type": COMPUTE_TYPE,
        "what": given.what,
        "replicas": given.replicas,
        "proxy": given.proxy,
        "clients": given.clients,
        "chunk_seconds": sorted(round(case.seconds, 1) for case in cases),
        "requests": {**ends(outcomes), "retried": retried},
        "texts": dict(Counter(verdict(o, killing.chosen[o.number]) for o in good)),
        "same_after": after.alone == cases[0].alone,
        "longest_gap_seconds": longest_gap_seconds(outcomes),
        "recovery": {name: spread(kills, name) for name in RECOVERIES},
        "latency_seconds": latency_percentiles([outcome.latency for outcome in good]),
        "kills": kills,
        "examples": sorted({o.error[:200] for o in outcomes if not o.is_transcript})[:10],
    }


def _print(document: Mapping[str, Any]) -> None:
    requests = document["requests"]
    print(
        f"{len(document['kills'])} kills of the {document['what']}, {document['replicas']} model "
        f"replicas, {document['proxy']} proxy: {requests['sent']} requests, "
        f"{requests['transcripts']} transcripts ({requests['retried']} of them or of the failed "
        f"tried twice), {requests['errors']} errors, {requests['unstated_errors']} unstated, "
        f"{requests['closed_connections']} closed connections, {requests['lost']} lost"
    )
    print(f"texts: {document['texts']}; latency {document['latency_seconds']}")
    print(f"longest time without a transcript: {document['longest_gap_seconds']:.1f} s")
    for name, seconds in document["recovery"].items():
        if seconds:
            print(f"{name}: median {seconds['median']:.1f}, max {seconds['max']:.1f}")
    for example in document["examples"]:
        print(f"  {example}")


def main(arguments: list[str] | None = None) -> int:
    """Kill and print; 1 where a request ended as none may, 2 where nothing could be measured."""
    parser = tool_parser("kill", __doc__)
    parser.add_argument("--model", choices=EVALUATED_MODELS, default="tiny.en")
    parser.add_argument("--what", choices=("transcriber", "ingress", "proxy"), required=True)
    parser.add_argument("--replicas", type=int, default=1, help="of the model")
    parser.add_argument("--proxy", choices=PROXIES, default=PROXIES[0])
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--clients", type=int, default=6)
    given = parser.parse_args(arguments)
    return run_tool(given, _measure, is_good, _print)


if __name__ == "__main__":
    sys.exit(main())
