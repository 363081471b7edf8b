"""Dictation latency without and with a long file in the same server, and the model's memory.

``python -m loadtest.mixed_load --model base [--file-seconds 7200] [--output FILE]``: clients post
5 s chunks and think (dictate the next chunk) between an answer and the next request; their p95
latency is measured alone, then beside one long file, which is afterwards transcribed to its end.
Peak RSS is that of the model replica, for a server that is started here. Exit code 1 if a request
failed.
"""

import argparse
import asyncio
import itertools
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
from faster_whisper import decode_audio

from loadtest.client import Reply, transcribe
from loadtest.load import (
    Chunk,
    Outcome,
    Post,
    closed_loop,
    english_chunks,
    latency_percentiles,
    machine,
)
from loadtest.memory import MemoryWatch
from loadtest.options import COMPUTE_TYPE, EVALUATED_MODELS, contract_options
from loadtest.server import start_server
from loadtest.speech import corpus_clips, registry_clips
from loadtest.tool import run_tool, tool_parser
from loadtest.wav import SAMPLE_RATE_HZ, pcm16_wav

THINK_SPREAD = 0.2
"""Thinking takes its mean plus or minus up to this share, lest the clients march in step."""

FILE_TIMEOUT_SECONDS = 4 * 3600.0


@dataclass(frozen=True)
class Dictation:
    """``clients`` who post the ``chunks`` in a circle and think ``think_seconds`` in between."""

    chunks: Sequence[Chunk]
    options: dict[str, Any]
    clients: int
    think_seconds: float
    api_key: str | None

    def posts(self, goes_on: Callable[[], bool], seed: int) -> Iterator[Post]:
        """Posts with their pauses, for as long as ``goes_on()``; the first come spread out."""
        chance = random.Random(seed)
        for number in itertools.count():
            if not goes_on():
                return
            spread = (0.0, 1.0) if number < self.clients else (1 - THINK_SPREAD, 1 + THINK_SPREAD)
            chunk = self.chunks[number % len(self.chunks)]
            pause = self.think_seconds * chance.uniform(*spread)
            yield Post(number, chunk.audio, self.options, chunk.seconds, pause_seconds=pause)

    async def run(self, url: str, goes_on: Callable[[], bool], seed: int) -> list[Outcome]:
        """Dictate for as long as ``goes_on()``."""
        return await closed_loop(url, self.posts(goes_on, seed), self.clients, self.api_key)


async def dictate_beside_file(
    dictation: Dictation, url: str, audio: bytes, seconds: float
) -> tuple[list[Outcome], Reply]:
    """Dictate for ``seconds`` while ``audio`` is transcribed, and see that to its end.

    Only requests posted during the transcription are returned.
    """
    began = time.perf_counter()
    with httpx.Client(timeout=FILE_TIMEOUT_SECONDS) as http:
        # In a thread, for sending hundreds of megabytes would hold up the clients' event loop.
        file = asyncio.create_task(
            asyncio.to_thread(transcribe, url, audio, dictation.options, dictation.api_key, http)
        )
        beside = _for_seconds(seconds)
        outcomes = await dictation.run(url, lambda: beside() and not file.done(), seed=1)
        print(f"dictated beside the file: {latency_of(outcomes)}; now to its end", flush=True)
        reply = await file
    until = began + reply.seconds
    return [outcome for outcome in outcomes if outcome.began < until], reply


def long_wav(seconds: float) -> bytes:
    """English read speech of exactly ``seconds``, clips joined in a circle, as 16 kHz WAV."""
    clips = corpus_clips(kinds=["read"], languages=["en"]) or registry_clips(languages=["en"])
    samples = [decode_audio(str(clip.path)) for clip in sorted(clips, key=lambda clip: clip.id)]
    once = np.concatenate(samples)
    return pcm16_wav(np.resize(once, round(seconds * SAMPLE_RATE_HZ)))


def latency_of(outcomes: Sequence[Outcome]) -> str:
    """Percentiles of the answered ones in words."""
    found = latency_percentiles([o.latency for o in outcomes if o.is_transcript])
    return ", ".join(f"{name} {seconds:.2f} s" for name, seconds in found.items())


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Figures of the dictation, as JSON values."""
    good = [outcome for outcome in outcomes if outcome.is_transcript]
    return {
        "requests": len(outcomes),
        "failed": len(outcomes) - len(good),
        "failures": sorted({o.error for o in outcomes if not o.is_transcript})[:5],
        "latency_seconds": latency_percentiles([outcome.latency for outcome in good]),
    }


def _measure(given: argparse.Namespace) -> dict[str, Any]:
    about = machine()
    chunks = english_chunks(given.chunk_seconds)
    options = dict(contract_options(given.model, "en", batch_size=8))
    dictation = Dictation(chunks, options, given.clients, given.think_seconds, given.api_key)
    audio = long_wav(given.file_seconds)
    with ExitStack() as stack:
        url, memory = given.url, None
        if not url:
            server = stack.enter_context(start_server(given.model))
            url = server.url
            memory = stack.enter_context(MemoryWatch(server.process.pid, every_seconds=1.0))
        asyncio.run(dictation.run(url, _for_seconds(given.warm_up_seconds), seed=0))
        alone = asyncio.run(dictation.run(url, _for_seconds(given.seconds), seed=1))
        print(f"dictated alone: {latency_of(alone)}", flush=True)
        beside, file = asyncio.run(dictate_beside_file(dictation, url, audio, given.beside_seconds))
    document = {
        "tool": "mixed_load",
        "machine": about,
        "model": given.model,
        "compute_type": COMPUTE_TYPE,
        "options": options,
        "clients": given.clients,
        "chunk_seconds": sum(chunk.seconds for chunk in chunks) / len(chunks),
        "think_seconds": given.think_seconds,
        "alone": summary(alone),
        "beside_file": summary(beside),
        "file": {
            "audio_seconds": given.file_seconds,
            "seconds": file.seconds,
            "rtfx": given.file_seconds / file.seconds,
            "segments": len(file.segments),  # raises where it was refused
        },
    }
    p95 = [document[name]["latency_seconds"].get("p95") for name in ("alone", "beside_file")]
    document["p95_ratio"] = p95[1] / p95[0] if all(p95) else None
    if memory is not None:
        document["peak_rss_mib"] = {
            name: max(series.mebibytes) for name, series in memory.series().items()
        }
    return document


def _for_seconds(seconds: float) -> Callable[[], bool]:
    deadline = time.perf_counter() + seconds
    return lambda: time.perf_counter() < deadline


def _print(document: dict[str, Any]) -> None:
    print(
        f"{document['clients']} clients, chunks of {document['chunk_seconds']:.1f} s, thinking "
        f"{document['think_seconds']:g} s\n{'':<14} requests failed   p50 s   p95 s   p99 s"
    )
    for name in ("alone", "beside_file"):
        row = document[name]
        latency = " ".join(
            f"{row['latency_seconds'].get(k, 0):7.2f}" for k in ("p50", "p95", "p99")
        )
        print(f"{name:<14} {row['requests']:>8} {row['failed']:>6} {latency}")
        for failure in row["failures"]:
            print(f"  failed: {failure[:200]}")
    if document["p95_ratio"] is not None:
        print(f"p95 beside the file / alone: {document['p95_ratio']:.2f}")
    file = document["file"]
    print(f"file: {file['audio_seconds']:g} s in {file['seconds']:.1f} s, RTFx {file['rtfx']:.2f}")
    for name, peak in document.get("peak_rss_mib", {}).items():
        print(f"peak RSS of {name}: {peak:.0f} MiB")


def _is_good(document: dict[str, Any]) -> bool:
    return not (document["alone"]["failed"] or document["beside_file"]["failed"])


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 1 where a request failed, 2 where nothing could be measured."""
    parser = tool_parser("mixed_load", __doc__)
    parser.add_argument("--model", choices=EVALUATED_MODELS, default="base")
    parser.add_argument("--url", help="a running server; default: one is started")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--chunk-seconds", type=float, default=5.0)
    parser.add_argument("--think-seconds", type=float, default=5.0, help="mean, +/- 20 %%")
    parser.add_argument("--seconds", type=float, default=180.0, help="of dictation alone")
    parser.add_argument("--beside-seconds", type=float, default=300.0, help="beside the file")
    parser.add_argument("--warm-up-seconds", type=float, default=10.0, help="not counted")
    parser.add_argument("--file-seconds", type=float, default=7200.0)
    parser.add_argument("--api-key", help="sent as X-API-Key")
    given = parser.parse_args(arguments)
    return run_tool(given, _measure, _is_good, _print)


if __name__ == "__main__":
    sys.exit(main())
