"""Closed-loop load: clients that post one request after the other, and the rates of the answers."""

import asyncio
import itertools
import math
import os
import platform
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

import serve_app
from loadtest.chunks import Chunk
from loadtest.client import TIMEOUT_SECONDS, transcribe_async
from serve_app.cpus import available_cpus
from serve_app.errors import WhisperOxError

KEEPALIVE_SECONDS = 2.0
"""Seconds. Below the 5 s after which uvicorn closes an idle connection, so that the two do not act
at once."""

LIBRARIES = ("faster-whisper", "ctranslate2", "ray", "onnxruntime", "numpy", "httpx")


@dataclass(frozen=True)
class Post:
    """One request of a client.

    ``number`` counts within the run, and ``seconds`` is the length of the audio. The client leaves
    ``give_up_seconds`` after posting.
    """

    number: int
    audio: bytes
    options: Mapping[str, Any]
    seconds: float
    give_up_seconds: float | None = None


@dataclass(frozen=True)
class Outcome:
    """The outcome of a post. Times are in seconds of ``time.perf_counter``.

    ``status`` is None without an answer: either the client ``gave_up``, or ``error`` says what
    broke. ``text`` is the transcript, "" if there is none. ``code`` is that of an error in our
    JSON.
    """

    number: int
    client: int
    began: float
    ended: float
    seconds: float
    status: int | None
    text: str = ""
    error: str = ""
    gave_up: bool = False
    code: str = ""

    @property
    def latency(self) -> float:
        """Seconds between post and answer at the client."""
        return self.ended - self.began

    @property
    def is_transcript(self) -> bool:
        """Whether it was answered with a transcript."""
        return self.status == 200 and not self.error


@dataclass(frozen=True)
class Span:
    """``audio_seconds`` of work that kept ``worker`` busy from ``began`` to ``ended``."""

    worker: int
    began: float
    ended: float
    audio_seconds: float


def loaded_rate(spans: Sequence[Span]) -> float:
    """Audio seconds done per second while every worker was busy; 0.0 if nothing was done.

    That is the time from the first start until the first worker had nothing more to do, so neither
    the length of a run nor its tail counts. Work is spread evenly over its span.
    """
    last_ended: dict[int, float] = {}
    for span in spans:
        last_ended[span.worker] = max(span.ended, last_ended.get(span.worker, span.ended))
    if not spans:
        return 0.0
    return rate_between(spans, min(span.began for span in spans), min(last_ended.values()))


def rate_between(spans: Iterable[Span], began: float, until: float) -> float:
    """Audio seconds done per second from ``began`` until ``until``, spread evenly over spans.

    Answers arrive a batch at a time, so counting whole ones would leave the rate of a short run to
    chance.
    """
    done = 0.0
    for span in spans:
        inside = max(0.0, min(span.ended, until) - max(span.began, began))
        done += span.audio_seconds * inside / (span.ended - span.began)
    return done / (until - began)


def served_rate(outcomes: Iterable[Outcome]) -> float:
    """RTFx of a run with every client busy. Failed requests yield nothing but take their time."""
    return loaded_rate(
        [Span(o.client, o.began, o.ended, o.seconds if o.is_transcript else 0.0) for o in outcomes]
    )


def latency_percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p95, p99 (linear interpolation) and max in seconds; {} for none."""
    if not seconds:
        return {}
    p50, p95, p99 = np.percentile(seconds, [50, 95, 99])
    return {"p50": float(p50), "p95": float(p95), "p99": float(p99), "max": max(seconds)}


def posts_of(
    chunks: Iterable[Chunk],
    options: Mapping[str, Any],
    *,
    requests: int | None = None,
    seconds: float = math.inf,
    first: int = 0,
) -> Iterator[Post]:
    """A post for each of ``chunks``, numbered from ``first``.

    They end after so many ``requests``, or ``seconds`` after the first was taken.
    """
    deadline = time.perf_counter() + seconds
    for number, chunk in enumerate(itertools.islice(chunks, requests), start=first):
        if time.perf_counter() >= deadline:
            return
        yield Post(number, chunk.audio, options, chunk.seconds)


def transcribed(outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
    """All of ``outcomes``; raises ``WhisperOxError`` where a request failed."""
    failed = [outcome.error for outcome in outcomes if not outcome.is_transcript]
    if failed:
        raise WhisperOxError(f"{len(failed)} requests failed, the first with: {failed[0]}")
    return outcomes


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """How many failed and with what, and latencies of the others, as JSON values."""
    good = [outcome for outcome in outcomes if outcome.is_transcript]
    return {
        "requests": len(outcomes),
        "failed": len(outcomes) - len(good),
        "failures": sorted({o.error for o in outcomes if not o.is_transcript})[:5],
        "latency_seconds": latency_percentiles([outcome.latency for outcome in good]),
    }


async def closed_loop(
    url: str, posts: Iterable[Post], clients: int, backoff_seconds: float = 0.0
) -> list[Outcome]:
    """``clients`` each take the next of ``posts`` as soon as their last one was answered.

    A client without a transcript waits ``backoff_seconds`` first. Returns the outcomes in the order
    in which they ended, once ``posts`` is exhausted.
    """
    outcomes: list[Outcome] = []
    left = iter(posts)

    async def run_client(client: int, http: httpx.AsyncClient) -> None:
        for post in left:
            outcome = await _outcome(url, post, client, http)
            outcomes.append(outcome)
            if not outcome.is_transcript:
                await asyncio.sleep(backoff_seconds)

    limits = httpx.Limits(max_connections=None, keepalive_expiry=KEEPALIVE_SECONDS)
    async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, limits=limits) as http:
        await asyncio.gather(*(run_client(number, http) for number in range(clients)))
    return outcomes


async def _outcome(url: str, post: Post, client: int, http: httpx.AsyncClient) -> Outcome:
    began = time.perf_counter()
    status, text, error, gave_up, code = None, "", "", False, ""
    try:
        call = transcribe_async(url, post.audio, post.options, http)
        reply = await asyncio.wait_for(call, post.give_up_seconds)
        status, code = reply.status, reply.error_code
        text = reply.text
    except asyncio.TimeoutError:
        gave_up = True
    except WhisperOxError as refused:
        error = refused.message
    except httpx.HTTPError as broken:
        error = f"{type(broken).__name__}: {broken}"
    ended = time.perf_counter()
    return Outcome(
        post.number, client, began, ended, post.seconds, status, text, error, gave_up, code
    )


def machine() -> dict[str, Any]:
    """Date, processor, load and versions, without which a stored figure means nothing."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "processor": processor_name(),
        "cores": available_cpus(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {
            "whisper-ox": serve_app.__version__,
            **{name: version(name) for name in LIBRARIES},
        },
    }


def processor_name() -> str:
    """The processor's name, as Linux gives it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
