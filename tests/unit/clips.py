"""Audio to give to an engine."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from loadtest.speech import registry_clips
from serve_app.audio.clip import INT16_SCALE, SAMPLE_RATE_HZ, AudioClip
from serve_app.audio.decode import decode_audio
from serve_app.audio.limits import AudioLimits


def clip_of(samples: npt.NDArray[np.floating]) -> AudioClip:
    """A clip of ``samples`` in [-1, 1), 16 kHz."""
    return AudioClip((samples * INT16_SCALE).astype(np.int16), len(samples) / SAMPLE_RATE_HZ)


def noise(seconds: float) -> AudioClip:
    """Something to hear: what is said in it is up to a scripted model."""
    return clip_of(np.random.default_rng(7).normal(0, 0.1, round(seconds * SAMPLE_RATE_HZ)))


def sentences(languages: Sequence[str] | None = None) -> list[npt.NDArray[np.float32]]:
    """Real speech of these languages, or of all: read sentences, float32 in [-1, 1), 16 kHz."""
    return [
        decode_audio(clip.audio_bytes(), limits=AudioLimits()).float32()
        for clip in registry_clips(languages=languages)
    ]
