"""An upload as FFmpeg opens it: the decoders that it may use, and the tracks that it can decode."""

import io

import av

from serve_app.audio.containers import CONTAINERS, SUPPORTED_FORMATS
from serve_app.errors import InvalidAudio, UnsupportedAudio

_CODECS = (
    "pcm_u8,pcm_s8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_s64le,pcm_s64be,"
    "pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,pcm_alaw,pcm_mulaw,pcm_dvd,pcm_bluray,adpcm_ms,"
    "adpcm_ima_wav,adpcm_ima_qt,adpcm_swf,gsm_ms,libgsm_ms,mp1,mp1float,mp2,mp2float,mp3,mp3float,"
    "aac,aac_latm,alac,flac,vorbis,libvorbis,opus,libopus,speex,libspeex,amrnb,libopencore_amrnb,"
    "amrwb,libopencore_amrwb,ac3,eac3,dca,wmav1,wmav2,wmapro,wmalossless,wmavoice,nellymoser,"
    "adpcm_yamaha,g722,g726,g726le,g723_1,g729,truespeech"
)
"""The decoders that may run. FFmpeg's many others are an attack surface that speech does not
need."""

_OPTIONS = {"protocol_whitelist": "none", "codec_whitelist": _CODECS}
"""FFmpeg opens no nested file or URL, and no other decoder."""

FFMPEG_ERRORS = (av.FFmpegError, ValueError, OSError, OverflowError)
"""What PyAV raises on bad bytes: FFmpeg's codes, and its own checks of what FFmpeg reports."""

MAX_TRACKS = 8
"""Most tracks that are tried, so that a file of thousands does not cost as many passes."""


def open_file(kind: str, header: bytes, body: memoryview) -> "av.container.InputContainer":
    """Open a file of ``header`` and ``body``. Raises ``InvalidAudio``."""
    try:
        return av.open(
            _File(header, body),
            format=CONTAINERS[kind].demuxer,
            metadata_errors="ignore",
            options=_OPTIONS,
        )
    except MemoryError:
        raise
    except FFMPEG_ERRORS as error:
        raise undecodable(kind, error) from None


def readable_tracks(kind: str, container: "av.container.InputContainer") -> list[int]:
    """Indexes of the audio tracks that can be decoded, default ones first.

    Raises ``UnsupportedAudio`` if there is none.
    """
    tracks = container.streams.audio
    if not tracks:
        raise UnsupportedAudio(
            f"The {kind} file has no audio track. Supported: {SUPPORTED_FORMATS}."
        )
    codecs = [track.codec_context and track.codec_context.name for track in tracks]
    readable = [place for place, codec in enumerate(codecs) if codec in _CODECS.split(",")]
    if not readable:
        raise UnsupportedAudio(
            f"The {kind} file's audio codec ({codecs[0] or 'unknown'}) is not supported. "
            f"Supported: {SUPPORTED_FORMATS}."
        )
    is_default = av.stream.Disposition.default
    return sorted(readable, key=lambda place: not tracks[place].disposition & is_default)[
        :MAX_TRACKS
    ]


def undecodable(kind: str, error: Exception, seconds: float = 0.0) -> InvalidAudio:
    """The error for a file at which FFmpeg gives up after so many seconds of sound."""
    place = f" after {seconds:.1f} s" if seconds else ""
    reason = getattr(error, "strerror", None) or type(error).__name__
    return InvalidAudio(f"The {kind} file cannot be decoded{place}: {reason}. Is it damaged?")


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
