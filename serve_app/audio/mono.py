"""Decoded frames of any shape become 16 kHz mono int16.

As a rule the samples are bit-equal with ``faster_whisper.decode_audio``: the same resampler in the
same mode. Only where a :class:`~serve_app.audio.channels.Mix` is given is the sound mixed here,
in float, so that nothing is cut off before it has its level.
"""

from collections.abc import Callable

import av
import numpy as np
import numpy.typing as npt

from serve_app.audio.channels import Floats, Meter, Mix
from serve_app.audio.clip import SAMPLE_RATE_HZ
from serve_app.errors import UnsupportedAudio

_GROUP_SAMPLES = 65_536
"""Samples per call of the resampler. Codecs' own frames are so short that calls would dominate."""

_FFMPEG_CHANNELS = 8
"""FFmpeg mixes down up to so many; of more, only some layouts."""

Write = Callable[[memoryview], object]
"""Takes the next samples, as bytes of int16."""

Shape = tuple[str, str, int]
"""Sample format, layout of channels and rate."""


def shape_of(frame: "av.AudioFrame") -> Shape:
    """What frames must have in common to be joined."""
    return (frame.format.name, frame.layout.name, frame.sample_rate)


def write_silence(seconds: float, write: Write) -> None:
    """Write silence, piece by piece."""
    n_samples = round(seconds * SAMPLE_RATE_HZ)
    while n_samples:
        n = min(n_samples, _GROUP_SAMPLES)
        write(memoryview(bytes(2 * n)))
        n_samples -= n


class MonoStretch:
    """Frames of one shape on their way. A ``mix``, if given, replaces FFmpeg's, times ``gain``."""

    def __init__(self, first: "av.AudioFrame", write: Write, mix: Mix | None, gain: float) -> None:
        self._write = write
        self._mix = mix
        self._gain = gain
        self._fifo = av.AudioFifo()
        self._resampler = _resampler()
        plain = _plain_weights(first)
        self._is_average = plain is None
        n_channels = first.layout.nb_channels
        plain = np.full(n_channels, 1 / n_channels) if plain is None else plain
        self._meter = Meter(plain, first.sample_rate)

    def add(self, frame: "av.AudioFrame") -> None:
        """Take the next frame."""
        frame.pts = None  # The resampler must not fill gaps in the time stamps.
        self._fifo.write(frame)
        if self._fifo.samples >= _GROUP_SAMPLES:
            self._convert(self._fifo.read(_GROUP_SAMPLES))

    def finish(self) -> Mix:
        """Write what is left; returns the mix that the whole stretch needs."""
        while self._fifo.samples:
            self._convert(self._fifo.read(min(self._fifo.samples, _GROUP_SAMPLES)))
        self._resample(None)
        return self._mix or self._meter.mix()

    def _convert(self, group: "av.AudioFrame") -> None:
        if self._mix is None:
            samples = _as_float(group)
            self._meter.add(samples)
            if self._is_average:
                group = _mono(samples.mean(axis=0, dtype=np.float64), group.sample_rate)
        else:
            centred = _as_float(group) - self._mix.offsets[:, None]
            group = _mono(self._gain * (self._mix.weights @ centred), group.sample_rate)
        self._resample(group)

    def _resample(self, group: "av.AudioFrame | None") -> None:
        for frame in self._resampler.resample(group):
            self._write(frame.to_ndarray().data.cast("B"))


def _resampler() -> "av.AudioResampler":
    return av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)


def _plain_weights(frame: "av.AudioFrame") -> Floats | None:
    """The weights of FFmpeg's mix, [n_channels]; None if it has none for these channels."""
    n_channels = frame.layout.nb_channels
    if n_channels == 1:
        return np.ones(1)
    each = np.eye(n_channels, dtype=np.float32).reshape(1, -1) / 2
    probe = av.AudioFrame.from_ndarray(each, format="flt", layout=frame.layout.name)
    probe.sample_rate = SAMPLE_RATE_HZ
    try:
        mixed = _resampler().resample(probe)
    except av.FFmpegError:
        return None
    return np.concatenate([part.to_ndarray()[0] for part in mixed]) / 2.0**14


def _as_float(frame: "av.AudioFrame") -> npt.NDArray[np.float32]:
    """Samples at full scale 1, [n_channels, n]."""
    n_channels = frame.layout.nb_channels
    if n_channels > _FFMPEG_CHANNELS and not frame.format.is_packed:
        # PyAV reads beyond the eighth plane and crashes.
        raise UnsupportedAudio(f"{n_channels} channels are read from uncompressed audio only.")
    if frame.format.name == "s64":  # which PyAV does not turn into an array
        held = np.frombuffer(frame.planes[0], np.int64)
        samples = held[: frame.samples * n_channels]
    else:
        samples = frame.to_ndarray()
    if frame.format.is_packed:
        samples = samples.reshape(-1, n_channels).T
    kind, full_scale = samples.dtype.kind, 2.0 ** (8 * samples.dtype.itemsize - 1)
    scaled: npt.NDArray[np.float32] = samples.astype(np.float32, order="C")
    if kind != "f":
        scaled /= np.float32(full_scale)
        scaled -= np.float32(kind == "u")
    elif not np.isfinite(scaled.sum()):
        np.nan_to_num(scaled, copy=False, nan=0, posinf=0, neginf=0)
    return scaled


def _mono(samples: npt.NDArray[np.floating], rate_hz: int) -> "av.AudioFrame":
    mono = av.AudioFrame.from_ndarray(
        np.asarray(samples, np.float32)[None], format="fltp", layout="mono"
    )
    mono.sample_rate = rate_hz
    return mono
