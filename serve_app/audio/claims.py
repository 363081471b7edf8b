"""What containers other than WAV tell of themselves: where sound begins, where the file ends.

FFmpeg decodes what is there of a cut file without complaint, so a file's own claim is what tells a
cut upload from a short recording. Every ``*_bytes`` takes the file from its first structure on and
gives the bytes that it claims to have, None if it makes no claim.

Formats: ISO/IEC 11172-3 and 13818-3 (MPEG audio), 14496-3 (ADTS), 14496-12 (MP4 boxes), QuickTime
File Format, RFC 3533 (Ogg), RFC 8794 (EBML), Apple Core Audio Format 1.0.
"""

import re
from collections.abc import Callable, Iterator

from serve_app.errors import InvalidAudio


def truncated(kind: str, detail: str) -> InvalidAudio:
    """The error for a file that is shorter than it claims."""
    return InvalidAudio(
        f"The {kind} file is truncated or damaged: {detail}. Send the whole file.",
        code="truncated_audio",
    )


# MPEG audio and ADTS: streams of frames, without a header of the file as a whole.

_SCAN_BYTES = 4_096
_MIN_CHAIN = 3
_MP3_SLACK = 256
"""LAME and FFmpeg count to the byte; others may count an ID3v1 tag (128 bytes) that was cut off."""

_BITRATES_KBPS = {
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""(MPEG version, layer) -> bit rates by index."""


def mpeg_start(view: memoryview) -> int | None:
    """Offset of the first MPEG audio frame; stream dumps begin in mid-frame or with padding."""
    if _is_chain(view, 0, _mpeg_frame_bytes):
        return 0
    for match in re.finditer(rb"\xff[\xe2-\xff]", view[:_SCAN_BYTES]):
        if _is_chain(view, match.start(), _mpeg_frame_bytes):
            return match.start()
    return None


def adts_start(view: memoryview) -> int | None:
    """0 if the file is a stream of ADTS frames from its first byte on."""
    return 0 if _is_chain(view, 0, _adts_frame_bytes) else None


def _is_chain(view: memoryview, start: int, frame_bytes: Callable[[bytes], int]) -> bool:
    """Whether frames follow one another from ``start``: three, or a whole file of fewer."""
    position = start
    for _ in range(_MIN_CHAIN):
        if start == 0 and 0 < position == len(view):
            return True
        n_bytes = frame_bytes(bytes(view[position : position + 6]))
        if not n_bytes or position + n_bytes > len(view):
            return False
        position += n_bytes
    return True


def _mpeg_frame_bytes(head: bytes) -> int:
    """Length of the MPEG-1/2/2.5 audio frame that begins with ``head``; 0 if there is none."""
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
    """Length of the ADTS frame (14496-3, 1.A.3) that begins with ``head``; 0 if there is none."""
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 > 12:
        return 0
    n_bytes = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return n_bytes if n_bytes > 7 else 0


def mp3_bytes(view: memoryview) -> int | None:
    """End of the stream by the Xing or Info header (LAME's mp3 tag specification) in frame one."""
    head = bytes(view[:192])
    for side_info in (36, 21, 13):  # after header and side information: by version and channels
        if head[side_info : side_info + 4] in (b"Xing", b"Info"):
            flags = head[side_info + 7]
            at = side_info + 8 + 4 * (flags & 1)
            if flags & 2:
                return int.from_bytes(head[at : at + 4], "big") - _MP3_SLACK
    return None


# MP4 and QuickTime: boxes.

_MAX_BOXES = 100_000


def mp4_bytes(view: memoryview) -> int | None:
    """End of the first box with media or its index that reaches past the end, else None."""
    for name, end in _root_boxes(view):
        if end > len(view) and name in (b"moov", b"mdat", b"moof"):
            return end
    return None


def _root_boxes(view: memoryview) -> Iterator[tuple[bytes, int]]:
    """(Name, claimed end) of each outermost box; the last may end after ``view``."""
    position = 0
    for _ in range(_MAX_BOXES):
        if position + 8 > len(view):
            return
        size = _uint32(view, position)
        name = bytes(view[position + 4 : position + 8])
        if size == 1:
            size = int.from_bytes(view[position + 8 : position + 16], "big")
        elif size == 0:  # to the end of the file
            size = len(view) - position
        if size < 8:
            return
        position += size
        yield name, position


def _uint32(view: memoryview, offset: int) -> int:
    return int.from_bytes(view[offset : offset + 4], "big")


# The other containers say in one place where they end.

_MAX_CHUNKS = 1_000
_MAX_OGG_PAGE_BYTES = 65_307
_EBML_SEGMENT = b"\x18\x53\x80\x67"


def flac_length(view: memoryview) -> tuple[int, float]:
    """Samples per channel and seconds that STREAMINFO claims (RFC 9639, 8.2); 0 if unknown."""
    if len(view) < 42 or view[4] & 0x7F:  # another block stands where STREAMINFO must
        return 0, 0.0
    rate_hz = int.from_bytes(view[18:21], "big") >> 4
    n_frames = int.from_bytes(view[21:26], "big") & 0xF_FFFF_FFFF
    return n_frames, n_frames / rate_hz if rate_hz else 0.0


def au_bytes(view: memoryview) -> int | None:
    """End of the samples: offset and size in the header, where 2**32 - 1 means unknown."""
    size = _uint32(view, 8)
    return None if size == 0xFFFF_FFFF else _uint32(view, 4) + size


def caf_bytes(view: memoryview) -> int | None:
    """End of the ``data`` chunk, whose size is -1 if unknown."""
    position = 8
    for _ in range(_MAX_CHUNKS):
        if position + 12 > len(view):
            break
        size = int.from_bytes(view[position + 4 : position + 12], "big", signed=True)
        if bytes(view[position : position + 4]) == b"data":
            return position + 12 + size if size >= 0 else None
        if size < 0:
            break
        position += 12 + size
    return None


def ogg_bytes(view: memoryview) -> int | None:
    """End of the last page: 27 bytes, its segment table and the segments."""
    tail_start = max(0, len(view) - 2 * _MAX_OGG_PAGE_BYTES)
    tail = bytes(view[tail_start:])
    page = tail.rfind(b"OggS\x00")
    if page < 0 or page + 27 > len(tail):
        return None
    n_segments = tail[page + 26]
    table = tail[page + 27 : page + 27 + n_segments]
    return tail_start + page + 27 + n_segments + sum(table)


def webm_bytes(view: memoryview) -> int | None:
    """End of the Segment, which follows the EBML header; a live stream leaves it unknown."""
    header = _ebml_size(view, 4)
    if header is None:
        return None
    segment = header[0] + header[1]
    if view[segment : segment + 4] != _EBML_SEGMENT:
        return None
    size = _ebml_size(view, segment + 4)
    return None if size is None else size[0] + size[1]


def _ebml_size(view: memoryview, position: int) -> tuple[int, int] | None:
    """(Offset after the size field, size) of the EBML element whose size is at ``position``."""
    if position >= len(view) or not view[position]:
        return None
    n_bytes = 9 - view[position].bit_length()
    raw = int.from_bytes(view[position : position + n_bytes], "big")
    size = raw & ((1 << 7 * n_bytes) - 1)
    is_unknown = size == (1 << 7 * n_bytes) - 1
    return None if is_unknown else (position + n_bytes, size)
