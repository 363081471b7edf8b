"""Live sessions beside chunked mode: how soon words come, how often they change, how many errors.

``python -m loadtest.bench.live [--model tiny.en | --url URL] [--sessions 1 --sessions 4] [--seconds
60]``: plays long English recordings in real time, several at once, over ``/v1/stream``. The same
audio is heard as a whole, for the word error rate, and in chunks of 15 s, for the time from the end
of a word to its text. With ``--seconds`` only the start of each recording is played; errors are
then counted against the text of the whole.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any

import numpy as np
import numpy.typing as npt
from faster_whisper.audio import decode_audio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from loadtest.chunks import pcm16_wav
from loadtest.client import transcribe
from loadtest.server import server_at
from loadtest.speech import corpus_clips
from loadtest.tool import run_tool, tool_parser
from loadtest.wer import corpus_errors, normalised_units, word_errors
from serve_app.cpus import available_cpus
from serve_app.errors import WhisperOxError

RATE_HZ = 16_000
PIECE_SECONDS = 0.1
CHUNK_SECONDS = 15.0
MOST_LAG_SECONDS = 3.0
LANGUAGE = "en"


@dataclass
class Recording:
    """``samples``: float32 [n] at 16 kHz. ``text`` is what errors are counted against."""

    samples: npt.NDArray[np.float32]
    text: str
    whole: str = ""


@dataclass
class Heard:
    """What came of one session; latencies in seconds from the end of each word."""

    finals: list[str] = field(default_factory=list)
    to_partial: list[float] = field(default_factory=list)
    to_final: list[float] = field(default_factory=list)
    n_revised: int = 0
    n_words: int = 0


async def play(socket: ClientConnection, samples: npt.NDArray[np.float32], began: float) -> None:
    """Send audio at the speed of a microphone."""
    pcm = (samples * 32_767).astype("<i2").tobytes()
    step = int(PIECE_SECONDS * RATE_HZ) * 2
    for n, start in enumerate(range(0, len(pcm), step), start=1):
        await socket.send(pcm[start : start + step])
        await asyncio.sleep(max(0.0, began + n * PIECE_SECONDS - time.perf_counter()))
    await socket.send(json.dumps({"type": "finish"}))


async def listen(socket: ClientConnection, began: float) -> Heard:
    """Measure the events of a session up to its end."""
    heard = Heard()
    shown: list[str] = []
    first_shown: list[float] = []
    async for message in socket:
        now, event = time.perf_counter() - began, json.loads(message)
        if event["type"] == "error":
            raise WhisperOxError(f"a live session failed: {event['message']}")
        if event["type"] not in ("partial", "final"):
            continue
        words = normalised_units(event["text"], LANGUAGE)
        changes = SequenceMatcher(None, shown, words, autojunk=False).get_opcodes()
        heard.n_revised += sum(i2 - i1 for kind, i1, i2, _, _ in changes if kind != "equal")
        first_shown += [now] * (len(words) - len(first_shown))
        shown = words
        if event["type"] == "final":
            ends = [word["end"] for word in event["words"]]
            heard.finals.append(event["text"])
            heard.n_words += len(words)
            heard.to_final += [now - end for end in ends]
            heard.to_partial += [t - end for t, end in zip(first_shown, ends, strict=False)]
            shown, first_shown = [], []
    return heard


async def session(url: str, recording: Recording, wait_seconds: float) -> Heard:
    """One real-time session, which begins after ``wait_seconds``."""
    await asyncio.sleep(wait_seconds)
    target = f"{url.replace('http', 'ws', 1)}/v1/stream?words=true&language={LANGUAGE}"
    async with connect(target) as socket:
        began = time.perf_counter()
        playing = asyncio.create_task(play(socket, recording.samples, began))
        heard = await listen(socket, began)
        await playing
    return heard


async def at_once(url: str, recordings: Sequence[Recording], n: int) -> list[Heard]:
    """``n`` sessions, half a second apart, of the recordings in turn."""
    return await asyncio.gather(
        *[session(url, recordings[k % len(recordings)], k / 2) for k in range(n)]
    )


def recordings(url: str, seconds: float | None) -> Iterator[Recording]:
    """The long English recordings of the corpus, or their start."""
    for clip in corpus_clips(kinds=["long"], languages=[LANGUAGE]):
        if not clip.is_scored:
            continue
        samples = decode_audio(str(clip.path))[: int(seconds * RATE_HZ) if seconds else None]
        whole = " ".join(
            segment["text"] for segment in transcribe(url, pcm16_wav(samples), options()).segments
        )
        yield Recording(samples, whole if seconds else clip.text, whole)


def options(**more: Any) -> dict[str, Any]:
    """Options of the requests that the live sessions are compared with."""
    return {"language": LANGUAGE, **more}


def chunked(url: str, recording: Recording) -> list[float]:
    """From the end of each word to its text, if chunks are sent as soon as they are full."""
    latencies: list[float] = []
    n_chunk = int(CHUNK_SECONDS * RATE_HZ)
    for start in range(0, len(recording.samples), n_chunk):
        samples = recording.samples[start : start + n_chunk]
        reply = transcribe(url, pcm16_wav(samples), options(word_timestamps=True))
        for segment in reply.segments:
            ends = [word["end"] for word in segment["words"]]
            latencies += [len(samples) / RATE_HZ - end + reply.seconds for end in ends]
    return latencies


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """The median and the 95th percentile."""
    p50, p95 = np.percentile(values, [50, 95]) if values else (np.nan, np.nan)
    return {"p50": round(float(p50), 3), "p95": round(float(p95), 3)}


def figures(heard: Sequence[Heard], played: Sequence[Recording]) -> dict[str, Any]:
    """Of sessions that ran at once, and the recordings that they played."""
    pairs = list(zip(heard, played, strict=True))
    live = corpus_errors(word_errors(r.text, " ".join(h.finals), LANGUAGE) for h, r in pairs)
    whole = corpus_errors(word_errors(r.text, r.whole, LANGUAGE) for r in played)
    return {
        "sessions": len(heard),
        "wer_live": round(live.rate, 4),
        "wer_whole": round(whole.rate, 4),
        "flicker": round(sum(h.n_revised for h in heard) / max(1, live.n_reference), 3),
        "seconds_to_partial": percentiles([t for h in heard for t in h.to_partial]),
        "seconds_to_final": percentiles([t for h in heard for t in h.to_final]),
    }


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Everything; prints each level as it ends."""
    with server_at(given.url, given.model) as url:
        played = list(recordings(url, given.seconds))
        if not played:
            raise WhisperOxError("there are no long English recordings: set WHISPER_OX_CORPUS")
        in_chunks = percentiles([t for one in played for t in chunked(url, one)])
        print(f"chunks of {CHUNK_SECONDS:g} s: {in_chunks}", flush=True)
        levels = []
        for n in given.sessions or [1]:
            try:
                heard = asyncio.run(at_once(url, played, n))
            except InvalidStatus as refused:
                print(f"{n} sessions: refused with {refused.response.status_code}", flush=True)
                break
            levels.append(figures(heard, [played[k % len(played)] for k in range(n)]))
            print(levels[-1], flush=True)
    in_time = [o["sessions"] for o in levels if o["seconds_to_partial"]["p95"] <= MOST_LAG_SECONDS]
    return {
        "cores": available_cpus(),
        "seconds_in_chunks": in_chunks,
        "levels": levels,
        "sessions_per_core": max(in_time, default=0) / available_cpus(),
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 2 where nothing could be measured."""
    parser = tool_parser("bench.live", __doc__)
    parser.add_argument("--url", help="a running server; without, one is started")
    parser.add_argument("--model", default="tiny.en")
    parser.add_argument("--sessions", type=int, action="append", help="at once; may be repeated")
    parser.add_argument("--seconds", type=float, help="play only so much of each recording")
    return run_tool(parser.parse_args(arguments), measure, lambda document: True)


if __name__ == "__main__":
    sys.exit(main())
