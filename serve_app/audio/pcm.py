"""Uncompressed audio that keeps coming, in pieces of any size, becomes 16 kHz mono int16."""

from typing import Literal

import av
import numpy as np
import numpy.typing as npt

from serve_app.audio.clip import INT16_SCALE, SAMPLE_RATE_HZ, Samples

Encoding = Literal["pcm16", "float32", "mulaw", "alaw"]
"""How a sample is written: int16 or float32, little-endian, or a byte of ITU-T G.711."""

MIN_RATE_HZ, MAX_RATE_HZ = 8_000, 192_000
MAX_CHANNELS = 8


def _mulaw() -> npt.NDArray[np.float32]:
    """The value of each byte of mu-law (ITU-T G.711, table 2a), of 16 bits."""
    code = ~np.arange(256, dtype=np.uint8) & 0xFF
    exponent, mantissa = code >> 4 & 7, (code & 15).astype(np.int32)
    size = ((mantissa << 3) + 132 << exponent.astype(np.int32)) - 132
    return np.where(code & 0x80, -size, size).astype(np.float32)


def _alaw() -> npt.NDArray[np.float32]:
    """The value of each byte of A-law (ITU-T G.711, table 1a), of 16 bits."""
    code = np.arange(256, dtype=np.uint8) ^ 0x55
    exponent, mantissa = (code >> 4 & 7).astype(np.int32), (code & 15).astype(np.int32)
    size = (mantissa << 4) + np.where(exponent, 264, 8) << np.maximum(exponent - 1, 0)
    return np.where(code & 0x80, size, -size).astype(np.float32)


_G711 = {"mulaw": _mulaw(), "alaw": _alaw()}
_LOUDEST = np.float32(100)
"""Samples of float32 are cut to this many times full scale before they are averaged."""

_SAMPLE_BYTES = {"pcm16": 2, "float32": 4, "mulaw": 1, "alaw": 1}


class PcmStream:
    """One stream. A frame is one sample of each channel; the channels are averaged."""

    def __init__(self, encoding: Encoding, rate_hz: int, n_channels: int) -> None:
        self.n_frames = 0
        """Whole frames that have come."""
        self._encoding = encoding
        self._rate_hz = rate_hz
        self._n_channels = n_channels
        self._frame_bytes = _SAMPLE_BYTES[encoding] * n_channels
        self._left = b""
        self._resampler = None
        if rate_hz != SAMPLE_RATE_HZ:
            self._resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)

    def feed(self, data: bytes) -> Samples:
        """The samples that ``data`` completes. A frame may be split between two pieces."""
        data = self._left + data
        n_frames = len(data) // self._frame_bytes
        whole = n_frames * self._frame_bytes
        self._left = data[whole:]
        self.n_frames += n_frames
        if not n_frames:
            return np.zeros(0, np.int16)
        if self._encoding == "pcm16" and self._n_channels == 1 and self._resampler is None:
            return np.frombuffer(data, "<i2", n_frames).astype(np.int16)
        mono = self._decoded(data[:whole]).reshape(n_frames, self._n_channels).mean(axis=1)
        return self._resampled(np.clip(np.rint(mono), -INT16_SCALE, INT16_SCALE - 1))

    def drop_part(self) -> None:
        """Forget the beginning of a frame whose rest will not come."""
        self._left = b""

    def finish(self) -> Samples:
        """The last samples, which the resampler still holds."""
        if self._resampler is None or not self.n_frames:
            return np.zeros(0, np.int16)
        return _joined(self._resampler.resample(None))

    def _decoded(self, data: bytes) -> npt.NDArray[np.float32]:
        """Every sample at the scale of int16."""
        if self._encoding == "pcm16":
            return np.frombuffer(data, "<i2").astype(np.float32)
        if self._encoding == "float32":
            samples = np.frombuffer(data, "<f4").astype(np.float32)
            np.nan_to_num(samples, copy=False, nan=0, posinf=0, neginf=0)
            np.clip(samples, -_LOUDEST, _LOUDEST, out=samples)
            samples *= np.float32(INT16_SCALE)
            return samples
        return _G711[self._encoding][np.frombuffer(data, np.uint8)]

    def _resampled(self, mono: npt.NDArray[np.floating]) -> Samples:
        samples = mono.astype(np.int16)
        if self._resampler is None:
            return samples
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = self._rate_hz
        return _joined(self._resampler.resample(frame))


def _joined(frames: "list[av.AudioFrame]") -> Samples:
    parts = [frame.to_ndarray()[0] for frame in frames]
    return np.concatenate([np.zeros(0, np.int16), *parts])
