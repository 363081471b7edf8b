"""An upload and its plan become 16 kHz mono int16 samples, wholly in memory.

Whatever is not 16 kHz mono PCM16 WAV goes through FFmpeg (PyAV). Its samples are bit-equal with
``faster_whisper.decode_audio``: the same resampler in the same mode, fed from the same decoder.
Unlike there, a damaged packet costs only itself and not everything after it.
"""

import io
from collections.abc import Callable, Iterator

import av
import numpy as np

from serve_app.audio.claims import truncated
from serve_app.audio.clip import SAMPLE_RATE_HZ, AudioClip
from serve_app.audio.limits import AudioLimits
from serve_app.audio.plan import CONTAINERS, SUPPORTED_FORMATS, Plan, inspect
from serve_app.audio.wav import MAGIC, MAX_RATE_HZ, MIN_RATE_HZ
from serve_app.errors import InvalidAudio, UnsupportedAudio

_CODECS = (
    "pcm_u8,pcm_s8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_s64le,pcm_s64be,"
    "pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,pcm_alaw,pcm_mulaw,adpcm_ms,adpcm_ima_wav,"
    "adpcm_ima_qt,gsm_ms,libgsm_ms,mp1,mp1float,mp2,mp2float,mp3,mp3float,aac,alac,flac,vorbis,"
    "libvorbis,opus,libopus,speex,libspeex,amrnb,libopencore_amrnb,amrwb,libopencore_amrwb,ac3,eac3"
)
"""The decoders that may run. FFmpeg's many others are attack surface that speech does not need."""

_OPTIONS = {"protocol_whitelist": "none", "codec_whitelist": _CODECS}
"""FFmpeg opens no nested file or URL, and no other decoder."""

_GROUP_SAMPLES = 65_536
"""Samples per call of the resampler. Codecs' own frames are so short that calls would dominate."""

_LOST_SECONDS = 0.1
"""A file that claims less than this may hold no sample: a codec's start-up delay swallows it."""

Write = Callable[[memoryview], None]
"""Takes the next samples, as bytes of int16."""

_FFMPEG_ERRORS = (av.FFmpegError, ValueError, OSError, OverflowError)
"""What PyAV raises on bad bytes: FFmpeg's codes, and its own checks of what FFmpeg reports."""


def plain_clip(payload: bytes | bytearray, limits: AudioLimits) -> AudioClip | None:
    """The clip of a WAV file whose samples need no decoding: a view of it, in microseconds.

    None for any other file. Raises what :func:`decode_audio` raises if a WAV file's header already
    shows it, and ``InvalidAudio`` (``empty_audio``).
    """
    view = memoryview(payload).toreadonly()
    if len(view) and not MAGIC.match(view):
        return None
    plan = inspect(view)
    plan.check(limits)
    return _view(plan, view) if plan.is_instant else None


def decode_audio(payload: bytes | bytearray | memoryview, *, limits: AudioLimits) -> AudioClip:
    """Inspect and decode a file that is trusted: nothing bounds its cost, and the call blocks.

    Raises what :func:`~serve_app.audio.plan.inspect` and :func:`decode` raise.
    """
    plan = inspect(payload)
    if plan.is_instant:
        plan.check(limits)
        return _view(plan, memoryview(payload))
    pcm = bytearray()
    seconds = decode(plan, payload, limits=limits, write=pcm.extend)
    return AudioClip(np.frombuffer(pcm, np.int16), seconds)


def _view(plan: Plan, payload: memoryview) -> AudioClip:
    return AudioClip(np.frombuffer(payload[plan.start : plan.end], "<i2"), plan.seconds)


def decode(
    plan: Plan, payload: bytes | bytearray | memoryview, *, limits: AudioLimits, write: Write
) -> float:
    """Decode the first audio track of an upload; returns its seconds as received.

    ``write`` gets the samples, 16 kHz mono int16, piece by piece. The audio at its own rate is
    never held as a whole.

    Raises ``AudioTooLarge`` by the header or as soon as ``limits`` are passed, ``InvalidAudio``
    (``truncated_audio``, ``invalid_audio``), ``UnsupportedAudio`` if there is no audio track or its
    codec is not supported, ``MemoryError``, and what ``write`` raises.
    """
    plan.check(limits)
    file = memoryview(payload)[plan.start : plan.end]
    came = len(file) - plan.n_junk_bytes
    claimed = CONTAINERS[plan.kind].claimed_bytes(file[plan.n_junk_bytes :])
    if claimed is not None and claimed > came:
        raise truncated(plan.kind, f"it claims {claimed} bytes, {came} came")
    decoding = _Decoding(plan.kind, limits, write)
    decoding.run(_File(plan.header, file))
    if decoding.n_frames < plan.n_frames:
        lost = f"it claims {plan.n_frames} samples, {decoding.n_frames} could be decoded"
        raise truncated(plan.kind, lost)
    return decoding.seconds


class _Decoding:
    """One pass over a file: packets -> frames -> groups -> 16 kHz mono int16.

    ``seconds`` and ``n_frames`` count what is decoded, at the file's own rate.
    """

    def __init__(self, kind: str, limits: AudioLimits, write: Write) -> None:
        self.kind = kind
        self.limits = limits
        self.write = write
        self.n_frames = 0
        self.n_bytes = 0
        self.first_error: Exception | None = None
        self.shape: tuple[str, str, int] | None = None
        self.n_shape_frames = 0
        self.earlier_seconds = 0.0
        self.fifo: av.AudioFifo
        self.resampler: av.AudioResampler
        self.averages = False

    @property
    def seconds(self) -> float:
        if self.shape is None:
            return 0.0
        return self.earlier_seconds + self.n_shape_frames / self.shape[2]

    def run(self, file: "_File") -> None:
        demuxer = CONTAINERS[self.kind].demuxer
        try:
            with av.open(
                file, format=demuxer, metadata_errors="ignore", options=_OPTIONS
            ) as container:
                self._decode(container)
        except MemoryError:
            raise
        except _FFMPEG_ERRORS as error:
            raise self._undecodable(error) from None

    def _decode(self, container: "av.container.InputContainer") -> None:
        stream = self._audio_stream(container)
        claimed_seconds = 0.0
        if CONTAINERS[self.kind].tells_length:
            claimed_seconds = _header_seconds(container, stream)
        self.limits.check_seconds(claimed_seconds)
        for frame in self._frames(container, stream):
            self._add(frame)
        self._finish_shape()
        if self.first_error is not None and not self.n_frames:
            raise self._undecodable(self.first_error)
        if claimed_seconds > _LOST_SECONDS and not self.n_frames:
            raise InvalidAudio(
                f"The {self.kind} file's header claims {claimed_seconds:.1f} s of audio, but the "
                "file holds none."
            )

    def _audio_stream(self, container: "av.container.InputContainer") -> "av.AudioStream":
        if not container.streams.audio:
            raise UnsupportedAudio(
                f"The {self.kind} file has no audio track. Supported: {SUPPORTED_FORMATS}."
            )
        stream = container.streams.audio[0]
        context = stream.codec_context
        codec = "unknown" if context is None else context.name
        if context is None or codec not in _CODECS.split(","):
            raise UnsupportedAudio(
                f"The {self.kind} file's audio codec ({codec}) is not supported. "
                f"Supported: {SUPPORTED_FORMATS}."
            )
        context.thread_count = 1
        return stream

    def _frames(
        self, container: "av.container.InputContainer", stream: "av.AudioStream"
    ) -> Iterator["av.AudioFrame"]:
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except MemoryError:
                raise
            except _FFMPEG_ERRORS as error:
                # Its traceback would tie this decoding, hence the codec's threads and their 20 MB,
                # into a cycle that only the garbage collector undoes.
                self.first_error = self.first_error or error.with_traceback(None)
                frames = []
            yield from frames

    def _add(self, frame: "av.AudioFrame") -> None:
        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        if shape != self.shape:  # joined MP3, AAC that turns out to be HE-AAC
            self._begin_shape(frame, shape)
        self.n_frames += frame.samples
        self.n_shape_frames += frame.samples
        self.n_bytes += frame.samples * frame.layout.nb_channels * frame.format.bytes
        self.limits.check_seconds(self.seconds)
        self.limits.check_decoded_bytes(self.n_bytes)
        frame.pts = None  # The resampler must not fill gaps in the time stamps.
        self.fifo.write(_average(frame) if self.averages else frame)
        if self.fifo.samples >= _GROUP_SAMPLES:
            self._resample(self.fifo.read())

    def _begin_shape(self, frame: "av.AudioFrame", shape: tuple[str, str, int]) -> None:
        if not MIN_RATE_HZ <= frame.sample_rate <= MAX_RATE_HZ:
            raise InvalidAudio(f"The {self.kind} file claims {frame.sample_rate} Hz.")
        self._finish_shape()
        self.earlier_seconds, self.n_shape_frames = self.seconds, 0
        self.shape = shape
        self.fifo = av.AudioFifo()
        self.resampler = _resampler()
        self.averages = not _is_mixable(frame)

    def _finish_shape(self) -> None:
        """Resample what is left in the old shape and drain its resampler."""
        if self.shape is not None:
            if self.fifo.samples:
                self._resample(self.fifo.read())
            self._resample(None)

    def _resample(self, group: "av.AudioFrame | None") -> None:
        for frame in self.resampler.resample(group):
            self.write(frame.to_ndarray().data.cast("B"))

    def _undecodable(self, error: Exception) -> InvalidAudio:
        place = f" after {self.seconds:.1f} s" if self.seconds else ""
        reason = getattr(error, "strerror", None) or type(error).__name__
        return InvalidAudio(
            f"The {self.kind} file cannot be decoded{place}: {reason}. Is it damaged?"
        )


def _header_seconds(container: "av.container.InputContainer", stream: "av.AudioStream") -> float:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return float((container.duration or 0) / av.time_base)


def _resampler() -> "av.AudioResampler":
    return av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)


def _is_mixable(frame: "av.AudioFrame") -> bool:
    """Whether FFmpeg can mix the channels down; it cannot for 9, 11 or 64 of them."""
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
    if not frame.format.is_packed:  # PyAV reads beyond the eighth plane and crashes.
        raise UnsupportedAudio(f"{n_channels} channels are read from uncompressed audio only.")
    samples = frame.to_ndarray().reshape(-1, n_channels).T
    mean = samples.mean(axis=0, dtype=np.float64, keepdims=True)
    if samples.dtype.kind != "f":
        full_scale = 2.0 ** (8 * samples.dtype.itemsize - 1)
        mean = mean / full_scale - (samples.dtype.kind == "u")
    mono = av.AudioFrame.from_ndarray(mean.astype(np.float32), format="fltp", layout="mono")
    mono.sample_rate = frame.sample_rate
    return mono


class _File:
    """What PyAV reads: a header and the bytes after it, which are not copied into one."""

    def __init__(self, header: bytes, body: memoryview) -> None:
        self._header = header
        self._body = body
        self._position = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        n_bytes = len(self._header) + len(self._body)
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: n_bytes}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, n_bytes: int) -> bytes:
        start = self._position - len(self._header)
        end = start + n_bytes
        piece = bytes(self._body[max(0, start) : max(0, end)])
        if start < 0:
            piece = self._header[self._position : self._position + n_bytes] + piece
        self._position += len(piece)
        return piece
