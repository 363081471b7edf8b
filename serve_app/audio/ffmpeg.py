"""Compressed and foreign audio through FFmpeg (PyAV), in memory, to 16 kHz mono int16.

Samples are bit-equal with ``faster_whisper.decode_audio``: the same resampler in the same mode,
fed from the same decoder. Unlike it, a damaged packet costs that packet and not all that follows.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import av
import numpy as np
import numpy.typing as npt

from serve_app.audio.clip import SAMPLE_RATE_HZ
from serve_app.audio.container import CODEC_WHITELIST, DEMUXERS, SUPPORTED_FORMATS
from serve_app.audio.limits import AudioLimits, Hold
from serve_app.audio.wav import MAX_RATE_HZ, MIN_RATE_HZ
from serve_app.errors import InvalidAudio, UnsupportedAudio

_CODECS = frozenset(CODEC_WHITELIST.split(","))
_OPTIONS = {"protocol_whitelist": "none", "codec_whitelist": CODEC_WHITELIST}
"""No nested file or URL is opened, and no decoder runs that speech does not need."""

_GROUP_SAMPLES = 65_536
"""Samples per call of the resampler: codecs' own frames are so short that calls dominate."""

_EXACT_DURATION = ("flac", "ogg", "mp4", "webm", "caf", "au")
"""Kinds whose header or last page tells the length; for the others FFmpeg only guesses it from a
bit rate and must not be believed."""

_LOST_SECONDS = 0.1
"""Below this, a file without a sample is what a codec's start-up delay left of a short one."""

_FEWEST_BYTES_PER_PACKET = 128
"""Of decoded PCM, on average; the least of any codec's own choice is 320 (GSM). A packet takes
10 us and more however little is in it: half a gigabyte of one-sample packets would take an hour."""

_ALWAYS_FINE_PACKETS = 20_000

_FFMPEG_ERRORS = (av.FFmpegError, ValueError, OSError, OverflowError)
"""What PyAV raises on bad bytes: FFmpeg's codes, and its own checks of what FFmpeg reports."""


@dataclass(frozen=True)
class Decoded:
    """``samples``: int16 [n] at 16 kHz; ``seconds`` and ``n_frames`` as decoded, at own rate."""

    samples: npt.NDArray[np.int16]
    seconds: float
    n_frames: int


def decode(
    kind: str, parts: Sequence[bytes | memoryview], limits: AudioLimits, hold: Hold
) -> Decoded:
    """Decode the first audio track of the file that ``parts`` make when put together.

    ``kind`` is a key of ``DEMUXERS``; ``hold`` is told of the result as it grows. Holds one packet
    group and the 16 kHz result, never the audio at its own rate. Raises :class:`InvalidAudio` where
    nothing can be decoded, :class:`UnsupportedAudio` where there is no audio track or its codec is
    not read, ``AudioTooLarge`` from the header or as soon as ``limits`` are passed.
    """
    try:
        container = av.open(
            _Reader(parts), format=DEMUXERS[kind], metadata_errors="ignore", options=_OPTIONS
        )
    except _FFMPEG_ERRORS as error:
        raise _undecodable(kind, error) from None
    with container:
        stream = _audio_stream(kind, container)
        claimed_seconds = _header_seconds(container, stream) if kind in _EXACT_DURATION else 0.0
        limits.check_seconds(claimed_seconds)
        decoded = _Decoding(kind, limits, hold).run(container, stream)
    if claimed_seconds > _LOST_SECONDS and not decoded.n_frames:
        raise InvalidAudio(
            f"The {kind} file's header claims {claimed_seconds:.1f} s of audio, but it holds none."
        )
    return decoded


def _audio_stream(kind: str, container: "av.container.InputContainer") -> "av.AudioStream":
    if not container.streams.audio:
        raise UnsupportedAudio(
            f"The {kind} file has no audio track. Supported: {SUPPORTED_FORMATS}."
        )
    stream = container.streams.audio[0]
    context = stream.codec_context
    codec = "unknown" if context is None else context.name
    if codec not in _CODECS:
        raise UnsupportedAudio(
            f"The {kind} file's audio codec ({codec}) is not supported. "
            f"Supported: {SUPPORTED_FORMATS}."
        )
    return stream


def _header_seconds(container: "av.container.InputContainer", stream: "av.AudioStream") -> float:
    """The length that the header claims, in seconds; 0 if it claims none."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return float((container.duration or 0) / av.time_base)


class _Decoding:
    """One pass over a stream: packets -> frames -> groups -> 16 kHz mono int16."""

    def __init__(self, kind: str, limits: AudioLimits, hold: Hold) -> None:
        self.kind = kind
        self.limits = limits
        self.hold = hold
        self.pcm = bytearray()
        self.earlier_seconds = 0.0
        self.n_frames = 0
        self.n_shape_frames = 0
        self.n_bytes = 0
        self.n_packets = 0
        self.first_error: Exception | None = None
        self.shape: tuple[str, str, int] | None = None
        self.fifo: av.AudioFifo
        self.resampler: av.AudioResampler
        self.averages = False

    def run(self, container: "av.container.InputContainer", stream: "av.AudioStream") -> Decoded:
        try:
            for frame in self._frames(container, stream):
                self._add(frame)
            self._finish_shape()
        except _FFMPEG_ERRORS as error:
            raise _undecodable(self.kind, error, self.seconds) from None
        if self.first_error is not None and not self.n_frames:
            raise _undecodable(self.kind, self.first_error)
        return Decoded(np.frombuffer(self.pcm, np.int16), self.seconds, self.n_frames)

    @property
    def seconds(self) -> float:
        """Decoded so far."""
        if self.shape is None:
            return 0.0
        return self.earlier_seconds + self.n_shape_frames / self.shape[2]

    def _frames(
        self, container: "av.container.InputContainer", stream: "av.AudioStream"
    ) -> Iterator["av.AudioFrame"]:
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except _FFMPEG_ERRORS as error:
                # Its traceback would tie this decoding, hence the codec's threads and their 20 MB,
                # into a cycle that only the garbage collector undoes.
                self.first_error = self.first_error or error.with_traceback(None)
                frames = []
            yield from frames
            self._check_packets()

    def _check_packets(self) -> None:
        self.n_packets += 1
        fewest = _FEWEST_BYTES_PER_PACKET * self.n_packets
        if self.n_packets > _ALWAYS_FINE_PACKETS and self.n_bytes < fewest:
            raise InvalidAudio(
                f"The {self.kind} file's first {self.n_packets} packets hold {self.n_bytes} bytes "
                "of sound in all, far fewer than in any sound file. Is it damaged?"
            )

    def _add(self, frame: "av.AudioFrame") -> None:
        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        if shape != self.shape:  # joined MP3, AAC that turns out to be HE-AAC
            if not MIN_RATE_HZ <= frame.sample_rate <= MAX_RATE_HZ:
                raise InvalidAudio(f"The {self.kind} file claims {frame.sample_rate} Hz.")
            self._finish_shape()
            self.earlier_seconds, self.n_shape_frames = self.seconds, 0
            self.shape = shape
            self.fifo = av.AudioFifo()
            self.resampler = _resampler()
            self.averages = not _is_mixable(frame)
        self.n_frames += frame.samples
        self.n_shape_frames += frame.samples
        self.n_bytes += frame.samples * frame.layout.nb_channels * frame.format.bytes
        self.limits.check_seconds(self.seconds)
        self.limits.check_decoded_bytes(self.n_bytes)
        frame.pts = None  # gaps and jumps in time stamps are not the resampler's business
        self.fifo.write(_average(frame) if self.averages else frame)
        if self.fifo.samples >= _GROUP_SAMPLES:
            self._resample(self.fifo.read())

    def _finish_shape(self) -> None:
        """Resample what is left in the old shape and drain its resampler."""
        if self.shape is not None:
            if self.fifo.samples:
                self._resample(self.fifo.read())
            self._resample(None)

    def _resample(self, group: "av.AudioFrame | None") -> None:
        for frame in self.resampler.resample(group):
            piece = frame.to_ndarray()
            self.hold(piece.nbytes)
            self.pcm += piece.data


def _resampler() -> "av.AudioResampler":
    return av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)


def _is_mixable(frame: "av.AudioFrame") -> bool:
    """Whether FFmpeg has a down-mix for the channels; of 9, 11 or 64 it has none."""
    if frame.layout.nb_channels <= 8:
        return True
    try:
        _resampler().resample(frame)
    except av.FFmpegError:
        return False
    return True


def _average(frame: "av.AudioFrame") -> "av.AudioFrame":
    """A mono float frame with the mean of all channels."""
    n_channels = frame.layout.nb_channels
    if not frame.format.is_packed:  # PyAV reads beyond the eighth plane and crashes
        raise UnsupportedAudio(f"{n_channels} channels are read from uncompressed audio only.")
    samples = frame.to_ndarray().reshape(-1, n_channels).T
    mean = samples.mean(axis=0, dtype=np.float64, keepdims=True)
    if samples.dtype.kind != "f":
        full_scale = 2.0 ** (8 * samples.dtype.itemsize - 1)
        mean = mean / full_scale - (samples.dtype.kind == "u")
    mono = av.AudioFrame.from_ndarray(mean.astype(np.float32), format="fltp", layout="mono")
    mono.sample_rate = frame.sample_rate
    return mono


class _Reader(io.RawIOBase):
    """A read-only file over several buffers, which are not copied into one."""

    def __init__(self, parts: Sequence[bytes | memoryview]) -> None:
        self._parts = [memoryview(part) for part in parts]
        self._n_bytes = sum(len(part) for part in self._parts)
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._n_bytes}[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, n_bytes: int = -1) -> bytes:
        end = self._n_bytes if n_bytes < 0 else min(self._position + n_bytes, self._n_bytes)
        found = []
        start = 0
        for part in self._parts:
            piece = part[max(0, self._position - start) : max(0, end - start)]
            if len(piece):
                found.append(piece)
            start += len(part)
        self._position = max(self._position, end)
        return b"".join(found)


def _undecodable(kind: str, error: Exception, seconds: float = 0.0) -> InvalidAudio:
    place = f" after {seconds:.1f} s" if seconds else ""
    reason = getattr(error, "strerror", None) or type(error).__name__
    return InvalidAudio(f"The {kind} file cannot be decoded{place}: {reason}. Is it damaged?")
