"""Broken audio: RIFF headers built field by field, and mutants of files in every container."""

import functools
import struct
from random import Random

import numpy as np

from serve_app.assets import GOLDEN_CLIP
from tests.unit.audio_files import COMPRESSED, compressed, fmt, muxed, riff, sweep, written
from tests.unit.mutation import EDGES, mutate

_WAV_SUBTYPES = (
    "PCM_U8",
    "PCM_24",
    "FLOAT",
    "DOUBLE",
    "ALAW",
    "ULAW",
    "IMA_ADPCM",
    "MS_ADPCM",
    "GSM610",
)
_SHORT = 0.2
"""Seconds of a seed: the shorter, the more inputs in an hour."""

_TAGS = (1, 1, 1, 3, 6, 7, 0xFFFE, 0x02, 0x11, 0x31, 0x50, 0x55, 0xFF, 0, 0x161, 0xFFFF)
_RATES = (16_000, 8_000, 44_100, 48_000, 1_000, 999, 768_000, 768_001, 0, 2**32 - 1)
_PLACEHOLDERS = (0, 0x7FFF_F000, 0x7FFF_FFC0, 0x7FFF_FFFF, 0xFFFF_FFFE, 0xFFFF_FFFF)
_CHUNKS = (b"LIST", b"fact", b"JUNK", b"bext", b"ds64", b"data", b"fmt ", b"id3 ", b"\0\0\0\0")

WAV_TOKENS = (b"RIFF", b"RF64", b"BW64", b"WAVE", b"ID3\x04\0\0\0\0\0\0", *_CHUNKS)
CONTAINER_TOKENS = (
    *(b"ftyp moov mdat free skip wide moof trun stsz stsc stco co64 stts cmov elst esds").split(),
    *(b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75", b"\xa3", b"\xec"),
    *(b"OggS\0\2", b"OggS\0\4", b"OpusHead", b"\1vorbis", b"Speex   ", b"\x7fFLAC"),
    *(b"fLaC", b"caff\0\1\0\0", b"desc", b"pakt", b".snd", b"#!AMR\n", b"#!AMR-WB\n"),
    *(b"\xff\xfb\x94\xc4", b"\xff\xf1\x4c\x40", b"Xing", b"Info", b"ID3\4\0\0\0\0\0\1", b"TAG"),
    *(b"#EXTM3U\n", b"ffconcat version 1.0\n", b"file:///etc/passwd", b"http://127.0.0.1/"),
)


@functools.cache
def wav_seeds() -> tuple[bytes, ...]:
    """Valid WAV files of every sample format that is read."""
    stereo = sweep(44_100, 2, _SHORT)
    return (
        GOLDEN_CLIP.read_bytes(),
        *(written(sweep(8_000, 1, _SHORT), 8_000, subtype) for subtype in _WAV_SUBTYPES),
        written(sweep(16_000, 1, _SHORT), 16_000),
        written(stereo, 44_100, "PCM_24", "WAVEX"),
        written(stereo, 44_100, "PCM_16", "RF64"),
        written(sweep(16_000, 9, _SHORT), 16_000),
        written(np.zeros((0, 1)), 16_000),
    )


@functools.cache
def container_seeds() -> tuple[bytes, ...]:
    """Valid files of every other container."""
    return (
        *(compressed(name) for name in COMPRESSED),
        written(sweep(8_000, 1, _SHORT), 8_000, "PCM_16", "FLAC"),
        muxed("mp4", "aac", movflags="frag_keyframe+empty_moov"),
        muxed("mp4", "aac", video=True),
        muxed("mov", "pcm_s16le"),
    )


def broken_wav(rng: Random) -> bytes:
    """A mutant of a valid WAV file, or one with a header of unlikely fields."""
    payload = rng.choice(wav_seeds()) if rng.random() < 0.5 else _odd_wav(rng)
    if rng.random() < 0.7:
        payload = mutate(rng, payload, wav_seeds(), WAV_TOKENS)
    return payload


def broken_container(rng: Random) -> bytes:
    """A mutant of a file in another container; the checksums of Ogg pages may be set right."""
    seeds = container_seeds()
    payload = mutate(rng, rng.choice(seeds), seeds, CONTAINER_TOKENS)
    return (
        _with_page_checksums(payload) if payload[:4] == b"OggS" and rng.random() < 0.5 else payload
    )


def _odd_wav(rng: Random) -> bytes:
    tag, n_channels = rng.choice(_TAGS), rng.choice((1, 1, 1, 2, 6, 9, 0, 256, 257, 65_535))
    bits = rng.choice((16, 16, 16, 8, 24, 32, 64, 0, 1, 12, 65, 65_535))
    align = rng.choice((None, None, None, 0, 1, 2, 3, 65_535))
    if align is None and n_channels * ((bits + 7) // 8) > 65_535:
        align = 65_535
    name, body = fmt(tag, n_channels, rng.choice(_RATES), bits, align)
    if tag == 0xFFFE or rng.random() < 0.2:
        tail = bytes.fromhex("000000001000800000aa00389b71")
        body += struct.pack("<HHIH", 22, bits, 0, rng.choice(_TAGS)) + tail[: rng.choice((14, 3))]
    elif rng.random() < 0.4:
        body += rng.randbytes(rng.randint(0, 40))
    chunks = [(name, body), (b"data", rng.randbytes(int(2 ** rng.uniform(0, 13))))]
    for _ in range(rng.choice((0, 0, 1, 2, 1_100))):
        chunks.insert(rng.randint(0, len(chunks)), (rng.choice(_CHUNKS), rng.randbytes(28)))
    if rng.random() < 0.1:
        rng.shuffle(chunks)
    claims = {}
    for chunk in rng.sample((b"data", b"fmt ", b"ds64", b"LIST"), rng.choice((0, 1, 1, 2))):
        claims[chunk] = rng.choice((*_PLACEHOLDERS, *EDGES)) % 2**32
    payload = riff(*chunks, sizes=claims)
    return payload if rng.random() < 0.7 else rng.choice((b"RF64", b"BW64")) + payload[4:]


def _with_page_checksums(ogg: bytes) -> bytes:
    """``ogg`` with the checksum of every page as it should be, without which pages are dropped."""
    payload = bytearray(ogg)
    start = 0
    while payload[start : start + 4] == b"OggS" and start + 27 <= len(payload):
        n_segments = payload[start + 26]
        size = 27 + n_segments + sum(payload[start + 27 : start + 27 + n_segments])
        payload[start + 22 : start + 26] = bytes(4)
        checksum = 0
        for byte in payload[start : start + size]:
            checksum = (checksum << 8) & 0xFFFF_FFFF ^ _CRC_TABLE[checksum >> 24 ^ byte]
        payload[start + 22 : start + 26] = checksum.to_bytes(4, "little")
        start += size
    return bytes(payload)


def _crc_entry(byte: int) -> int:
    """CRC-32 of RFC 3533: polynomial 0x04c11db7, no reflection, initial and final value 0."""
    register = byte << 24
    for _ in range(8):
        register = register << 1 ^ (0x04C1_1DB7 if register & 0x8000_0000 else 0)
    return register & 0xFFFF_FFFF


_CRC_TABLE = tuple(_crc_entry(byte) for byte in range(256))
