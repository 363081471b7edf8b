"""The audio value that flows through the server."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SAMPLE_RATE_HZ = 16_000
"""Whisper's input rate (Radford et al. 2022, section 2.2)."""

BYTES_PER_SECOND = 2 * SAMPLE_RATE_HZ
"""Of int16 samples."""

INT16_SCALE = 32_768.0
"""int16 full scale: float sample = int16 sample / 32768."""

Samples = npt.NDArray[np.int16]
"""Mono audio at 16 kHz, shape [n]."""


def as_float32(samples: Samples) -> npt.NDArray[np.float32]:
    """Samples as Whisper reads them, in [-1, 1): a copy of twice the bytes."""
    scaled = samples.astype(np.float32)
    scaled /= np.float32(INT16_SCALE)
    return scaled


@dataclass(frozen=True)
class AudioClip:
    """Decoded mono audio at 16 kHz.

    ``samples`` is int16, half the bytes of float32 to move between processes and to hold while a
    request waits for its turn.
    ``received_seconds`` is the length before resampling, which a response calls ``duration``.
    ``track``: which of the file's audio tracks it is, such as "2 of 3"; None if there is one.
    """

    samples: Samples
    received_seconds: float
    track: str | None = None

    @classmethod
    def of(cls, samples: Samples) -> "AudioClip":
        """A clip that was received at 16 kHz."""
        return cls(samples, len(samples) / SAMPLE_RATE_HZ)

    @property
    def seconds(self) -> float:
        """Length at 16 kHz, in seconds."""
        return len(self.samples) / SAMPLE_RATE_HZ

    def float32(self) -> npt.NDArray[np.float32]:
        """Samples as float32 in [-1, 1), shape [n]."""
        return as_float32(self.samples)
