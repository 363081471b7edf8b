"""Closed-loop load: chunks of real speech, clients that post them, and rates of the answers."""

import asyncio
import os
import platform
import random
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
from faster_whisper import decode_audio

import serve_app
from loadtest.client import TIMEOUT_SECONDS, transcribe_async
from loadtest.speech import Clip, corpus_clips, registry_clips
from loadtest.wav import SAMPLE_RATE_HZ, pcm16_wav
from serve_app.engine.hardware import available_cpus
from serve_app.errors import WhisperOxError

GAP_SECONDS = 0.5
"""Silence between clips that are joined."""

SHORTEST_CHUNK, ENOUGH, LONGEST_CHUNK = 0.75, 0.9, 1.2
"""Of the length asked for, as whole clips seldom add up exactly; ENOUGH takes no further clip."""

FEWEST_CHUNKS = 8
"""Clips are used again where there is too little speech for more."""

KEEPALIVE_SECONDS = 2.0
"""Below the 5 s after which uvicorn closes an idle connection, else both may act at once."""

LIBRARIES = ("faster-whisper", "ctranslate2", "ray", "onnxruntime", "numpy", "httpx")


@dataclass(frozen=True)
class Chunk:
    """A WAV of whole clips with its exact reference ``text``; ``seconds`` of 16 kHz mono audio."""

    name: str
    audio: bytes
    text: str
    seconds: float


@dataclass(frozen=True)
class Post:
    """One request of a client: ``number`` in the run, ``seconds`` of audio.

    The client waits ``pause_seconds`` before it and leaves ``give_up_seconds`` after posting.
    """

    number: int
    audio: bytes
    options: Mapping[str, Any]
    seconds: float
    pause_seconds: float = 0.0
    give_up_seconds: float | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a post; times in seconds of ``time.perf_counter``.

    ``status`` is None without an answer: ``gave_up``, or else ``error`` says what broke. ``text``
    is the transcript, "" where there is none; ``code`` that of an error in our JSON.
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
        """Seconds at the client."""
        return self.ended - self.began

    @property
    def is_transcript(self) -> bool:
        """Answered as hoped for."""
        return self.status == 200 and not self.error


@dataclass(frozen=True)
class Span:
    """``audio_seconds`` of work that kept ``worker`` busy from ``began`` to ``ended``."""

    worker: int
    began: float
    ended: float
    audio_seconds: float


def loaded_rate(spans: Sequence[Span]) -> float:
    """Audio seconds done per second while every worker was busy; 0.0 for no work.

    That is from the first start until the first worker found nothing more to do, so that neither
    the length of a run nor its tail counts. Work is credited evenly over its span.
    """
    last_ended: dict[int, float] = {}
    for span in spans:
        last_ended[span.worker] = max(span.ended, last_ended.get(span.worker, span.ended))
    if not spans:
        return 0.0
    return rate_between(spans, min(span.began for span in spans), min(last_ended.values()))


def rate_between(spans: Iterable[Span], began: float, until: float) -> float:
    """Audio seconds done per second from ``began`` until ``until``, credited evenly over spans.

    Answers come a batch at a time: counting whole ones would leave the rate of a short run to luck.
    """
    done = 0.0
    for span in spans:
        inside = max(0.0, min(span.ended, until) - max(span.began, began))
        done += span.audio_seconds * inside / (span.ended - span.began)
    return done / (until - began)


def served_rate(outcomes: Iterable[Outcome]) -> float:
    """RTFx of a run with every client busy; failed requests yield nothing but took their time."""
    return loaded_rate(
        [Span(o.client, o.began, o.ended, o.seconds if o.is_transcript else 0.0) for o in outcomes]
    )


def latency_percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p95, p99 (linear interpolation) and max in seconds; {} for none."""
    if not seconds:
        return {}
    p50, p95, p99 = np.percentile(seconds, [50, 95, 99])
    return {"p50": float(p50), "p95": float(p95), "p99": float(p99), "max": max(seconds)}


def plan_chunks(
    lengths: Sequence[float], target: float, fewest: int = FEWEST_CHUNKS
) -> list[list[int]]:
    """Which clips to join, by index, so that each chunk lasts about ``target`` seconds.

    Every clip that fits is used once, then again until there are ``fewest`` chunks. Neighbours are
    joined where they fit: Whisper tends to stop where unrelated speech begins. The order of the
    chunks is shuffled, always alike. [] where no chunk can be made.
    """
    longest = LONGEST_CHUNK * target
    usable = [n for n, length in enumerate(lengths) if length <= longest]
    chunks: list[list[int]] = []
    waiting: list[int] = []
    unused = set(usable)
    while unused or (chunks and len(chunks) < fewest):
        chunk: list[int] = []
        total = -GAP_SECONDS
        while total < ENOUGH * target:
            room = longest - total - GAP_SECONDS
            if not any(lengths[n] <= room for n in waiting):
                if total >= SHORTEST_CHUNK * target or not any(lengths[n] <= room for n in usable):
                    break
                waiting += usable
            next_fitting = next(n for n in waiting if lengths[n] <= room)
            waiting.remove(next_fitting)
            chunk.append(next_fitting)
            total += GAP_SECONDS + lengths[next_fitting]
        unused -= set(chunk)
        if total >= SHORTEST_CHUNK * target:
            chunks.append(chunk)
    random.Random(0).shuffle(chunks)
    return chunks


def english_chunks(seconds: float) -> list[Chunk]:
    """Chunks of about ``seconds`` of English read speech with exact references.

    Of the shared corpus, else of the registry clips. Raises ``WhisperOxError`` where none of them
    is short enough.
    """
    clips = [c for c in corpus_clips(kinds=["read"], languages=["en"]) if c.is_scored]
    clips = sorted(clips or registry_clips(languages=["en"]), key=lambda clip: clip.id)
    plan = plan_chunks([clip.seconds for clip in clips], seconds)
    if not plan:
        raise WhisperOxError(f"there are no English clips to make chunks of {seconds:g} s from")
    samples = {n: decode_audio(str(clips[n].path)) for n in {n for chunk in plan for n in chunk}}
    return [joined([clips[n] for n in members], [samples[n] for n in members]) for members in plan]


def joined(clips: Sequence[Clip], samples: Sequence[Any]) -> Chunk:
    """``clips`` in one WAV with silence between; ``samples`` are theirs, float32 [n] at 16 kHz."""
    gap = np.zeros(round(GAP_SECONDS * SAMPLE_RATE_HZ), dtype=np.float32)
    pieces = [piece for one in samples for piece in (one, gap)][:-1]
    audio = np.concatenate(pieces)
    return Chunk(
        name="+".join(clip.id for clip in clips),
        audio=pcm16_wav(audio),
        text=" ".join(clip.text for clip in clips),
        seconds=len(audio) / SAMPLE_RATE_HZ,
    )


async def closed_loop(
    url: str,
    posts: Iterator[Post],
    clients: int,
    api_key: str | None = None,
    backoff_seconds: float = 0.0,
) -> list[Outcome]:
    """``clients`` each take the next of ``posts`` as soon as their last was answered.

    One that got no transcript waits ``backoff_seconds`` first. Returns the outcomes in the order of
    their ends, once ``posts`` is exhausted.
    """
    outcomes: list[Outcome] = []

    async def run_client(client: int, http: httpx.AsyncClient) -> None:
        for post in posts:
            await asyncio.sleep(post.pause_seconds)
            outcome = await _outcome(url, post, client, http, api_key)
            outcomes.append(outcome)
            if not outcome.is_transcript:
                await asyncio.sleep(backoff_seconds)

    limits = httpx.Limits(max_connections=None, keepalive_expiry=KEEPALIVE_SECONDS)
    async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, limits=limits) as http:
        await asyncio.gather(*(run_client(number, http) for number in range(clients)))
    return outcomes


async def _outcome(
    url: str, post: Post, client: int, http: httpx.AsyncClient, api_key: str | None
) -> Outcome:
    began = time.perf_counter()
    status, text, error, gave_up, code = None, "", "", False, ""
    try:
        call = transcribe_async(url, post.audio, post.options, http, api_key)
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
    """Date, processor, load and versions: what a stored figure means nothing without."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "processor": _processor_name(),
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


def _processor_name() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
