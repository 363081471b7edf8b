"""Containers told apart by their bytes; a file name or content type is never trusted."""

import re
from collections.abc import Callable
from types import MappingProxyType

DEMUXERS = MappingProxyType(
    {
        "wav": "wav",
        "flac": "flac",
        "mp3": "mp3",
        "ogg": "ogg",
        "mp4": "mov",
        "webm": "matroska",
        "aac": "aac",
        "amr": "amr",
        "caf": "caf",
        "au": "au",
    }
)
"""Container kind -> FFmpeg demuxer. Naming the demuxer keeps FFmpeg from probing, so that its
playlist formats (hls, concat, dash ...), which open other files and URLs, are out of reach."""

SUPPORTED_FORMATS = (
    "WAV, FLAC, MP3, OGG (Vorbis, Opus, FLAC, Speex), M4A/MP4/MOV (AAC, ALAC), "
    "WebM/Matroska, AAC (ADTS), AMR, CAF, AU"
)
"""For people: what an error message lists."""

CODEC_WHITELIST = (
    "pcm_u8,pcm_s8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_s64le,pcm_s64be,"
    "pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,pcm_alaw,pcm_mulaw,adpcm_ms,adpcm_ima_wav,"
    "adpcm_ima_qt,gsm_ms,libgsm_ms,mp1,mp1float,mp2,mp2float,mp3,mp3float,aac,alac,flac,vorbis,"
    "libvorbis,opus,libopus,speex,libspeex,amrnb,libopencore_amrnb,amrwb,libopencore_amrwb,ac3,eac3"
)
"""The decoders that may run, as FFmpeg's option of this name takes them. Its many others are attack
surface."""

_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")
_MPEG_SCAN_BYTES = 4_096
_MPEG_MIN_CHAIN = 3

_BITRATES_KBPS = {
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""(MPEG version, layer) -> bit rates by index: ISO/IEC 11172-3 and 13818-3."""


def without_id3(payload: bytes | memoryview) -> memoryview:
    """``payload`` without the ID3v2 tags before it.

    They say nothing about the sound, and FFmpeg unpacks compressed ID3 frames in full: a tag of
    0.6 MB took 530 MB of memory.
    """
    view = memoryview(payload)
    while len(view) >= 10 and bytes(view[:3]) == b"ID3":
        size = 10
        for byte in view[6:10]:
            if byte > 0x7F:
                return view
        size += view[6] << 21 | view[7] << 14 | view[8] << 7 | view[9]
        view = view[size + (10 if view[5] & 0x10 else 0) :]
    return view


def sniff(payload: bytes | memoryview) -> str | None:
    """The container kind of ``payload`` (a key of :data:`DEMUXERS`), or None if it is none."""
    view = without_id3(payload)
    head = bytes(view[:12])
    if head[:4] in (b"RIFF", b"RF64", b"BW64"):
        return "wav" if head[8:] == b"WAVE" else None
    if head[4:8] in _MP4_BOXES:
        return "mp4"
    for magic, kind in (
        (b"fLaC", "flac"),
        (b"OggS", "ogg"),
        (b"\x1a\x45\xdf\xa3", "webm"),
        (b"#!AMR", "amr"),
        (b"caff", "caf"),
        (b".snd", "au"),
    ):
        if head.startswith(magic):
            return kind
    if _is_chain(view, 0, _adts_frame_bytes):
        return "aac"
    return "mp3" if mpeg_audio_start(view) is not None else None


def mpeg_audio_start(view: memoryview) -> int | None:
    """Offset of the first MPEG audio frame; stream dumps begin in mid-frame or with padding."""
    if _is_chain(view, 0, _mpeg_frame_bytes):
        return 0
    for match in re.finditer(rb"\xff[\xe2-\xff]", view[:_MPEG_SCAN_BYTES]):
        if _is_chain(view, match.start(), _mpeg_frame_bytes):
            return match.start()
    return None


def _is_chain(view: memoryview, position: int, frame_bytes: Callable[[bytes], int]) -> bool:
    """Whether frames follow one another from ``position``: three, or all there is from offset 0."""
    start = position
    for _ in range(_MPEG_MIN_CHAIN):
        if start == 0 and 0 < position == len(view):
            return True
        n_bytes = frame_bytes(bytes(view[position : position + 6]))
        if not n_bytes or position + n_bytes > len(view):
            return False
        position += n_bytes
    return True


def _mpeg_frame_bytes(head: bytes) -> int:
    """Length of the MPEG-1/2/2.5 audio frame that begins with ``head``; 0 if none does."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return 0
    version_bits, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    bitrate_index, rate_index, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version_bits == 1 or layer == 4 or bitrate_index in (0, 15) or rate_index == 3:
        return 0
    version = 1 if version_bits == 3 else 2
    rate_hz = (44_100, 48_000, 32_000)[rate_index] // {3: 1, 2: 2, 0: 4}[version_bits]
    bits_per_second = 1_000 * _BITRATES_KBPS[version, layer][bitrate_index]
    if layer == 1:
        return (12 * bits_per_second // rate_hz + padding) * 4
    slots = 72 if (version, layer) == (2, 3) else 144
    return slots * bits_per_second // rate_hz + padding


def _adts_frame_bytes(head: bytes) -> int:
    """Length of the ADTS frame (ISO/IEC 14496-3, 1.A.3) that begins with ``head``; 0 if none."""
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 > 12:
        return 0
    n_bytes = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return n_bytes if n_bytes > 7 else 0
