"""Strategies for files of valid structure and unlikely content, such as decoder bombs."""

import struct

from hypothesis import strategies as st

from tests.unit.audio_files import compressed, fmt, muxed, riff, sweep, written
from tests.unit.audio_mutants import broken_container, broken_wav
from tests.unit.bombs import box, element, mp4, table

MAX_BYTES = 2**20

Bytes = st.SearchStrategy[bytes]

_COUNTS = st.sampled_from([0, 1, 2, 16, 1_000, 65_535, 2**20, 10**8, 2**31 - 1, 2**32 - 1])
_TIMES = st.integers(0, 17).map(lambda power: 2**power)
_SMALL = st.binary(max_size=24)


def _repeated(pieces: Bytes) -> Bytes:
    """One to a hundred thousand copies."""
    return st.builds(
        lambda piece, times: piece * min(times, MAX_BYTES // max(1, len(piece))), pieces, _TIMES
    )


def _joined(pieces: Bytes, most: int = 4) -> Bytes:
    return st.lists(pieces, max_size=most).map(b"".join)


_TABLES = b"stsz stz2 stsc stts ctts stco co64 stss elst sdtp sbgp sgpd trun saiz saio sidx"
_FOLDERS = b"moov trak mdia minf stbl edts udta meta ilst moof traf mvex dinf wave free"


_mp4_tables = st.builds(
    lambda name, words, rows: table(name, *words, rows=rows),
    st.sampled_from(_TABLES.split()),
    st.lists(_COUNTS, max_size=3),
    _repeated(_SMALL),
)
_boxes = st.recursive(
    _mp4_tables,
    lambda inner: st.builds(box, st.sampled_from(_FOLDERS.split()), _repeated(_joined(inner))),
)
_mp4 = st.builds(
    lambda n_samples, boxes, edits, rows, tail: (
        mp4(*boxes, n_samples=n_samples, edits=box(b"edts", table(b"elst", edits, rows=rows)))
        + tail
    ),
    _COUNTS,
    st.lists(_mp4_tables, min_size=1, max_size=3),
    _COUNTS,
    _repeated(st.builds(struct.Struct(">III").pack, _COUNTS, _COUNTS, st.just(0x10000))),
    _joined(_boxes, 2),
)

_IDS = [
    bytes.fromhex(name)
    for name in (
        *("1549a966", "1654ae6b", "ae", "e1", "1c53bb6b", "bb", "b7", "1043a770", "45b9", "b6"),
        *("80", "1254c367", "7373", "67c8", "1f43b675", "a3", "a0", "1941a469", "61a7", "465c"),
        *("114d9b74", "4dbb", "ec", "bf", "63a2", "86", "d7", "83", "2ad7b1", "4489"),
    )
]
"""Matroska's elements (RFC 9559, 27) from Info to Duration."""

_elements = st.recursive(
    st.builds(element, st.sampled_from(_IDS), _repeated(_SMALL))
    | st.sampled_from([name + b"\x80" for name in _IDS]),
    lambda inner: st.builds(element, st.sampled_from(_IDS), _repeated(_joined(inner))),
)


def _webm(parts: bytes) -> bytes:
    whole = muxed("webm", "libopus")
    start = whole.index(b"\x18\x53\x80\x67") + 12
    return whole[: start - 8] + b"\x01" + b"\xff" * 7 + parts + whole[start:]


def _flac(blocks: list[tuple[int, bytes]]) -> bytes:
    whole = _FLAC
    head = b"fLaC\0" + whole[5:42]
    for kind, body in blocks:
        head += bytes([kind]) + len(body).to_bytes(3, "big") + body
    return head + b"\x81\0\0\0" + whole[whole.index(b"\xff\xf8") :]


_FLAC = compressed("flac")
_MP3 = compressed("mp3")
_WAV = written(sweep(8_000, seconds=0.2), 8_000, "PCM_24")


def _comment_block(texts: list[bytes], times: int) -> bytes:
    entries = [
        struct.pack("<I", len(text) + 7) + b"%06x=" % n + text
        for n in range(times)
        for text in texts
    ]
    body = b"".join(entries)[:MAX_BYTES]
    return struct.pack("<II", 0, len(entries)) + body


_comments = st.builds(
    _comment_block, st.lists(_SMALL, min_size=1, max_size=3), st.integers(0, 12).map(lambda n: 2**n)
)
_flac_files = st.lists(
    st.tuples(st.integers(1, 126), _comments | _repeated(_SMALL)), max_size=5
).map(_flac)

_ID3 = st.builds(
    lambda version, flags, body: (
        b"ID3"
        + bytes([version, 0, flags])
        + bytes(len(body) >> shift & 0x7F for shift in (21, 14, 7, 0))
        + body
    ),
    st.integers(2, 4),
    st.sampled_from([0, 0x10, 0x40, 0x80]),
    _repeated(_SMALL),
)
_APE = st.builds(
    lambda version, n_bytes, count: b"APETAGEX" + struct.pack("<IIIQ", version, n_bytes, count, 0),
    st.sampled_from([1_000, 2_000]),
    _COUNTS,
    _COUNTS,
)
_tagged = st.builds(
    lambda before, sound, after: before + sound + after,
    _repeated(_joined(_ID3)),
    st.sampled_from([_MP3, _FLAC, _WAV, compressed("adts"), b""]),
    _repeated(_APE) | _repeated(_ID3),
)

_CHUNKS = st.tuples(
    st.sampled_from([b"LIST", b"fact", b"bext", b"ds64", b"id3 ", b"smpl", b"JUNK"]),
    _repeated(_SMALL),
)
_wav = st.builds(
    lambda format_tag, n_channels, chunks, samples, claims: riff(
        fmt(format_tag, n_channels, 16_000, 16, min(65_535, 2 * n_channels)),
        *chunks,
        (b"data", samples),
        sizes={b"data": claims},
    ),
    st.sampled_from([1, 3, 6, 0x02, 0x11, 0x31, 0x50, 0x55, 0xFF]),
    st.sampled_from([1, 2, 9, 256]),
    st.lists(_CHUNKS, max_size=4),
    _repeated(_SMALL),
    _COUNTS,
)
_caf = st.builds(
    lambda packets, chunks: (
        compressed("caf")[:40]
        + struct.pack(">I", packets)
        + compressed("caf")[44:52]
        + b"".join(name + struct.pack(">q", len(body)) + body for name, body in chunks)
        + compressed("caf")[52:]
    ),
    _COUNTS,
    st.lists(
        st.tuples(
            st.sampled_from([b"pakt", b"info", b"kuki", b"chan", b"free", b"strg"]),
            _repeated(_SMALL),
        ),
        max_size=3,
    ),
)

_random = st.randoms(use_true_random=True)

hostile_files: Bytes = st.one_of(
    _mp4,
    _boxes.map(lambda boxes: box(b"ftyp", b"M4A \0\0\0\0") + boxes),
    _repeated(_joined(_elements)).map(_webm),
    _flac_files,
    _tagged,
    _wav,
    _caf,
    _random.map(broken_wav),
    _random.map(broken_container),
).map(lambda payload: payload[: 4 * MAX_BYTES])
"""A file of any container whose structures are nested, repeated or counted without measure."""
