"""What the server adds to the engine's time on an idle machine.

``python -m loadtest.overhead --url http://127.0.0.1:8000 [--compare URL2] [--output FILE]``: posts
the same WAV of real speech one request at a time over a kept-alive connection; overhead is the
wall time at the client minus the engine time of the ``Server-Timing`` header. With ``--compare``
the two servers take turns, so that drift of the machine hits both.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np

from loadtest.client import TIMEOUT_SECONDS, Reply, transcribe
from loadtest.options import contract_options
from loadtest.tool import run_tool, tool_parser
from loadtest.wav import speech_wav
from serve_app.errors import WhisperOxError


@dataclass(frozen=True)
class Timing:
    """One request; both in milliseconds, ``total`` at the client."""

    total: float
    engine: float

    @property
    def overhead(self) -> float:
        """Everything but the engine: network, proxies, parsing, decoding, rendering."""
        return self.total - self.engine


def timing(reply: Reply) -> Timing:
    """Timing of a transcript; raises ``WhisperOxError`` on an error or without the header."""
    if not reply.segments:
        raise WhisperOxError("the server heard nothing in speech: the figures would mean little")
    if reply.engine_seconds is None:
        raise WhisperOxError("the answer has no 'Server-Timing: engine;dur=...' header")
    return Timing(total=reply.seconds * 1000, engine=reply.engine_seconds * 1000)


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p95 (linear interpolation) and max of ``values``, in their unit."""
    return {
        "p50": float(np.percentile(values, 50)),
        "p95": float(np.percentile(values, 95)),
        "max": max(values),
    }


def overhead_summary(url: str, timings: Sequence[Timing]) -> dict[str, Any]:
    """Figures of one server in milliseconds, as JSON values."""
    return {
        "url": url,
        "n": len(timings),
        "total_ms": percentiles([t.total for t in timings]),
        "engine_ms": percentiles([t.engine for t in timings]),
        "overhead_ms": percentiles([t.overhead for t in timings]),
    }


def measure(
    urls: Sequence[str], audio: bytes, n: int, warm_ups: int, api_key: str | None = None
) -> list[list[Timing]]:
    """``n`` timings per URL after ``warm_ups`` requests each, the URLs taking turns."""
    options = contract_options("base", "en", batch_size=8)
    timings: list[list[Timing]] = [[] for _ in urls]
    with ExitStack() as stack:
        clients = [stack.enter_context(httpx.Client(timeout=TIMEOUT_SECONDS)) for _ in urls]
        for round_number in range(warm_ups + n):
            for url, client, found in zip(urls, clients, timings, strict=True):
                one = timing(transcribe(url, audio, options, api_key, client))
                if round_number >= warm_ups:
                    found.append(one)
    return timings


def _measure(given: argparse.Namespace) -> dict[str, Any]:
    urls = [given.url] + ([given.compare] if given.compare else [])
    audio = speech_wav(given.seconds)
    timings = measure(urls, audio, given.n, given.warm_ups, given.api_key)
    summaries = [overhead_summary(url, one) for url, one in zip(urls, timings, strict=True)]
    return {"audio_seconds": given.seconds, "servers": summaries}


def _print(document: dict[str, Any]) -> None:
    for summary in document["servers"]:
        seconds = document["audio_seconds"]
        print(f"{summary['url']}: {summary['n']} requests of {seconds:g} s, one at a time")
        for name in ("total_ms", "engine_ms", "overhead_ms"):
            row = "  ".join(f"{key} {value:8.1f}" for key, value in summary[name].items())
            print(f"  {name:<12} {row}")


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 2 where a server did not answer as expected."""
    parser = tool_parser("overhead", __doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--compare", metavar="URL2", help="a second server, measured in turns")
    parser.add_argument("--n", type=int, default=30, help="measured requests per server")
    parser.add_argument("--warm-ups", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15.0, help="length of the audio")
    parser.add_argument("--api-key", help="sent as X-API-Key")
    given = parser.parse_args(arguments)
    return run_tool(given, _measure, lambda document: True, _print)


if __name__ == "__main__":
    sys.exit(main())
