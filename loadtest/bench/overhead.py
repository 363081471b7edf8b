"""What the server adds to the engine's time on an idle machine.

``python -m loadtest.bench.overhead --url http://127.0.0.1:8000 [--compare URL2] [--output FILE]``
posts the same WAV of real speech, one request at a time, over a connection that stays open.
Overhead is the wall time at the client minus the engine time in the ``Server-Timing`` header. With
``--compare`` the two servers take turns, so that a drift of the machine affects both.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np

from loadtest.chunks import speech_wav
from loadtest.client import TIMEOUT_SECONDS, Reply, transcribe
from loadtest.options import english_options
from loadtest.tool import run_tool, tool_parser
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


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    p50, p95 = np.percentile(values, [50, 95])
    return {"p50": float(p50), "p95": float(p95), "max": max(values)}


def _measure(given: argparse.Namespace) -> dict[str, Any]:
    timings: dict[str, list[Timing]] = {url: [] for url in (given.url, given.compare) if url}
    audio, options = speech_wav(given.seconds), english_options("base")
    with httpx.Client(timeout=TIMEOUT_SECONDS) as client:
        for number in range(given.warm_ups + given.n):
            for url, found in timings.items():
                one = timing(transcribe(url, audio, options, client))
                if number >= given.warm_ups:
                    found.append(one)
    servers = [
        {
            "url": url,
            "n": len(found),
            "total_ms": _percentiles([one.total for one in found]),
            "engine_ms": _percentiles([one.engine for one in found]),
            "overhead_ms": _percentiles([one.overhead for one in found]),
        }
        for url, found in timings.items()
    ]
    return {"audio_seconds": given.seconds, "servers": servers}


def _print(document: dict[str, Any]) -> None:
    for server in document["servers"]:
        seconds = document["audio_seconds"]
        print(f"{server['url']}: {server['n']} requests of {seconds:g} s, one at a time")
        for name in ("total_ms", "engine_ms", "overhead_ms"):
            row = "  ".join(f"{key} {value:8.1f}" for key, value in server[name].items())
            print(f"  {name:<12} {row}")


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 2 where a server did not answer as expected."""
    parser = tool_parser("bench.overhead", __doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--compare", metavar="URL2", help="a second server, measured in turns")
    parser.add_argument("--n", type=int, default=30, help="measured requests per server")
    parser.add_argument("--warm-ups", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15.0, help="length of the audio")
    return run_tool(parser.parse_args(arguments), _measure, lambda document: True, _print)


if __name__ == "__main__":
    sys.exit(main())
