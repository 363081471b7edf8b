"""Do several models on one machine starve each other, and does each keep to its memory?

``python -m loadtest.bench.several_models [--models base,tiny.en] [--clients 4] [--seconds 60]``:
clients post 15 s chunks in a closed loop, to each model alone and then to all at once. Each model
has its share of the cores all the time, so alone it should be about as fast as beside the others.
Resident memory is sampled all along and compared with the share that the server prints. Exit code 1
for a failed request, a model that falls below half of its own speed, or one that outgrows its
share.
"""

import argparse
import asyncio
import itertools
import re
import sys
from collections.abc import Sequence
from typing import Any

from loadtest.chunks import english_chunks
from loadtest.load import closed_loop, machine, posts_of, served_rate, summary, transcribed
from loadtest.memory import MemoryWatch
from loadtest.server import start_server
from loadtest.tool import run_tool, tool_parser

CHUNK_SECONDS = 15.0
MEMORY_SECONDS = 1.0

STARVED = 0.5
"""Below this share of its speed alone a model counts as starved."""

_SHARE = re.compile(r"whisper-ox: (\S+) has .* and (\d+) MiB of memory")


async def _run(url: str, models: Sequence[str], given: argparse.Namespace) -> dict[str, Any]:
    """Load on ``models`` at once; figures of each."""
    chunks = english_chunks(CHUNK_SECONDS)
    runs = [
        closed_loop(
            url,
            posts_of(
                itertools.cycle(chunks),
                {"model": model, "language": "en"},
                seconds=given.seconds,
            ),
            given.clients,
        )
        for model in models
    ]
    outcomes = [transcribed(run) for run in await asyncio.gather(*runs)]
    return {
        model: {"rtfx": served_rate(of_model), **summary(of_model)}
        for model, of_model in zip(models, outcomes, strict=True)
    }


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """The figures of a server that is started for them."""
    models = given.models.split(",")
    with start_server(given.models) as server:
        shares = dict(_SHARE.findall(server.log.read_text()))
        with MemoryWatch(server.process.pid, MEMORY_SECONDS) as memory:
            alone: dict[str, Any] = {}
            for model in models:
                alone |= asyncio.run(_run(server.url, [model], given))
            together = asyncio.run(_run(server.url, models, given))
    peaks = {name: max(series.mebibytes) for name, series in memory.series().items()}
    return {
        "machine": machine(),
        "clients_per_model": given.clients,
        "alone": alone,
        "together": together,
        "share_mib": {model: int(shares[model]) for model in models},
        "peak_mib": peaks,
    }


def is_good(document: dict[str, Any]) -> bool:
    """Whether no model starved and none outgrew its share."""
    for model, share in document["share_mib"].items():
        alone, together = (document[run][model]["rtfx"] for run in ("alone", "together"))
        # A process's title is cut at the first dot.
        peak = document["peak_mib"][f"Transcriber-{model}".partition(".")[0]]
        print(
            f"{model}: {alone:.1f} times real time alone, {together:.1f} beside the others; "
            f"{peak:.0f} of {share} MiB"
        )
        if together < STARVED * alone or peak > share:
            return False
    return True


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = tool_parser("bench.several_models", __doc__)
    parser.add_argument("--models", default="base,tiny.en")
    parser.add_argument("--clients", type=int, default=4, help="of each model")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each of the runs")
    return run_tool(parser.parse_args(arguments), measure, is_good)


if __name__ == "__main__":
    sys.exit(main())
