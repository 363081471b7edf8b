"""What containers other than WAV claim about their own length.

FFmpeg decodes a truncated file without complaint, so only a file's own claim tells a cut upload
from a short recording. Each ``*_bytes`` takes the file from its first structure on and returns the
bytes that it claims to have, None if it claims nothing. Claims that are often wrong, such as those
of an MP3's Xing header, are not read. Formats: ISO/IEC 14496-12 (MP4 boxes), QuickTime File Format,
RFC 3533 (Ogg), RFC 8794 (EBML), Apple Core Audio Format 1.0.
"""

from collections.abc import Iterator

from serve_app.errors import InvalidAudio

SLACK_BYTES = 64
"""A claim may be too high by this many bytes: writers count a header (44 bytes of WAV) or half of
one."""


PLACEHOLDER_MIN = 1_000_000_000
"""Sizes from this one up are placeholders of encoders that write to a pipe: a round number, sox
0x7FFFF000, arecord 0x7FFFFFC0, others 0x7FFFFFFF, ffmpeg 0xFFFFFFFF. True sizes like these belong
to files that are too large to upload."""


def truncated(kind: str, detail: str) -> InvalidAudio:
    """The error for a file that is shorter than it claims."""
    return InvalidAudio(
        f"The {kind} file is truncated or damaged: {detail}. Send the whole file.",
        code="truncated_audio",
    )


# MP4 and QuickTime: boxes.

_MAX_BOXES = 100_000


def mp4_bytes(view: memoryview) -> int | None:
    """End of the first box with media or its index that reaches past the end, else None.

    What came of a recording in fragments can be read to its end, unless it ends in the first one.
    """
    fragments = 0
    for name, end in _root_boxes(view):
        fragments += name == b"moof"
        if end > len(view) and name in (b"moov", b"mdat", b"moof"):
            return end if fragments < 2 else None
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


def aiff_bytes(view: memoryview) -> int | None:
    """End of the outer chunk (EA IFF 85), 0 or a huge number if unknown."""
    return _outer_end(_uint32(view, 4), 8)


def avi_bytes(view: memoryview) -> int | None:
    """End of the first RIFF chunk; a long file has more of them (OpenDML 1.02)."""
    return _outer_end(int.from_bytes(view[4:8], "little"), 8)


def w64_bytes(view: memoryview) -> int | None:
    """End of the outer chunk (Sonic Foundry Wave 64), whose size counts its own header."""
    return _outer_end(int.from_bytes(view[16:24], "little"), 0)


def _outer_end(size: int, n_before: int) -> int | None:
    return n_before + size if 0 < size < PLACEHOLDER_MIN else None


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
