"""How far a file reaches by its own account, to tell a cut upload from a short recording.

FFmpeg decodes what is there of a cut file without a word. Formats: ISO/IEC 14496-12 (boxes),
RFC 3533 (Ogg pages), RFC 8794 (EBML, where a live stream's size is unknown), RFC 9639 (FLAC).
"""

from serve_app.audio.container import mpeg_audio_start
from serve_app.audio.mp4 import root_boxes

_EBML_SEGMENT = b"\x18\x53\x80\x67"
_MAX_CHUNKS = 1_000
_MP3_SLACK = 256
"""LAME and FFmpeg count to the byte; others may count an ID3v1 tag (128 bytes) that was cut off."""


def claimed_bytes(kind: str, payload: bytes | memoryview) -> int | None:
    """Bytes that the outermost structure of ``payload`` claims; None if it makes no claim."""
    view = memoryview(payload)
    reader = _READERS.get(kind)
    return reader(view) if reader else None


def flac_frames(payload: bytes | memoryview) -> int:
    """Samples per channel that a FLAC file's STREAMINFO claims; 0 if unknown."""
    view = memoryview(payload)
    return int.from_bytes(view[21:26], "big") & 0xF_FFFF_FFFF


def _mp4_bytes(view: memoryview) -> int | None:
    """End of the first box with media or its index that reaches past the end, else None."""
    for name, _, end in root_boxes(view):
        if end > len(view):
            return end if name in (b"moov", b"mdat", b"moof") else None
    return None


def _mp3_bytes(view: memoryview) -> int | None:
    """End of the stream by the Xing or Info header (LAME's mp3 tag specification) in frame one."""
    start = mpeg_audio_start(view)
    if start is None:
        return None
    head = bytes(view[start : start + 192])
    for side_info in (36, 21, 13):  # after header and side information: by version and channels
        if head[side_info : side_info + 4] in (b"Xing", b"Info"):
            flags = head[side_info + 7]
            at = side_info + 8 + 4 * (flags & 1)
            if flags & 2:
                return start + int.from_bytes(head[at : at + 4], "big") - _MP3_SLACK
    return None


def _au_bytes(view: memoryview) -> int | None:
    """End of the samples: offset and size in the header, where 2**32 - 1 is unknown."""
    offset, size = (int.from_bytes(view[at : at + 4], "big") for at in (4, 8))
    return None if size == 0xFFFF_FFFF else offset + size


def _caf_bytes(view: memoryview) -> int | None:
    """End of the ``data`` chunk (Apple Core Audio Format 1.0), where -1 is unknown."""
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


def _ogg_bytes(view: memoryview) -> int | None:
    """End of the last page: 27 bytes, its segment table and the segments."""
    tail_start = max(0, len(view) - 2 * 65_307)  # the largest page is 65,307 bytes
    tail = bytes(view[tail_start:])
    page = tail.rfind(b"OggS\x00")
    if page < 0 or page + 27 > len(tail):
        return None
    n_segments = tail[page + 26]
    table = tail[page + 27 : page + 27 + n_segments]
    return tail_start + page + 27 + n_segments + sum(table)


def _webm_bytes(view: memoryview) -> int | None:
    """End of the Segment, which follows the EBML header."""
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


_READERS = {
    "mp4": _mp4_bytes,
    "ogg": _ogg_bytes,
    "webm": _webm_bytes,
    "mp3": _mp3_bytes,
    "au": _au_bytes,
    "caf": _caf_bytes,
}
