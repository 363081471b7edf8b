"""The containers that are read, and how each is recognised. Other known ones are refused by name.

Names and content types that callers send are not trusted. The bytes decide.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from serve_app.audio import claims
from serve_app.audio.frames import adts_start, mpeg_start, transport_start
from serve_app.audio.wav import MAGIC
from serve_app.errors import UnsupportedAudio


@dataclass(frozen=True)
class Container:
    """One row of :data:`CONTAINERS`.

    Naming FFmpeg's ``demuxer`` keeps it from probing, so that its playlist formats (hls, concat,
    dash ...), which open other files and URLs, are out of reach. ``find_start`` gives the offset of
    the first structure, None if the file is something else. What a file claims is read by
    :mod:`serve_app.audio.claims`. Unless it ``tells_length``, FFmpeg only guesses the duration.
    ``has_clock``: packets are stamped with times, so that pauses between them count.
    ``starts_at_zero``: the clock does, and sound may begin later; other clocks may start anywhere.
    """

    label: str
    demuxer: str
    find_start: Callable[[memoryview], int | None]
    claimed_bytes: Callable[[memoryview], int | None] = lambda view: None
    claimed_length: Callable[[memoryview], tuple[int, float]] = lambda view: (0, 0.0)
    tells_length: bool = False
    has_clock: bool = False
    starts_at_zero: bool = False


def _magic(pattern: bytes) -> Callable[[memoryview], int | None]:
    match = re.compile(pattern, re.DOTALL).match
    return lambda view: 0 if match(view) else None


_MP4_MAGIC = rb"....(?:ftyp|moov|mdat|free|skip|wide|styp|sidx|moof)"
_ASF_MAGIC = re.escape(bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"))
_W64_MAGIC = re.escape(b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000"))

CONTAINERS = {
    "wav": Container("WAV", "wav", _magic(MAGIC.pattern)),
    "w64": Container("W64", "w64", _magic(_W64_MAGIC), claims.w64_bytes),
    "aiff": Container("AIFF", "aiff", _magic(rb"FORM....AIF[FC]"), claims.aiff_bytes),
    "mp4": Container(
        "M4A/MP4/MOV",
        "mov",
        _magic(_MP4_MAGIC),
        claims.mp4_bytes,
        tells_length=True,
        has_clock=True,
        starts_at_zero=True,
    ),
    "flac": Container(
        "FLAC", "flac", _magic(rb"fLaC"), claimed_length=claims.flac_length, tells_length=True
    ),
    "ogg": Container(
        "OGG", "ogg", _magic(rb"OggS"), claims.ogg_bytes, tells_length=True, has_clock=True
    ),
    "webm": Container(
        "WebM/Matroska",
        "matroska",
        _magic(rb"\x1a\x45\xdf\xa3"),
        claims.webm_bytes,
        tells_length=True,
        has_clock=True,
        starts_at_zero=True,
    ),
    "amr": Container("AMR", "amr", _magic(rb"#!AMR")),
    "caf": Container("CAF", "caf", _magic(rb"caff"), claims.caf_bytes, tells_length=True),
    "au": Container("AU", "au", _magic(rb"\.snd"), claims.au_bytes, tells_length=True),
    "avi": Container("AVI", "avi", _magic(rb"RIFF....AVI[ X]"), claims.avi_bytes),
    "wma": Container("WMA", "asf", _magic(_ASF_MAGIC), has_clock=True),
    "flv": Container("FLV", "flv", _magic(rb"FLV\x01"), has_clock=True),
    "mpg": Container("MPEG-PS", "mpeg", _magic(rb"\0\0\x01\xba"), has_clock=True),
    "ts": Container("MPEG-TS", "mpegts", transport_start, has_clock=True),
    "aac": Container("AAC (ADTS)", "aac", adts_start),
    "mp3": Container("MP3", "mp3", mpeg_start),
}
"""Kind -> container. The first match counts. A chain of frames is only a likely sign, so it comes
after the magic numbers, which are certain."""

SUPPORTED_FORMATS = ", ".join(container.label for container in CONTAINERS.values())

_REFUSED = {
    "WavPack": rb"wvpk",
    "Monkey's Audio": rb"MAC ",
    "True Audio": rb"TTA[12]",
    "Musepack": rb"MPCK|MP\+",
    "TAK": rb"tBaK",
    "Shorten": rb"ajkg",
    "QOA": rb"qoaf",
    "RealMedia": rb"\.RMF|\.ra\xfd",
    "VOC": rb"Creative Voice File",
    "DSD": rb"DSD |FRM8....\0\0\0\0....DSD ",
    "8SVX": rb"FORM....8SVX",
    "MIDI": rb"MThd",
    "AC-3": rb"\x0b\x77",
    "DTS": rb"\x7f\xfe\x80\x01|\xfe\x7f\x01\x80|DTSHDHDR",
    "AAC (LATM)": rb"\x56[\xe0-\xff]",
    "NIST SPHERE": rb"NIST_1A",
    "Big-endian WAV (RIFX)": rb"RIFX",
    "WebM (without their beginning)": rb"\x1f\x43\xb6\x75",
    "SoX": rb"\.SoX|XoS\.",
    "ADX": rb"\x80\0.{0,4096}?\(c\)CRI",
    "AST": rb"STRM",
    "SMAF": rb"MMMD",
    "Flash (SWF)": rb"[FCZ]WS[\x01-\x40]",
    "GXF": rb"\0\0\0\0\x01\xbc",
    "Dolby TrueHD": rb"....\xf8\x72\x6f[\xba\xbb]",
    "gzip": rb"\x1f\x8b\x08",
    "ZIP": rb"PK\x03\x04",
    "Playlist": rb"(?:\xef\xbb\xbf)?(?:#EXTM3U|\[playlist\])",
    "HTML": rb"(?i:<!doctype html|<html)",
    "MXF": rb"\x06\x0e\x2b\x34",
    "NUT": rb"nut/multimedia container",
    "WTV": rb"\xb7\xd8\x00\x20\x37\x49\xda\x11",
    "QCP": rb"RIFF....QLCM",
    "xWMA": rb"RIFF....XWMA",
    "IRCAM": rb"\x64\xa3|\0\x01\xa3\x64|\0\x02\xa3\x64",
}
"""Name -> how such a file begins. FFmpeg could read these, but people hardly ever send them, and
every further reader is another target for hostile files."""


def refusal(view: memoryview) -> UnsupportedAudio:
    """The error for a file in none of :data:`CONTAINERS`."""
    for name, pattern in _REFUSED.items():
        if re.match(pattern, view, re.DOTALL):
            return UnsupportedAudio(
                f"{name} files are not supported. Convert the file to WAV, FLAC or MP3 and send "
                f"that. Supported: {SUPPORTED_FORMATS}."
            )
    return UnsupportedAudio(f"The file is not audio. Supported: {SUPPORTED_FORMATS}.")
