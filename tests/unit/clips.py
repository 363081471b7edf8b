"""Audio for an engine."""

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from loadtest.speech import registry_clips
from serve_app.audio.clip import INT16_SCALE, SAMPLE_RATE_HZ, AudioClip
from serve_app.audio.decode import decode_audio
from serve_app.audio.limits import AudioLimits
from serve_app.engine.coverage import Interval

PAUSE_SECONDS = 0.7
"""Seconds between the utterances of a chunk."""


def clip_of(samples: npt.NDArray[np.floating]) -> AudioClip:
    """A clip of ``samples`` in [-1, 1), 16 kHz."""
    return AudioClip((samples * INT16_SCALE).astype(np.int16), len(samples) / SAMPLE_RATE_HZ)


def noise(seconds: float) -> AudioClip:
    """Noise to hear. A scripted model decides what is said in it."""
    return clip_of(np.random.default_rng(7).normal(0, 0.1, round(seconds * SAMPLE_RATE_HZ)))


def sentences(languages: Sequence[str] | None = None) -> list[npt.NDArray[np.float32]]:
    """Real speech of these languages, or of all: read sentences, float32 in [-1, 1), 16 kHz."""
    return [
        decode_audio(clip.audio_bytes(), limits=AudioLimits()).float32()
        for clip in registry_clips(languages=languages)
    ]


def utterance(clip_id: str) -> npt.NDArray[np.float32]:
    """A read sentence, float32 in [-1, 1), 16 kHz."""
    [audio] = [clip.audio_bytes() for clip in registry_clips() if clip.id == clip_id]
    return decode_audio(audio, limits=AudioLimits()).float32()


def chunk(
    clip_ids: Sequence[str], pause_seconds: float = PAUSE_SECONDS
) -> tuple[AudioClip, list[Interval]]:
    """Utterances with pauses between them, and the times at which each is spoken."""
    pause = np.zeros(round(pause_seconds * SAMPLE_RATE_HZ), np.float32)
    spoken = [utterance(clip_id) for clip_id in clip_ids]
    pieces = [piece for one in spoken for piece in (one, pause)][:-1]
    edges = [0, *accumulate(map(len, pieces))]
    times = [edge / SAMPLE_RATE_HZ for edge in edges]
    return clip_of(np.concatenate(pieces)), list(zip(times[::2], times[1::2], strict=True))
