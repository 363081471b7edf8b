"""Whisper's log-mel spectrogram of any length of audio, computed only where it is needed.

The values are those of faster-whisper's ``FeatureExtractor``, to the last bit. faster-whisper
computes a whole clip at once, which takes 1 MB per second of audio. The frames depend on only one
thing apart from the samples around them: everything that is 80 dB quieter than the loudest frame is
raised to that level. So a first pass finds the loudest frame, and a window's frames are computed
when the window is heard.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from faster_whisper.feature_extractor import FeatureExtractor

from serve_app.audio.clip import Samples, as_float32
from serve_app.engine.window import FULL_FRAMES

BLOCK_FRAMES = FULL_FRAMES

LEAST_FRAMES = 256
"""This many frames are computed at once if there are so many. BLAS adds up narrower matrices in
another order, which changes the last bit."""

HOP_SAMPLES = 160
"""Samples from one frame to the next."""

PADDING_SAMPLES = 160
"""Silence that faster-whisper adds at the end: one more frame."""

FLOOR = 1e-10
"""Power below which everything counts as silence."""

RANGE = 8.0
"""The range of a spectrogram, in powers of ten (openai/whisper, ``log_mel_spectrogram``)."""

Mel = npt.NDArray[np.float32]


@dataclass(frozen=True)
class LogMel:
    """The frames ``start`` to ``end`` of a clip's log-mel spectrogram.

    It stands for a float32 array [n_mels, n_frames] that can be sliced along its last axis. A slice
    of up to 30 s is that part of the array. A longer one is a ``LogMel`` again.
    """

    extractor: FeatureExtractor
    samples: Samples
    peak: Any
    start: int
    end: int

    @classmethod
    def of(
        cls, extractor: FeatureExtractor, samples: Samples, go_on: Callable[[], None]
    ) -> "LogMel":
        """All frames of ``samples``. This takes a second per half hour of audio.

        ``go_on`` is called before each block and may raise.
        """
        total = n_frames(samples)
        peak = np.float32(FLOOR)
        for start in range(0, total, BLOCK_FRAMES):
            go_on()
            end = min(start + BLOCK_FRAMES, total)
            peak = max(peak, _mel_power(extractor, samples, start, end).max())
        return cls(extractor, samples, np.log10(peak), 0, total)

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the array that it stands for."""
        return (len(self.extractor.mel_filters), self.end - self.start)

    def __getitem__(self, key: tuple[Any, slice]) -> Any:
        """A slice such as ``[..., start:end]``: float32 [n_mels, n_frames], or a ``LogMel``."""
        start, end, _ = key[-1].indices(self.end - self.start)
        start, end = self.start + start, self.start + max(start, end)
        if end - start > FULL_FRAMES:
            return replace(self, start=start, end=end)
        power = _mel_power(self.extractor, self.samples, start, end)
        log = np.log10(np.clip(power, a_min=FLOOR, a_max=None))
        return (np.maximum(log, self.peak - RANGE) + 4.0) / 4.0


def n_frames(samples: Samples) -> int:
    """The frames of a clip."""
    return (len(samples) + PADDING_SAMPLES) // HOP_SAMPLES


def _mel_power(extractor: FeatureExtractor, samples: Samples, start: int, end: int) -> Mel:
    """The power of the frames ``start`` to ``end`` in each band, [n_mels, end - start].

    A frame is centred on its first sample, and the audio is mirrored at both ends.
    """
    n_fft, hop = extractor.n_fft, HOP_SAMPLES
    half, total = n_fft // 2, n_frames(samples)
    begin = max(0, min(start, total - LEAST_FRAMES))
    stop = max(end, min(begin + LEAST_FRAMES, total))
    first, last = begin * hop - half, stop * hop + n_fft
    audio = as_float32(samples[max(0, first) : last])
    at_end = last > len(samples)
    audio = np.pad(audio, (0, PADDING_SAMPLES * at_end))
    audio = np.pad(audio, (max(0, -first), half * at_end), mode="reflect")
    spectrum = extractor.stft(
        audio,
        n_fft,
        hop,
        window=np.hanning(n_fft + 1)[:-1].astype(np.float32),
        center=False,
        return_complex=True,
    ).astype(np.complex64)
    power: Mel = extractor.mel_filters @ np.abs(spectrum[:, : stop - begin]) ** 2
    return power[:, start - begin : end - begin]
