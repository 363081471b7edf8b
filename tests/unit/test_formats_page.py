"""Every container and codec in docs/formats.md is decoded, and other known ones are named."""

from pathlib import Path

import numpy as np
import pytest

from serve_app.audio.containers import CONTAINERS
from serve_app.audio.decode import decode_audio
from serve_app.audio.limits import AudioLimits
from serve_app.audio.plan import inspect
from serve_app.errors import UnsupportedAudio
from tests.unit.audio_files import SECONDS, muxed, sweep, written

PAGE = Path(__file__).parents[2] / "docs" / "formats.md"
TABLE = [
    line.strip("| \n").split(" | ") for line in PAGE.read_text().splitlines() if line[:2] == "| "
][1:]
PAIRS = [(container, codec) for container, codecs in TABLE for codec in codecs.split(", ")]

MUXERS = {
    "M4A/MP4/MOV": "mov",
    "WebM": "webm",
    "Matroska": "matroska",
    "WMA": "asf",
    "MPEG-PS": "vob",
    "MPEG-TS": "mpegts",
    "AAC (ADTS)": "adts",
}
ENCODERS = {
    "PCM": "pcm_s16le",
    "float": "pcm_f32le",
    "A-law": "pcm_alaw",
    "mu-law": "pcm_mulaw",
    "MS ADPCM": "adpcm_ms",
    "IMA ADPCM": "adpcm_ima_wav",
    "QuickTime IMA ADPCM": "adpcm_ima_qt",
    "Flash ADPCM": "adpcm_swf",
    "MP3": "libmp3lame",
    "Opus": "libopus",
    "AC-3": "ac3",
    "E-AC-3": "eac3",
    "AMR": "libopencore_amrnb",
    "WMA 1": "wmav1",
    "WMA 2": "wmav2",
    "DVD PCM": "pcm_dvd",
    "Yamaha ADPCM": "adpcm_yamaha",
    "G.722": "g722",
    "G.726": "g726",
}
LIBSNDFILE = {
    ("WAV", "GSM 6.10"): ("GSM610", "WAV", 8_000),
    ("OGG", "Vorbis"): ("VORBIS", "OGG", 48_000),
}


def made(container: str, codec: str) -> bytes:
    """The sweep in this container and codec."""
    if (container, codec) in LIBSNDFILE:
        subtype, written_as, rate_hz = LIBSNDFILE[container, codec]
        return written(sweep(rate_hz), rate_hz, subtype, written_as)
    muxer = "mp4" if (container, codec) == ("M4A/MP4/MOV", "Opus") else MUXERS.get(container)
    encoder = ENCODERS.get(codec, codec.lower())
    if container in ("AIFF", "AU") and codec == "PCM":
        encoder = "pcm_s16be"
    is_slow = {"AMR": 8_000, "Flash ADPCM": 44_100, "Nellymoser": 44_100}
    is_slow |= {"G.722": 16_000, "G.726": 8_000, "Yamaha ADPCM": 8_000}
    rate_hz = is_slow.get(codec, 44_100 if (container, codec) == ("FLV", "PCM") else 48_000)
    return muxed(muxer or container.lower(), encoder, rate_hz=rate_hz)


@pytest.mark.parametrize(("container", "codec"), PAIRS)
def test_every_format_of_the_table_is_decoded(container: str, codec: str) -> None:
    clip = decode_audio(made(container, codec), limits=AudioLimits())
    assert clip.received_seconds == pytest.approx(SECONDS, abs=0.1)
    spectrum = np.abs(np.fft.rfft(clip.float32()))
    energy = np.cumsum(spectrum**2) / np.sum(spectrum**2)
    middle_hz = float(np.searchsorted(energy, 0.5)) / clip.seconds
    assert middle_hz == pytest.approx(700, abs=60)  # a sweep from 100 to 1,300 Hz


def test_the_table_lists_every_container() -> None:
    listed = {container for container, _ in TABLE}
    labels = {container.label for container in CONTAINERS.values()}
    assert labels - listed == {"WebM/Matroska"}
    assert listed - labels == {"WebM", "Matroska", "3GP"}


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"wvpk", "WavPack"),
        (b"MAC ", "Monkey's Audio"),
        (b".RMF\0\0\0\x12", "RealMedia"),
        (b"Creative Voice File\x1a", "VOC"),
        (b"\x0b\x77", "AC-3"),
        (b"NIST_1A\n   1024\n", "NIST SPHERE"),
        (b"MThd\0\0\0\6", "MIDI"),
        (b"RIFX\0\0\0\0WAVE", r"Big-endian WAV \(RIFX\)"),
        (b"\x1f\x43\xb6\x75\x01", r"WebM \(without their beginning\)"),
        (b"#EXTM3U\n", "Playlist"),
        (b"\x1f\x8b\x08\0", "gzip"),
        (b"PK\x03\x04", "ZIP"),
        (b"<!DOCTYPE html><html>", "HTML"),
    ],
)
def test_a_known_format_that_is_not_read_is_named(head: bytes, name: str) -> None:
    with pytest.raises(UnsupportedAudio, match=f"^{name} files are not supported"):
        inspect(head + bytes(20_000))


def test_a_codec_that_is_not_read_is_named() -> None:
    with pytest.raises(UnsupportedAudio, match=r"audio codec \(tta\)"):
        decode_audio(muxed("matroska", "tta"), limits=AudioLimits())
