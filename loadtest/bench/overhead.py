"""What the server adds to the engine's time on an idle machine, and what a facade adds to that.

``python -m loadtest.bench.overhead --url http://127.0.0.1:8000 [--compare URL2] [--facades]
[--output FILE]`` posts the same WAV of real speech, one request at a time, over a connection that
stays open. Overhead is the wall time at the client minus the engine time in the ``Server-Timing``
header. With ``--compare`` the two servers take turns, so that a drift of the machine affects both.
With ``--facades`` every protocol takes turns with the native route, to whose median each may add up
to ``MOST_ADDED_MS``.
"""

import argparse
import base64
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np

from loadtest.chunks import speech_wav
from loadtest.client import TIMEOUT_SECONDS, Reply, reply_of, transcribe
from loadtest.options import english_options
from loadtest.tool import run_tool, tool_parser
from serve_app.errors import WhisperOxError

MOST_ADDED_MS = 2.0
"""The most that a facade may add to the native route's median overhead."""

NATIVE = "native"
SHORT_AUDIO = "/speech/recognition/conversation/cognitiveservices/v1?language=en-US"

Post = Callable[[httpx.Client, str], Reply]
"""Posts the audio to the server with this URL."""


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
    return _timing(reply)


def _timing(reply: Reply) -> Timing:
    if reply.status != httpx.codes.OK:
        raise WhisperOxError(f"HTTP {reply.status}: {str(reply.body)[:500]}")
    if reply.engine_seconds is None:
        raise WhisperOxError("the answer has no 'Server-Timing: engine;dur=...' header")
    return Timing(total=reply.seconds * 1000, engine=reply.engine_seconds * 1000)


def _routes(audio: bytes, *, with_facades: bool) -> dict[str, Post]:
    """The native route and, with the facades, one request of each protocol for the same audio."""
    options = english_options("base")
    routes: dict[str, Post] = {NATIVE: lambda http, url: transcribe(url, audio, options, http)}
    if not with_facades:
        return routes
    part = ("clip", audio, "application/octet-stream")
    openai: dict[str, Any] = {
        "url": "/v1/audio/transcriptions",
        "files": {"file": part},
        "data": {"language": "en"},
    }
    words = {"response_format": "verbose_json", "timestamp_granularities[]": ["word", "segment"]}
    data = base64.b64encode(audio).decode()
    in_json = json.dumps({"input_audio": {"data": data, "format": "wav"}, "language": "en"})
    requests: dict[str, dict[str, Any]] = {
        "OpenAI, json": openai,
        "OpenAI, words": {**openai, "data": {**openai["data"], **words}},
        "OpenAI, srt": {**openai, "data": {**openai["data"], "response_format": "srt"}},
        "Groq": {**openai, "url": "/openai/v1/audio/transcriptions"},
        "Azure OpenAI": {**openai, "url": "/openai/deployments/whisper/audio/transcriptions"},
        "OpenRouter, base64": {
            "url": "/api/v1/audio/transcriptions",
            "content": in_json.encode(),
            "headers": {"Content-Type": "application/json"},
        },
        "Deepgram": {"url": "/v1/listen?language=en", "content": audio},
        "Azure Speech, fast": {
            "url": "/speechtotext/transcriptions:transcribe",
            "files": {"audio": part},
            "data": {"definition": json.dumps({"locales": ["en-US"]})},
        },
        "Azure Speech, short": {"url": SHORT_AUDIO, "content": audio},
    }
    return routes | {name: _post(request) for name, request in requests.items()}


def _post(request: dict[str, Any]) -> Post:
    def post(http: httpx.Client, url: str) -> Reply:
        began = time.perf_counter()
        return reply_of(http.post(**{**request, "url": url.rstrip("/") + request["url"]}), began)

    return post


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    p50, p95 = np.percentile(values, [50, 95])
    return {"p50": float(p50), "p95": float(p95), "max": max(values)}


def _measure(given: argparse.Namespace) -> dict[str, Any]:
    routes = _routes(speech_wav(given.seconds), with_facades=given.facades)
    urls = [url for url in (given.url, given.compare) if url]
    timings: dict[tuple[str, str], list[Timing]] = {(u, name): [] for u in urls for name in routes}
    with httpx.Client(timeout=TIMEOUT_SECONDS) as client:
        for number in range(given.warm_ups + given.n):
            for (url, name), found in timings.items():
                reply = routes[name](client, url)
                taken = timing(reply) if name == NATIVE else _timing(reply)
                if number >= given.warm_ups:
                    found.append(taken)
    servers: list[dict[str, Any]] = [
        {
            "url": url,
            "route": name,
            "n": len(found),
            "total_ms": _percentiles([one.total for one in found]),
            "engine_ms": _percentiles([one.engine for one in found]),
            "overhead_ms": _percentiles([one.overhead for one in found]),
        }
        for (url, name), found in timings.items()
    ]
    native = {one["url"]: one["overhead_ms"]["p50"] for one in servers if one["route"] == NATIVE}
    for one in servers:
        one["added_ms"] = one["overhead_ms"]["p50"] - native[one["url"]]
    return {"audio_seconds": given.seconds, "servers": servers}


def _is_light(document: dict[str, Any]) -> bool:
    return all(server["added_ms"] < MOST_ADDED_MS for server in document["servers"])


def _print(document: dict[str, Any]) -> None:
    for server in document["servers"]:
        seconds, route = document["audio_seconds"], server["route"]
        print(f"{server['url']}, {route}: {server['n']} requests of {seconds:g} s, one at a time")
        for name in ("total_ms", "engine_ms", "overhead_ms"):
            row = "  ".join(f"{key} {value:8.1f}" for key, value in server[name].items())
            print(f"  {name:<12} {row}")
        if route != NATIVE:
            print(f"  {'added_ms':<12} p50 {server['added_ms']:8.1f}")


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 1 where a facade adds too much, 2 where an answer is not a transcript."""
    parser = tool_parser("bench.overhead", __doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--compare", metavar="URL2", help="a second server, measured in turns")
    parser.add_argument("--facades", action="store_true", help="every protocol as well")
    parser.add_argument("--n", type=int, default=30, help="measured requests per server")
    parser.add_argument("--warm-ups", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15.0, help="length of the audio")
    return run_tool(parser.parse_args(arguments), _measure, _is_light, _print)


if __name__ == "__main__":
    sys.exit(main())
