"""Throughput, latency and word error rate under load, of our server and another.

``python -m loadtest.bench.throughput --model base --clients 16 --clients 1 --chunk-seconds 15
[--against naive|URL] [--output FILE]`` runs a closed loop of clients. Each posts the next chunk of
English speech (whole clips joined, so that references stay exact) as soon as its last one is
answered. The servers run in turns, in reverse order every other round, and get the same chunks in
the same order. RTFx is the audio seconds transcribed per second while every client was busy. The
exit code is 1 if a request failed, 2 if nothing could be measured.
"""

import argparse
import asyncio
import itertools
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from loadtest.chunks import Chunk, english_chunks
from loadtest.load import Outcome, closed_loop, machine, posts_of, served_rate, summary
from loadtest.options import COMPUTE_TYPE, EVALUATED_MODELS, contract_options
from loadtest.server import naive_server, server_at
from loadtest.tool import run_tool, tool_parser
from loadtest.wer import NORMALISER, corpus_errors, word_errors

REQUESTS_PER_CLIENT = 6
FEWEST_REQUESTS = 16
"""Seconds of a turn, if neither --requests nor --seconds is given."""

ROUND_STRIDE = 10_000
"""Requests of round n are numbered from n times this, so that a number names one request."""

Turn = list[Outcome]
"""What one server did with one number of clients in one round."""

Running = Callable[[], AbstractContextManager[str]]
"""Makes a context in which a server runs; it yields the URL."""


def n_requests(given: argparse.Namespace, clients: int) -> int | None:
    """Requests of a turn; None if its length in seconds is given."""
    if given.seconds:
        return None
    return given.requests or max(REQUESTS_PER_CLIENT * clients, FEWEST_REQUESTS)


def take_turns(
    servers: Mapping[str, Running], chunks: Sequence[Chunk], given: argparse.Namespace
) -> dict[int, dict[str, list[Turn]]]:
    """The turns of each round, by number of clients and server.

    Every other round goes in reverse order, so that a drift of the machine affects all. Only the
    server whose turn it is runs, because an idle Ray uses a tenth of a core.
    """
    options = contract_options(given.model, "en")
    levels = given.clients or [16]
    found: dict[int, dict[str, list[Turn]]] = {n: {name: [] for name in servers} for n in levels}

    def turn(url: str, clients: int, requests: int | None, first: int) -> Turn:
        # Every server gets the same chunks in a round.
        coming = itertools.islice(itertools.cycle(chunks), first % len(chunks), None)
        seconds = math.inf if requests else given.seconds
        posts = posts_of(coming, options, requests=requests, seconds=seconds, first=first)
        return asyncio.run(closed_loop(url, posts, clients))

    for round_number in range(given.rounds):
        for name in list(servers)[:: 1 if round_number % 2 == 0 else -1]:
            with servers[name]() as url:
                if given.warm_ups:
                    turn(url, max(levels), given.warm_ups, 0)
                for clients in levels:
                    requests = n_requests(given, clients)
                    own = turn(url, clients, requests, round_number * ROUND_STRIDE)
                    found[clients][name].append(own)
                    print(
                        f"round {round_number + 1}, {name}, {clients} clients: "
                        f"{len(own)} requests, RTFx {served_rate(own):.2f}",
                        file=sys.stderr,
                        flush=True,
                    )
    return found


def level(
    chunks: Sequence[Chunk], clients: int, turns: Mapping[str, Sequence[Turn]]
) -> dict[str, Any]:
    """All figures for one number of clients, as JSON values; ours are the first of ``turns``.

    Only requests that every server transcribed are scored.
    """
    texts = {
        name: {o.number: o.text for turn in own for o in turn if o.is_transcript}
        for name, own in turns.items()
    }
    scored = sorted(set.intersection(*(set(own) for own in texts.values())))
    servers = {name: figures(chunks, own, texts[name], scored) for name, own in turns.items()}
    document: dict[str, Any] = {
        "clients": clients,
        "servers": servers,
        "scored_requests": len(scored),
    }
    if len(servers) > 1:
        document["ratios"] = ratios(*servers.values())
        document["identical_texts"] = sum(
            len({own[n] for own in texts.values()}) == 1 for n in scored
        )
    return document


def figures(
    chunks: Sequence[Chunk], turns: Sequence[Turn], texts: Mapping[int, str], scored: Iterable[int]
) -> dict[str, Any]:
    """Figures of one server, as JSON values; ``rtfx`` is the mean over its turns."""
    errors = corpus_errors(
        word_errors(chunks[n % len(chunks)].text or "", texts[n], "en") for n in scored
    )
    rates = [served_rate(turn) for turn in turns]
    return {
        **summary([outcome for turn in turns for outcome in turn]),
        "rtfx": sum(rates) / len(rates),
        "rtfx_per_round": rates,
        "wer": errors.rate if errors.n_reference else None,
        "scored_words": errors.n_reference,
    }


def ratios(ours: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, float]:
    """Ours divided by the other's: RTFx (more is better) and latencies (less is better). WER is the
    difference in points.

    There is no ratio for a figure that one of them lacks.
    """
    found = {}
    if other["rtfx"]:
        found["rtfx"] = ours["rtfx"] / other["rtfx"]
    for name, seconds in other["latency_seconds"].items():
        if name in ours["latency_seconds"]:
            found[name] = ours["latency_seconds"][name] / seconds
    if ours["wer"] is not None and other["wer"] is not None:
        found["wer_difference_points"] = (ours["wer"] - other["wer"]) * 100
    return found


def _print(document: Mapping[str, Any]) -> None:
    def columns(row: Mapping[str, float]) -> str:
        return " ".join(f"{row.get(key, math.nan):>7.2f}" for key in ("rtfx", "p50", "p95", "p99"))

    for one in document["levels"]:
        print(
            f"\n{one['clients']} clients  requests failed    RTFx   p50 s   p95 s   p99 s     WER"
        )
        for name, row in one["servers"].items():
            wer = "-" if row["wer"] is None else f"{row['wer']:.2%}"
            shown = columns({"rtfx": row["rtfx"], **row["latency_seconds"]})
            print(f"  {name:<10} {row['requests']:>6} {row['failed']:>6} {shown} {wer:>8}")
            for failure in row["failures"]:
                print(f"    failed: {failure[:200]}")
        if found := one.get("ratios"):
            print(
                f"  {'ratio':<24} {columns(found)} "
                f"{found.get('wer_difference_points', math.nan):>+7.2f}p"
                f"   identical texts: {one['identical_texts']} of {one['scored_requests']}"
            )


def _measure(given: argparse.Namespace) -> dict[str, Any]:
    about = machine()
    chunks = english_chunks(given.chunk_seconds)
    servers: dict[str, Running] = {"ours": lambda: server_at(given.url, given.model)}
    if given.against == "naive":
        servers["naive"] = lambda: naive_server(given.model)
    elif given.against:
        servers["other"] = lambda: server_at(given.against, given.model)
    turns = take_turns(servers, chunks, given)
    return {
        "tool": "throughput",
        "machine": about,
        "model": given.model,
        "compute_type": COMPUTE_TYPE,
        "options": contract_options(given.model, "en"),
        "normaliser": NORMALISER,
        "chunk_seconds": sum(chunk.seconds for chunk in chunks) / len(chunks),
        "chunks": len(chunks),
        "rounds": given.rounds,
        "levels": [level(chunks, clients, own) for clients, own in turns.items()],
    }


def _is_good(document: dict[str, Any]) -> bool:
    servers = [row for found in document["levels"] for row in found["servers"].values()]
    return not any(row["failed"] for row in servers)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print. Returns 1 if a request failed, 2 if nothing could be measured."""
    parser = tool_parser("bench.throughput", __doc__)
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
    return run_tool(parser.parse_args(arguments), _measure, _is_good, _print)


if __name__ == "__main__":
    sys.exit(main())
