"""A WAV of real speech of a chosen length: the contract's 16 kHz mono PCM16."""

import io
import wave

import numpy as np
import numpy.typing as npt
from faster_whisper import decode_audio

from loadtest.speech import corpus_clips, registry_clips

SAMPLE_RATE_HZ = 16_000


def pcm16_wav(samples: npt.NDArray[np.float32]) -> bytes:
    """WAV file of ``samples``, float32 [n] in [-1, 1] at 16 kHz; values beyond are clipped."""
    pcm = np.clip(np.round(samples * 32_768.0), -32_768, 32_767).astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as audio:
        audio.setnchannels(1)
        audio.setsampwidth(2)
        audio.setframerate(SAMPLE_RATE_HZ)
        audio.writeframes(pcm.tobytes())
    return file.getvalue()


def speech_wav(seconds: float) -> bytes:
    """English read speech of exactly ``seconds``: clips joined in order of id, the last one cut."""
    clips = corpus_clips(kinds=["read"], languages=["en"]) or registry_clips(languages=["en"])
    n_samples = round(seconds * SAMPLE_RATE_HZ)
    joined = np.zeros(0, dtype=np.float32)
    ordered = sorted(clips, key=lambda clip: clip.id)
    while len(joined) < n_samples:
        for clip in ordered:
            joined = np.concatenate([joined, decode_audio(str(clip.path))])
            if len(joined) >= n_samples:
                break
    return pcm16_wav(joined[:n_samples])
