"""WAVs of real English speech, either of about a length with exact references, or of an exact
length.
"""

import io
import random
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from faster_whisper import decode_audio

from loadtest.dictation import Habit
from loadtest.speech import Clip, corpus_clips, registry_clips
from serve_app.audio.clip import SAMPLE_RATE_HZ
from serve_app.errors import WhisperOxError

GAP_SECONDS = 0.5
"""Seconds of silence between clips that are joined."""

SHORTEST_CHUNK, ENOUGH, LONGEST_CHUNK = 0.75, 0.9, 1.2
"""Shares of the requested length, because whole clips seldom add up exactly. From ENOUGH on, no
clip is added."""

FEWEST_CHUNKS = 8
"""Number of chunks for which clips are used again if there is too little speech."""

DICTATION_SHARES = (0.5, 0.75, 1.0, 1.25, 1.5)
"""Share of the mean length of a dictation: the lengths of speech from which whole dictations are
cut."""

WAV_HEADER_BYTES = 44
FULL_SCALE = 32_768.0


@dataclass(frozen=True)
class Chunk:
    """The audio of one request: a 16 kHz mono WAV of ``seconds``. ``text`` is the exact reference,
    or None if speech was cut.
    """

    name: str
    audio: bytes
    text: str | None
    seconds: float


def pcm16_wav(samples: npt.NDArray[np.float32]) -> bytes:
    """A WAV file of ``samples``, float32 [n] in [-1, 1] at 16 kHz. Values beyond are clipped."""
    pcm = np.clip(np.round(samples * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as audio:
        audio.setnchannels(1)
        audio.setsampwidth(2)
        audio.setframerate(SAMPLE_RATE_HZ)
        audio.writeframes(pcm.tobytes())
    return file.getvalue()


def read_english() -> list[Clip]:
    """English read speech by id, of the shared corpus or else the registry's clips."""
    clips = corpus_clips(kinds=["read"], languages=["en"]) or registry_clips(languages=["en"])
    return sorted(clips, key=lambda clip: clip.id)


def speech_wav(seconds: float) -> bytes:
    """English read speech of exactly ``seconds``: clips joined, the last one cut. Clips repeat if
    there are not enough of them.
    """
    n_samples = round(seconds * SAMPLE_RATE_HZ)
    pieces: list[npt.NDArray[np.float32]] = []
    for clip in read_english():
        if sum(map(len, pieces)) >= n_samples:
            break
        pieces.append(decode_audio(str(clip.path)))
    return pcm16_wav(np.resize(np.concatenate(pieces), n_samples))


def plan_chunks(
    lengths: Sequence[float], target: float, fewest: int = FEWEST_CHUNKS
) -> list[list[int]]:
    """Which clips to join, by index, so that each chunk lasts about ``target`` seconds.

    Every clip that fits is used once, then again until there are ``fewest`` chunks. Neighbours are
    joined if they fit, because Whisper tends to stop where unrelated speech begins. The order of
    the chunks is shuffled in the same way every time. The result is [] if no chunk is possible.
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

    Raises ``WhisperOxError`` if no clip is short enough.
    """
    clips = [clip for clip in read_english() if clip.is_scored]
    plan = plan_chunks([clip.seconds for clip in clips], seconds)
    if not plan:
        raise WhisperOxError(f"there are no English clips to make chunks of {seconds:g} s from")
    samples = {n: decode_audio(str(clips[n].path)) for n in {n for chunk in plan for n in chunk}}
    return [joined([clips[n] for n in members], [samples[n] for n in members]) for members in plan]


def joined(clips: Sequence[Clip], samples: Sequence[Any]) -> Chunk:
    """``clips`` in one WAV with silence between them. ``samples`` are theirs, float32 [n] at 16
    kHz.
    """
    gap = np.zeros(round(GAP_SECONDS * SAMPLE_RATE_HZ), dtype=np.float32)
    audio = np.concatenate([piece for one in samples for piece in (one, gap)][:-1])
    return Chunk(
        name="+".join(clip.id for clip in clips),
        audio=pcm16_wav(audio),
        text=" ".join(clip.text for clip in clips),
        seconds=len(audio) / SAMPLE_RATE_HZ,
    )


class Speech:
    """Speech of exact lengths from a stock of ``chunks``, as the speech service cuts it."""

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self._chunks = sorted(chunks, key=lambda chunk: (chunk.seconds, chunk.name))

    @classmethod
    def of(cls, habit: Habit) -> "Speech":
        """The stock from which every request of people with ``habit`` can be made."""
        if habit.chunk_seconds:
            return cls(english_chunks(habit.chunk_seconds))
        lengths = [share * habit.dictation_seconds for share in DICTATION_SHARES]
        return cls([chunk for length in lengths for chunk in english_chunks(length)])

    def chunk(self, seconds: float, pick: int) -> Chunk:
        """``seconds`` of speech. ``pick``, any whole number, chooses which.

        Chunks of about that length come first, and are filled with silence or cut. Then come longer
        ones. Raises ``WhisperOxError`` if there are only shorter ones.
        """
        among = self._among(seconds)
        return _cut(among[pick % len(among)], seconds)

    def every(self, seconds: float) -> list[Chunk]:
        """All different chunks of that length, in the order of their picks from 0."""
        return [_cut(chunk, seconds) for chunk in self._among(seconds)]

    def _among(self, seconds: float) -> list[Chunk]:
        fitting = [c for c in self._chunks if SHORTEST_CHUNK * seconds <= c.seconds]
        if not fitting:
            raise WhisperOxError(f"there is no English speech of {seconds:g} s in one piece")
        near = [c for c in fitting if SHORTEST_CHUNK * c.seconds <= seconds]
        return near or fitting


def _cut(chunk: Chunk, seconds: float) -> Chunk:
    n_samples = round(seconds * SAMPLE_RATE_HZ)
    samples = np.frombuffer(chunk.audio[WAV_HEADER_BYTES:], dtype="<i2")
    kept = min(len(samples), n_samples)
    cut = np.zeros(n_samples, dtype=np.float32)
    cut[:kept] = samples[:kept] / FULL_SCALE
    text = chunk.text if kept == len(samples) else None
    return Chunk(chunk.name, pcm16_wav(cut), text, n_samples / SAMPLE_RATE_HZ)
