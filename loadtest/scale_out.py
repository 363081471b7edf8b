"""Does a cluster of more nodes serve as much more? **With simulated devices**, on one machine.

``python -m loadtest.scale_out [--nodes 1 2 4] [--output FILE]``: for each number of nodes a real
Ray cluster is started here (:mod:`loadtest.cluster_server`) whose models run on
:mod:`loadtest.simulated_device`; ``--clients`` for each node post 15 s chunks in a closed loop.
Efficiency is the rate over the number of nodes times one node's rate. It says what HTTP, routing,
audio decoding and scheduling cost a cluster, and nothing of any GPU. All nodes share this machine's
cores, so it is a lower bound where they are short: the cores used are reported. Exit code 1
for a failed request.
"""

import argparse
import asyncio
import itertools
import sys
import time
from collections.abc import Sequence
from typing import Any

import psutil

from loadtest.capacity.calibrate import cpu_seconds
from loadtest.load import Chunk, Post, closed_loop, english_chunks, machine, served_rate
from loadtest.mixed_load import summary
from loadtest.options import contract_options
from loadtest.server import run_server
from loadtest.simulated_device import COSTS, TUNABLES
from loadtest.tool import run_tool, tool_parser

MODEL = "tiny.en"
WARM_UPS_PER_CLIENT = 1


def _measure(n_nodes: int, chunks: Sequence[Chunk], given: argparse.Namespace) -> dict[str, Any]:
    clients = given.clients * n_nodes
    options = contract_options(MODEL, "en", batch_size=8)

    def posts(per_client: int) -> list[Post]:
        turns = zip(range(clients * per_client), itertools.cycle(chunks))
        return [Post(n, chunk.audio, options, chunk.seconds) for n, chunk in turns]

    with run_server("loadtest.cluster_server", ["--nodes", str(n_nodes), "--simulated"]) as server:
        asyncio.run(closed_loop(server.url, iter(posts(WARM_UPS_PER_CLIENT)), clients))
        own = psutil.Process()
        before, began = cpu_seconds(server), time.perf_counter()
        sending = sum(own.cpu_times()[:2])
        outcomes = asyncio.run(closed_loop(server.url, iter(posts(given.requests)), clients))
        passed = time.perf_counter() - began
        after = cpu_seconds(server)
        sending = sum(own.cpu_times()[:2]) - sending
    return {
        "nodes": n_nodes,
        "clients": clients,
        "rtfx": served_rate(outcomes),
        **summary(outcomes),
        "cores": {
            "model_replicas_without_their_devices": (after["transcriber"] - before["transcriber"])
            / passed,
            "other_server_processes": (after["others"] - before["others"]) / passed,
            "clients": sending / passed,
        },
    }


def _document(given: argparse.Namespace) -> dict[str, Any]:
    about = machine()
    chunks = english_chunks(given.chunk_seconds)
    rows = [_measure(n_nodes, chunks, given) for n_nodes in sorted({1, *given.nodes})]
    for row in rows:
        row["efficiency"] = row["rtfx"] / (row["nodes"] * rows[0]["rtfx"])
    return {
        "tool": "scale_out",
        "kind": "simulated devices, everything else real",
        "machine": about,
        "device_seconds": COSTS.model_dump(),
        "tunables": TUNABLES.model_dump(exclude_unset=True),
        "chunk_seconds": sum(chunk.seconds for chunk in chunks) / len(chunks),
        "rows": rows,
    }


def _print(document: dict[str, Any]) -> None:
    print("simulated devices: says nothing of any GPU")
    print("nodes clients failed   RTFx efficiency   p95 s  cores used")
    for row in document["rows"]:
        cores = sum(row["cores"].values())
        p95 = row["latency_seconds"].get("p95", 0.0)
        print(
            f"{row['nodes']:>5} {row['clients']:>7} {row['failed']:>6} {row['rtfx']:>6.1f} "
            f"{row['efficiency']:>10.2f} {p95:>7.2f} {cores:>11.2f}"
        )


def _is_good(document: dict[str, Any]) -> bool:
    return not any(row["failed"] for row in document["rows"])


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 1 where the bar is missed, 2 without a measurement."""
    parser = tool_parser("scale_out", __doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--clients", type=int, default=16, help="for each node")
    parser.add_argument("--requests", type=int, default=5, help="of each client")
    parser.add_argument("--chunk-seconds", type=float, default=15.0)
    given = parser.parse_args(arguments)
    return run_tool(given, _document, _is_good, _print)


if __name__ == "__main__":
    sys.exit(main())
