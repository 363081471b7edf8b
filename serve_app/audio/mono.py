"""Decoded frames of any shape become 16 kHz mono int16: all channels mixed, or each for itself.

As a rule the samples are bit-equal with ``faster_whisper.decode_audio``: the same resampler in the
same mode. Only where a :class:`~serve_app.audio.channels.Mix` is given is the sound mixed here,
in float, so that nothing is cut off before it has its level.
"""

from collections.abc import Sequence
from typing import NamedTuple

import av
import numpy as np
import numpy.typing as npt

from serve_app.audio.channels import Floats, Meter, Mix
from serve_app.audio.clip import SAMPLE_RATE_HZ
from serve_app.audio.lines import Write
from serve_app.errors import UnsupportedAudio

_GROUP_SAMPLES = 65_536
"""Samples per call of the resampler. Codecs' own frames are so short that calls would dominate."""

_FFMPEG_CHANNELS = 8
"""FFmpeg mixes down up to so many; of more, only some layouts."""

Shape = tuple[str, str, int]
"""Sample format, layout of channels and rate."""


def shape_of(frame: "av.AudioFrame") -> Shape:
    """What frames must have in common to be joined."""
    return (frame.format.name, frame.layout.name, frame.sample_rate)


class Remix(NamedTuple):
    """What replaces FFmpeg's own mix: ``mix``, times ``gain``."""

    mix: Mix
    gain: float


class Stretch:
    """Frames of one shape on their way to the lines that ``writes`` feed.

    Their channels are mixed into one line or, ``apart``, have one each. Of ``remixes``, which have
    one place for every line, None leaves the mix to FFmpeg.
    """

    def __init__(
        self,
        first: "av.AudioFrame",
        writes: Sequence[Write],
        remixes: Sequence[Remix | None],
        *,
        apart: bool,
    ) -> None:
        self._apart = apart
        self._fifo = av.AudioFifo()
        self._lines = [
            _Line(frame, write, remix)
            for frame, write, remix in zip(self._split(first), writes, remixes, strict=True)
        ]

    def add(self, frame: "av.AudioFrame") -> None:
        """Take the next frame."""
        frame.pts = None  # The resampler must not fill gaps in the time stamps.
        self._fifo.write(frame)
        if self._fifo.samples >= _GROUP_SAMPLES:
            self._convert(self._fifo.read(_GROUP_SAMPLES))

    def finish(self) -> tuple[Mix, ...]:
        """Write what is left; returns the mix that the whole stretch needs for each line."""
        while self._fifo.samples:
            self._convert(self._fifo.read(min(self._fifo.samples, _GROUP_SAMPLES)))
        return tuple(line.finish() for line in self._lines)

    def _convert(self, group: "av.AudioFrame") -> None:
        for line, frame in zip(self._lines, self._split(group), strict=True):
            line.convert(frame)

    def _split(self, frame: "av.AudioFrame") -> "list[av.AudioFrame]":
        """The frame, or one of the same format for each of its channels."""
        if not self._apart or frame.layout.nb_channels == 1:
            return [frame]
        name, planes = frame.format.name.removesuffix("p"), _planes(frame)
        if name == "s64":  # which PyAV does not make of an array
            name, planes = "flt", _as_float(frame)
        return [_mono(samples, name, frame.sample_rate) for samples in planes]


class _Line:
    """What becomes of a stretch's channels in one line."""

    def __init__(self, first: "av.AudioFrame", write: Write, remix: Remix | None) -> None:
        self._write = write
        self._remix = remix
        self._resampler = _resampler()
        plain = _plain_weights(first)
        self._is_average = plain is None
        n_channels = first.layout.nb_channels
        plain = np.full(n_channels, 1 / n_channels) if plain is None else plain
        self._meter = Meter(plain, first.sample_rate)

    def convert(self, group: "av.AudioFrame") -> None:
        """Take the next samples."""
        if self._remix is None:
            samples = _as_float(group)
            self._meter.add(samples)
            if self._is_average:
                mean = samples.mean(axis=0, dtype=np.float64).astype(np.float32)
                group = _mono(mean, "flt", group.sample_rate)
        else:
            mix, gain = self._remix
            mixed = gain * (mix.weights @ (_as_float(group) - mix.offsets[:, None]))
            group = _mono(mixed.astype(np.float32), "flt", group.sample_rate)
        self._resample(group)

    def finish(self) -> Mix:
        """Write what is left; returns the mix that the whole stretch needs."""
        self._resample(None)
        return self._remix.mix if self._remix else self._meter.mix()

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


def _planes(frame: "av.AudioFrame") -> npt.NDArray[np.generic]:
    """Samples as they are, [n_channels, n]."""
    n_channels = frame.layout.nb_channels
    if n_channels > _FFMPEG_CHANNELS and not frame.format.is_packed:
        # PyAV reads beyond the eighth plane and crashes.
        raise UnsupportedAudio(f"{n_channels} channels are read from uncompressed audio only.")
    samples: npt.NDArray[np.generic]
    if frame.format.name == "s64":  # which PyAV does not turn into an array
        held = np.frombuffer(frame.planes[0], np.int64)
        samples = held[: frame.samples * n_channels]
    else:
        samples = frame.to_ndarray()
    return samples.reshape(-1, n_channels).T if frame.format.is_packed else samples


def _as_float(frame: "av.AudioFrame") -> npt.NDArray[np.float32]:
    """Samples at full scale 1, [n_channels, n]."""
    samples = _planes(frame)
    kind, full_scale = samples.dtype.kind, 2.0 ** (8 * samples.dtype.itemsize - 1)
    scaled: npt.NDArray[np.float32] = samples.astype(np.float32, order="C")
    if kind != "f":
        scaled /= np.float32(full_scale)
        scaled -= np.float32(kind == "u")
    elif not np.isfinite(scaled.sum()):
        np.nan_to_num(scaled, copy=False, nan=0, posinf=0, neginf=0)
    return scaled


def _mono(samples: npt.NDArray[np.generic], format_name: str, rate_hz: int) -> "av.AudioFrame":
    """A frame of one channel; ``samples`` [n] are in that format."""
    row = np.ascontiguousarray(samples)[None]
    mono = av.AudioFrame.from_ndarray(row, format=format_name, layout="mono")
    mono.sample_rate = rate_hz
    return mono
