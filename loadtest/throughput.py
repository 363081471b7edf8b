"""Throughput, latency and word error rate under load, our server beside another.

``python -m loadtest.throughput --model base --clients 16 --clients 1 --chunk-seconds 15
[--against naive|URL] [--output FILE]``: a closed loop of clients, each posting the next chunk of
English speech (whole clips joined, so that references stay exact) as soon as its last one is
answered. The servers run and are measured in turns, in reverse order every other round, and get
the same chunks in the same order. RTFx is the audio seconds transcribed per second while every
client was busy. Exit code 1 if a request failed, 2 if nothing could be measured.
"""

import argparse
import asyncio
import itertools
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from loadtest.baselines.start import start_naive_server
from loadtest.load import (
    Chunk,
    Outcome,
    Post,
    closed_loop,
    english_chunks,
    latency_percentiles,
    machine,
    served_rate,
)
from loadtest.options import COMPUTE_TYPE, EVALUATED_MODELS, contract_options
from loadtest.server import Server, start_server
from loadtest.tool import run_tool, tool_parser
from loadtest.wer import NORMALISER, corpus_errors, word_errors

REQUESTS_PER_CLIENT = 6
FEWEST_REQUESTS = 16
"""Of a turn, where neither --requests nor --seconds says otherwise."""

ROUND_STRIDE = 10_000
"""Requests of round n are numbered from n times this, so that a number names one request."""

Turn = list[Outcome]
"""What one server did with one number of clients in one round."""


Running = Callable[[], AbstractContextManager[str]]
"""Makes a context in which a server runs; it yields the URL."""


@dataclass(frozen=True)
class Target:
    """A server under test."""

    name: str
    running: Running


@dataclass(frozen=True)
class Plan:
    """What the clients post: the ``chunks`` in a circle, all with the same ``options``.

    Each turn lasts ``seconds`` or, where that is 0, until ``requests`` are answered; at 0 as well
    these are ``REQUESTS_PER_CLIENT`` for each client.
    """

    chunks: Sequence[Chunk]
    options: Mapping[str, Any]
    requests: int = 0
    seconds: float = 0.0
    api_key: str | None = None

    def chunk(self, number: int) -> Chunk:
        """The chunk of request ``number``."""
        return self.chunks[number % len(self.chunks)]

    def posts(self, clients: int, round_number: int) -> Iterator[Post]:
        """The posts of one turn; every server gets the same ones in a round."""
        first = round_number * ROUND_STRIDE
        end = first + (self.requests or max(REQUESTS_PER_CLIENT * clients, FEWEST_REQUESTS))
        deadline = time.perf_counter() + self.seconds
        for number in itertools.count(first):
            if time.perf_counter() >= deadline if self.seconds else number >= end:
                return
            chunk = self.chunk(number)
            yield Post(number, chunk.audio, self.options, chunk.seconds)

    def turn(self, url: str, clients: int, round_number: int) -> Turn:
        """Load the server at ``url`` for one turn."""
        posts = self.posts(clients, round_number)
        return asyncio.run(closed_loop(url, posts, clients, self.api_key))


def take_turns(
    targets: Sequence[Target], plan: Plan, warm_up: Plan, levels: Sequence[int], rounds: int
) -> dict[int, dict[str, list[Turn]]]:
    """By number of clients (``levels``) and target: a turn for each of the ``rounds``.

    Every other round goes in reverse order, so that drift of the machine hits all. Only the server
    whose turn it is runs: an idle Ray uses a tenth of a core, which the other would miss.
    """
    found: dict[int, dict[str, list[Turn]]] = {n: {t.name: [] for t in targets} for n in levels}
    for round_number in range(rounds):
        for target in targets if round_number % 2 == 0 else targets[::-1]:
            with target.running() as url:
                if warm_up.requests:
                    warm_up.turn(url, max(levels), 0)
                for clients in levels:
                    turn = plan.turn(url, clients, round_number)
                    found[clients][target.name].append(turn)
                    print(
                        f"round {round_number + 1}, {target.name}, {clients} clients: "
                        f"{len(turn)} requests, RTFx {served_rate(turn):.2f}",
                        file=sys.stderr,
                        flush=True,
                    )
    return found


def transcripts(turns: Iterable[Turn]) -> dict[int, str]:
    """Texts by request number; failed requests are left out."""
    return {o.number: o.text for turn in turns for o in turn if o.is_transcript}


def level(plan: Plan, clients: int, turns: Mapping[str, Sequence[Turn]]) -> dict[str, Any]:
    """All figures for one number of clients, as JSON values; ours are the first of ``turns``.

    Only requests that every server transcribed are scored.
    """
    texts = [transcripts(own) for own in turns.values()]
    scored = sorted(set.intersection(*(set(own) for own in texts)))
    servers = {name: summary(plan, own, scored) for name, own in turns.items()}
    document: dict[str, Any] = {
        "clients": clients,
        "servers": servers,
        "scored_requests": len(scored),
    }
    if len(servers) > 1:
        ours, other = servers.values()
        document["ratios"] = ratios(ours, other)
        document["identical_texts"] = sum(len({own[n] for own in texts}) == 1 for n in scored)
    return document


def summary(plan: Plan, turns: Sequence[Turn], scored: Iterable[int]) -> dict[str, Any]:
    """Figures of one server, as JSON values; ``rtfx`` is the mean over its turns."""
    outcomes = [outcome for turn in turns for outcome in turn]
    texts = transcripts(turns)
    errors = corpus_errors(word_errors(plan.chunk(n).text, texts[n], "en") for n in scored)
    rates = [served_rate(turn) for turn in turns]
    return {
        "requests": len(outcomes),
        "failed": len(outcomes) - len(texts),
        "failures": sorted({o.error for o in outcomes if not o.is_transcript})[:5],
        "rtfx": sum(rates) / len(rates),
        "rtfx_per_round": rates,
        "latency_seconds": latency_percentiles([o.latency for o in outcomes if o.is_transcript]),
        "wer": errors.rate if errors.n_reference else None,
        "scored_words": errors.n_reference,
    }


def ratios(ours: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, float]:
    """Ours over the other's: RTFx (more is better) and latencies (less is); WER in points.

    A figure that one of them lacks has no ratio.
    """
    figures = {}
    if other["rtfx"]:
        figures["rtfx"] = ours["rtfx"] / other["rtfx"]
    for name, seconds in other["latency_seconds"].items():
        if name in ours["latency_seconds"]:
            figures[name] = ours["latency_seconds"][name] / seconds
    if ours["wer"] is not None and other["wer"] is not None:
        figures["wer_difference_points"] = (ours["wer"] - other["wer"]) * 100
    return figures


def _print(found: Mapping[str, Any]) -> None:
    print(f"\n{found['clients']} clients  requests failed    RTFx   p50 s   p95 s   p99 s      WER")
    for name, row in found["servers"].items():
        wer = "-" if row["wer"] is None else f"{row['wer']:.2%}"
        figures = _columns({"rtfx": row["rtfx"], **row["latency_seconds"]})
        print(f"  {name:<10} {row['requests']:>6} {row['failed']:>6} {figures} {wer:>8}")
        for failure in row["failures"]:
            print(f"    failed: {failure[:200]}")
    if "ratios" in found:
        points = found["ratios"].get("wer_difference_points", math.nan)
        print(
            f"  {'ratio':<10} {'':>13} {_columns(found['ratios'])} {points:>+7.2f}p"
            f"   identical texts: {found['identical_texts']} of {found['scored_requests']}"
        )


def _columns(figures: Mapping[str, float]) -> str:
    return " ".join(f"{figures.get(key, math.nan):>7.2f}" for key in ("rtfx", "p50", "p95", "p99"))


@contextmanager
def _url_of(start: Callable[[str], AbstractContextManager[Server]], model: str) -> Iterator[str]:
    with start(model) as server:
        yield server.url


def _targets(given: argparse.Namespace) -> list[Target]:
    """Ours, then the one to compare with."""

    def started(start: Callable[[str], AbstractContextManager[Server]]) -> Running:
        return lambda: _url_of(start, given.model)

    def at(url: str) -> Running:
        return lambda: nullcontext(url)

    targets = [Target("ours", at(given.url) if given.url else started(start_server))]
    if given.against == "naive":
        targets.append(Target("naive", started(start_naive_server)))
    elif given.against:
        targets.append(Target("other", at(given.against)))
    return targets


def _measure(given: argparse.Namespace) -> dict[str, Any]:
    about = machine()
    chunks = english_chunks(given.chunk_seconds)
    options = contract_options(given.model, "en", batch_size=8)
    plan = Plan(chunks, options, given.requests, given.seconds, given.api_key)
    warm_up = Plan(chunks, options, given.warm_ups, api_key=given.api_key)
    turns = take_turns(_targets(given), plan, warm_up, given.clients or [16], given.rounds)
    levels = [level(plan, clients, own) for clients, own in turns.items()]
    for found in levels:
        _print(found)
    return {
        "tool": "throughput",
        "machine": about,
        "model": given.model,
        "compute_type": COMPUTE_TYPE,
        "options": options,
        "normaliser": NORMALISER,
        "chunk_seconds": sum(chunk.seconds for chunk in chunks) / len(chunks),
        "chunks": len(chunks),
        "rounds": given.rounds,
        "levels": levels,
    }


def _parser() -> argparse.ArgumentParser:
    parser = tool_parser("throughput", __doc__)
    parser.add_argument("--model", choices=EVALUATED_MODELS, default="base")
    parser.add_argument("--url", help="a running server of ours; default: one is started")
    parser.add_argument("--against", metavar="naive|URL", help="the server to compare with")
    parser.add_argument("--clients", type=int, action="append", help="repeatable; default 16")
    parser.add_argument("--chunk-seconds", type=float, default=15.0, help="length of a request")
    parser.add_argument(
        "--requests", type=int, default=0, help="of each turn; default: 6 per client, 16 at least"
    )
    parser.add_argument(
        "--seconds", type=float, default=0.0, help="length of a turn, instead of --requests"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--warm-ups", type=int, default=8, help="requests after a start, not counted"
    )
    parser.add_argument("--api-key", help="sent as X-API-Key")
    return parser


def _is_good(document: dict[str, Any]) -> bool:
    servers = [row for found in document["levels"] for row in found["servers"].values()]
    return not any(row["failed"] for row in servers)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 1 where a request failed, 2 where nothing could be measured."""
    given = _parser().parse_args(arguments)
    return run_tool(given, _measure, _is_good)


if __name__ == "__main__":
    sys.exit(main())
