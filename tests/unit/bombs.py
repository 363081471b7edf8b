"""Small files that would cost an unlimited decoder much memory or time, sorted by kind."""

import struct

from tests.unit.audio_files import compressed


def box(name: bytes, *bodies: bytes) -> bytes:
    """An MP4 box (ISO/IEC 14496-12, 4.2)."""
    body = b"".join(bodies)
    return struct.pack(">I4s", 8 + len(body), name) + body


def table(name: bytes, *words: int, rows: bytes = b"") -> bytes:
    """A box with version 0, no flags, these 32-bit words and ``rows``."""
    return box(name, struct.pack(f">{len(words) + 1}I", 0, *words), rows)


def mp4(*sample_tables: bytes, n_samples: int, edits: bytes = b"") -> bytes:
    """An MP4 file with a track of ``n_samples`` AAC packets at 16 kHz and 64 bytes of media."""
    unity = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    entry = box(b"mp4a", bytes(6), struct.pack(">H8xHHIHH", 1, 1, 16, 0, 16_000, 0)[:28])
    samples = box(
        b"stbl",
        table(b"stsd", 1, rows=entry),
        table(b"stts", 1, n_samples, 2),
        table(b"stsc", 1, 1, n_samples, 1),
        table(b"stco", 1, 40),
        *sample_tables,
    )
    handler = box(b"hdlr", bytes(8), b"soun", bytes(13))
    reference = box(b"dinf", table(b"dref", 1, rows=box(b"url ", b"\0\0\0\1")))
    media = box(
        b"mdia",
        table(b"mdhd", 0, 0, 16_000, n_samples, 0x55C40000),
        handler,
        box(b"minf", table(b"smhd", 0), reference, samples),
    )
    head = table(b"tkhd", 0, 0, 1, 0, n_samples, 0, 0, 0, 0x1000000, rows=unity + bytes(8))
    track = box(b"trak", head, edits, media)
    movie = table(
        b"mvhd", 0, 0, 16_000, n_samples, 0x10000, 0x1000000, 0, 0, rows=unity + bytes(28)
    )
    return box(b"ftyp", b"M4A \0\0\0\0") + box(b"mdat", bytes(64)) + box(b"moov", movie, track)


def edit_lists(n_samples: int = 100_000, n_edits: int = 400) -> bytes:
    """Every edit makes FFmpeg copy the index of all samples: 24 bytes each."""
    rows = struct.pack(">III", 2 * n_samples, 0, 0x10000) * n_edits
    edits = box(b"edts", table(b"elst", n_edits, rows=rows))
    return mp4(table(b"stsz", 1, n_samples), n_samples=n_samples, edits=edits)


def compact_sizes(n_bytes: int = 2_000_000) -> bytes:
    """Sizes of four bits each become index entries of 24 bytes."""
    n_samples = 2 * n_bytes
    sizes = table(b"stz2", 4, n_samples, rows=b"\x11" * n_bytes)
    return mp4(sizes, n_samples=n_samples)


def sample_count(n_samples: int = 1_000_000_000) -> bytes:
    """One size for more samples than any file has."""
    return mp4(table(b"stsz", 1, n_samples), n_samples=n_samples)


def repeated_tables(n_bytes: int = 512 * 1024) -> bytes:
    """A table of chunks at every few bytes, each of which claims all that follows."""
    free = box(b"free", b"stsc\0\0\0\0\xff\xff\xff\xff" * (n_bytes // 12))
    return free + mp4(table(b"stsz", 1, 10), n_samples=10)


def comments(n_bytes: int = 720_000) -> bytes:
    """Vorbis comments of a FLAC file, each of which FFmpeg compares with all before it."""
    texts = [b"%06x=x" % n for n in range(n_bytes // 12)]
    block = struct.pack("<II", 0, len(texts))
    block += b"".join(struct.pack("<I", len(text)) + text for text in texts)
    flac = compressed("flac")
    info = b"fLaC\0" + flac[5:42]  # more blocks follow
    return info + b"\x84" + len(block).to_bytes(3, "big") + block + flac[flac.index(b"\xff\xf8") :]


def element(name: bytes, body: bytes) -> bytes:
    """An EBML element (RFC 8794, 6) whose size is told in eight bytes."""
    return name + (1 << 56 | len(body)).to_bytes(8, "big") + body


def empty_elements(n_bytes: int = 4_000_000) -> bytes:
    """Chapters of two bytes each, of which FFmpeg makes structures."""
    header = element(b"\x1a\x45\xdf\xa3", b"\x42\x82\x84webm")
    edition = element(b"\x45\xb9", b"\xb6\x80" * (n_bytes // 2))
    return header + element(b"\x18\x53\x80\x67", element(b"\x10\x43\xa7\x70", edition))


def tags(n_bytes: int = 50_000_000) -> bytes:
    """Empty ID3v2 tags one after another, then an MP3."""
    return b"ID3\x04\0\0\0\0\0\0" * (n_bytes // 10) + compressed("mp3")


BOMBS = {
    make.__name__: make
    for make in (
        *(edit_lists, compact_sizes, sample_count, repeated_tables),
        *(comments, empty_elements, tags),
    )
}
"""Name -> how to make the file in its usual size."""
