"""Finds the start of streams without a header: MPEG audio, ADTS, MPEG transport streams.

Formats: ISO/IEC 11172-3 and 13818-3 (MPEG audio), 14496-3 (ADTS), 13818-1 (transport streams).
"""

import re
from collections.abc import Callable

_SCAN_BYTES = 16_384
"""Bytes in which the first frame is looked for, after padding. A frame of ADTS has up to 8,191
bytes."""

_MAX_PADDING_BYTES = 2**20
_MIN_CHAIN = 3

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
    """Offset of the first MPEG audio frame. Stream dumps begin inside a frame or with padding."""
    return _first_chain(view, rb"\xff[\xe2-\xff]", _mpeg_frame_bytes)


def adts_start(view: memoryview) -> int | None:
    """Offset of the first ADTS frame, likewise."""
    return _first_chain(view, rb"\xff[\xf0\xf1\xf8\xf9]", _adts_frame_bytes)


def transport_start(view: memoryview) -> int | None:
    """Offset of the first packet of an MPEG transport stream. Some packets are followed by 16 bytes
    for error correction, some preceded by a time stamp of 4.
    """
    for n_bytes in (188, 192, 204):
        for start in range(min(n_bytes, len(view) - (_MIN_SYNCS - 1) * n_bytes)):
            if set(view[start::n_bytes][:_MIN_SYNCS]) == {_SYNC}:
                return start
    return None


_SYNC = 0x47
_MIN_SYNCS = 5


def _first_chain(
    view: memoryview, pattern: bytes, frame_bytes: Callable[[bytes], int]
) -> int | None:
    """Offset of the first chain of frames, each of which begins with ``pattern``."""
    if _is_chain(view, 0, frame_bytes):
        return 0
    padding = re.match(rb"\0*", view[:_MAX_PADDING_BYTES])
    begin = padding.end() if padding else 0
    for match in re.finditer(pattern, view[begin : begin + _SCAN_BYTES]):
        if _is_chain(view, begin + match.start(), frame_bytes):
            return begin + match.start()
    return None


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
