"""The one look at an upload: what it is, what it claims, and therefore how to decode it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from serve_app.audio import claims
from serve_app.audio.limits import AudioLimits
from serve_app.audio.wav import COMPRESSED_TAGS, MAGIC, read_wav
from serve_app.errors import InvalidAudio, UnsupportedAudio

_MAX_ID3_TAGS = 100
"""A crafted upload can hold millions, and to walk them all would take seconds."""


@dataclass(frozen=True)
class Container:
    """One row of :data:`CONTAINERS`.

    Naming FFmpeg's ``demuxer`` keeps it from probing, so that its playlist formats (hls, concat,
    dash ...), which open other files and URLs, are out of reach. ``find_start`` gives the offset of
    the first structure, None if the file is something else; names and content types are not
    trusted. What a file claims is read by :mod:`serve_app.audio.claims`. Unless it
    ``tells_length``, FFmpeg only guesses the duration.
    """

    label: str
    demuxer: str
    find_start: Callable[[memoryview], int | None]
    claimed_bytes: Callable[[memoryview], int | None] = lambda view: None
    claimed_length: Callable[[memoryview], tuple[int, float]] = lambda view: (0, 0.0)
    tells_length: bool = True


_MP4_MAGIC = rb"....(?:ftyp|moov|mdat|free|skip|wide)"


def _magic(pattern: bytes) -> Callable[[memoryview], int | None]:
    match = re.compile(pattern, re.DOTALL).match
    return lambda view: 0 if match(view) else None


CONTAINERS = {
    "wav": Container("WAV", "wav", _magic(MAGIC.pattern), tells_length=False),
    "mp4": Container("M4A/MP4/MOV (AAC, ALAC)", "mov", _magic(_MP4_MAGIC), claims.mp4_bytes),
    "flac": Container("FLAC", "flac", _magic(rb"fLaC"), claimed_length=claims.flac_length),
    "ogg": Container("OGG (Vorbis, Opus, FLAC, Speex)", "ogg", _magic(rb"OggS"), claims.ogg_bytes),
    "webm": Container("WebM/Matroska", "matroska", _magic(rb"\x1a\x45\xdf\xa3"), claims.webm_bytes),
    "amr": Container("AMR", "amr", _magic(rb"#!AMR"), tells_length=False),
    "caf": Container("CAF", "caf", _magic(rb"caff"), claims.caf_bytes),
    "au": Container("AU", "au", _magic(rb"\.snd"), claims.au_bytes),
    "aac": Container("AAC (ADTS)", "aac", claims.adts_start, tells_length=False),
    "mp3": Container("MP3", "mp3", claims.mpeg_start, claims.mp3_bytes, tells_length=False),
}
"""Kind -> container. The first match counts, so a chain of frames, which is only likely, comes
after the magic numbers, which are certain."""

SUPPORTED_FORMATS = ", ".join(container.label for container in CONTAINERS.values())


class Plan(NamedTuple):
    """How to decode one upload: a small value beside the upload's bytes.

    The bytes from ``start`` to ``end`` are decoded: a WAV file's samples, or any other file without
    its ID3 tags. FFmpeg reads ``header`` before them. The first ``n_junk_bytes`` of them come
    before the first frame of an MPEG stream.
    ``n_frames`` (samples per channel), ``seconds`` and ``pcm_bytes`` (before resampling) are what
    the header claims; each is 0 if it claims nothing.
    ``is_instant``: the samples are 16 kHz mono int16 already, or there are none.
    """

    kind: str
    start: int
    end: int
    header: bytes = b""
    n_junk_bytes: int = 0
    n_frames: int = 0
    seconds: float = 0.0
    pcm_bytes: int = 0
    is_instant: bool = False

    def check(self, limits: AudioLimits) -> None:
        """Raise ``AudioTooLarge`` if the upload claims more than ``limits``."""
        limits.check_seconds(self.seconds)
        limits.check_decoded_bytes(self.pcm_bytes)


def inspect(payload: bytes | bytearray | memoryview, *, is_whole: bool = True) -> Plan:
    """Look at an upload once, in microseconds.

    If ``payload`` is only its start (``is_whole`` False), only what no further byte can mend is
    refused, and the plan is good for its claims alone.

    Raises ``InvalidAudio`` (``empty_audio``; ``truncated_audio`` or ``invalid_audio`` for a WAV
    header) or ``UnsupportedAudio`` (no container or WAV codec that this server reads).
    """
    if not len(payload):
        raise InvalidAudio("The uploaded file is empty.", code="empty_audio")
    view = memoryview(payload)
    start = _id3_bytes(view)
    file = view[start:]
    for kind, container in CONTAINERS.items():
        n_junk_bytes = container.find_start(file)
        if n_junk_bytes is None:
            continue
        if kind == "wav":
            return _inspect_wav(file, start, is_whole)
        length = container.claimed_length(file)
        return Plan(kind, start, len(view), b"", n_junk_bytes, *length)
    raise UnsupportedAudio(f"The file is not audio. Supported: {SUPPORTED_FORMATS}.")


def check_start(head: memoryview, limits: AudioLimits) -> None:
    """Refuse an upload by its first 16 KiB, while the rest of it is still on its way.

    Raises what :func:`inspect` raises, and ``AudioTooLarge`` for what the header claims.
    """
    # An ID3 tag often holds a picture and can be longer than what is here.
    if bytes(head[:3]) != b"ID3":
        inspect(head, is_whole=False).check(limits)


def _inspect_wav(file: memoryview, offset: int, is_whole: bool) -> Plan:
    if bytes(file[8:12]) != b"WAVE":
        raise UnsupportedAudio(f"The RIFF file is not a WAV. Supported: {SUPPORTED_FORMATS}.")
    wave = read_wav(file, is_whole=is_whole)
    if wave is None:
        return Plan("wav", offset, offset)
    start, end = offset + wave.start, offset + wave.start + wave.n_bytes
    if not wave.n_bytes:
        return Plan("wav", start, end, is_instant=True)
    if wave.format.is_linear:
        is_native = wave.format.is_native
        n_frames = wave.n_bytes // wave.format.block_align
        return Plan(
            "wav",
            start,
            end,
            header=b"" if is_native else wave.canonical_header(),
            n_frames=n_frames,
            seconds=n_frames / wave.format.rate_hz,
            pcm_bytes=wave.n_bytes,
            is_instant=is_native,
        )
    if wave.format.tag not in COMPRESSED_TAGS:
        raise UnsupportedAudio(
            f"The WAV file's codec ({wave.format.tag:#06x}) is not supported. Supported: PCM, "
            "float, A-law, mu-law, MS and IMA ADPCM, GSM 6.10, MPEG audio, AAC."
        )
    return Plan("wav", start, end, wave.canonical_header())


def _id3_bytes(view: memoryview) -> int:
    """Length of the ID3v2 tags at the start of ``view``. FFmpeg does not get them, since it unpacks
    compressed ones in full: a tag of 0.6 MB took 530 MB of memory.
    """
    end = 0
    for _ in range(_MAX_ID3_TAGS):
        head = bytes(view[end : end + 10])
        if len(head) < 10 or head[:3] != b"ID3" or max(head[6:]) > 0x7F:
            break
        n_bytes = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        end += 10 + n_bytes + (10 if head[5] & 0x10 else 0)  # with a footer
    return min(end, len(view))
