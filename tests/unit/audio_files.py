"""Audio files for tests, made on the spot: a sweep of known length in every container we read."""

import io
import struct
from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
import soundfile

SECONDS = 1.5

MUXED = {
    "m4a": ("ipod", "aac"),
    "alac": ("ipod", "alac"),
    "webm": ("webm", "libopus"),
    "mkv": ("matroska", "aac"),
    "adts": ("adts", "aac"),
    "caf": ("caf", "pcm_s16be"),
    "au": ("au", "pcm_s16be"),
    "aiff": ("aiff", "pcm_s16be"),
    "w64": ("w64", "pcm_s16le"),
    "avi": ("avi", "libmp3lame"),
    "wma": ("asf", "wmav2"),
    "flv": ("flv", "aac"),
    "mpg": ("vob", "mp2"),
    "ts": ("mpegts", "aac"),
}
"""Name -> (FFmpeg muxer, encoder)."""

WRITTEN = {
    "flac": ("FLAC", "PCM_16"),
    "vorbis": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
"""Name -> (libsndfile format, subtype)."""

COMPRESSED = (*WRITTEN, *MUXED)


def sweep(rate_hz: int, n_channels: int = 1, seconds: float = SECONDS) -> npt.NDArray[np.float64]:
    """A rising tone of half scale, shape [n, n_channels]; each channel has a phase of its own."""
    t = np.arange(round(rate_hz * seconds)) / rate_hz
    phase = 2 * np.pi * (100 * t + 400 * t**2)
    return 0.5 * np.sin(phase[:, None] + np.arange(n_channels))


def written(
    samples: npt.NDArray[np.floating], rate_hz: int, subtype: str = "PCM_16", container: str = "WAV"
) -> bytes:
    """``samples`` in a file that libsndfile writes."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate_hz, subtype=subtype, format=container)
    return buffer.getvalue()


def muxed(
    muxer: str, encoder: str | None, *, video: bool = False, rate_hz: int = 48_000, **options: str
) -> bytes:
    """The sweep in mono (and two black pictures) in a file that FFmpeg writes."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=muxer, options=options) as container:
        picture = container.add_stream("mpeg4", rate=5) if video else None
        sound = _track(container, encoder, rate_hz) if encoder else None
        if picture is not None:
            picture.width = picture.height = 64
            picture.pix_fmt = "yuv420p"
            for pts in range(2):
                frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))
                frame.pts = pts
                container.mux(picture.encode(frame))
            container.mux(picture.encode(None))
        if sound is not None:
            _encode(container, sound, [(0.0, sweep(rate_hz)[:, 0])])
    return buffer.getvalue()


Timed = tuple[float, npt.NDArray[np.floating]]
"""When a piece of mono sound begins, in seconds, and its samples."""


def timed(muxer: str, encoder: str, *tracks: Sequence[Timed], rate_hz: int = 48_000) -> bytes:
    """A file with these tracks of sound, each of pieces with silent gaps of its clock between them.

    The first one is marked as default.
    """
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=muxer) as container:
        sounds = [_track(container, encoder, rate_hz) for _ in tracks]
        for n, (sound, pieces) in enumerate(zip(sounds, tracks, strict=True)):
            sound.disposition = av.stream.Disposition.default if n == 0 else 0
            _encode(container, sound, pieces)
    return buffer.getvalue()


def _track(container: av.container.OutputContainer, encoder: str, rate_hz: int) -> av.AudioStream:
    track = container.add_stream(encoder, rate=rate_hz, layout="mono")
    track.codec_context.bit_rate = 64_000
    return track


def _encode(
    container: av.container.OutputContainer, sound: av.AudioStream, pieces: Sequence[Timed]
) -> None:
    context = sound.codec_context
    rate_hz = sound.rate
    for begin, piece in pieces:
        samples = np.round(piece * 32_767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = rate_hz
        frame.pts = round(begin * rate_hz)
        frame.time_base = Fraction(1, rate_hz)
        resampler = av.AudioResampler(
            format=context.format,
            layout="mono",
            rate=rate_hz,
            frame_size=context.frame_size or None,
        )
        for source in (frame, None):
            for part in resampler.resample(source):
                container.mux(sound.encode(part))
    container.mux(sound.encode(None))


def compressed(name: str) -> bytes:
    """The sweep at 48 kHz mono in one of :data:`COMPRESSED`."""
    if name in WRITTEN:
        container, subtype = WRITTEN[name]
        return written(sweep(48_000), 48_000, subtype, container)
    return muxed(*MUXED[name])


def riff(*chunks: tuple[bytes, bytes], sizes: dict[bytes, int] | None = None) -> bytes:
    """A WAV file of raw chunks; ``sizes`` overrides what a chunk's header claims."""
    body = b"".join(
        name
        + struct.pack("<I", (sizes or {}).get(name, len(chunk)))
        + chunk
        + b"\0" * (len(chunk) % 2)
        for name, chunk in chunks
    )
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


def fmt(
    tag: int = 1,
    n_channels: int = 1,
    rate_hz: int = 16_000,
    bits: int = 16,
    block_align: int | None = None,
) -> tuple[bytes, bytes]:
    """A ``fmt`` chunk for :func:`riff`."""
    align = n_channels * ((bits + 7) // 8) if block_align is None else block_align
    return b"fmt ", struct.pack(
        "<HHIIHH", tag, n_channels, rate_hz, rate_hz * align % 2**32, align, bits
    )
