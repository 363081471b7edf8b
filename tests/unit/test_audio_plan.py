"""What the inspection of an upload reports and refuses, even from the first bytes alone."""

import struct

import numpy as np
import pytest

from serve_app.audio.limits import AudioLimits
from serve_app.audio.plan import check_start, inspect
from serve_app.errors import AudioTooLarge, InvalidAudio, UnsupportedAudio
from tests.unit.audio_files import COMPRESSED, compressed, fmt, riff, sweep, written

HEAD_BYTES = 16 * 1024
LIMITS = AudioLimits(max_seconds=60, max_decoded_bytes=10_000_000)


@pytest.mark.parametrize(
    "payload",
    [
        riff(fmt(), (b"data", bytes(3_200))),
        riff(fmt(rate_hz=44_100), (b"data", b"")),
        riff(fmt(tag=0x55), (b"data", b"")),
    ],
)
def test_native_and_empty_wav_is_instant(payload: bytes) -> None:
    assert inspect(payload).is_instant


@pytest.mark.parametrize("name", COMPRESSED)
def test_compressed_audio_is_not_instant(name: str) -> None:
    assert not inspect(compressed(name)).is_instant


@pytest.mark.parametrize("rate_hz, n_channels", [(8_000, 1), (16_000, 2), (44_100, 1)])
def test_wav_that_must_be_resampled_or_mixed_is_not_instant(rate_hz: int, n_channels: int) -> None:
    assert not inspect(written(sweep(rate_hz, n_channels), rate_hz)).is_instant


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", "empty_audio"),
        (b"this is not audio", "unsupported_audio"),
        (b"RIFF\x24\0\0\0RMIDdata", "unsupported_audio"),
        (riff(fmt(), (b"data", bytes(10)), sizes={b"data": 3_200}), "truncated_audio"),
        (riff(fmt(rate_hz=3), (b"data", bytes(10))), "invalid_audio"),
        (riff(fmt(tag=0x1234), (b"data", bytes(10))), "unsupported_audio"),
    ],
)
def test_what_needs_no_ffmpeg_to_refuse_is_refused_by_the_inspection(
    payload: bytes, code: str
) -> None:
    with pytest.raises((InvalidAudio, UnsupportedAudio)) as caught:
        inspect(payload)
    assert caught.value.code == code


def test_only_so_many_id3_tags_are_skipped() -> None:
    tag = b"ID3\x04\0\0\0\0\0\0"
    inspect(20 * tag + compressed("mp3"))
    with pytest.raises(UnsupportedAudio):
        inspect(10_000 * tag + compressed("mp3"))


def check(payload: bytes) -> None:
    check_start(memoryview(payload[:HEAD_BYTES]), LIMITS)


def wav_that_claims(n_bytes: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """The start of a 16 kHz mono WAV file whose samples are still to come."""
    return riff(fmt(), *chunks, (b"data", bytes(HEAD_BYTES)), sizes={b"data": n_bytes})


@pytest.mark.parametrize("n_bytes", [60 * 32_000 + 2, 999_999_998])
def test_a_start_that_claims_more_seconds_than_the_limit_is_too_large(n_bytes: int) -> None:
    with pytest.raises(AudioTooLarge, match="60 s"):
        check(wav_that_claims(n_bytes))


def test_a_claim_behind_other_chunks_is_found() -> None:
    with pytest.raises(AudioTooLarge):
        check(wav_that_claims(60 * 32_000 + 2, (b"LIST", bytes(5_001)), (b"fact", bytes(4))))


def test_the_claim_of_an_rf64_start_is_found() -> None:
    ds64 = (b"ds64", struct.pack("<QQQI", 0, 2**33, 2**32, 0))
    with pytest.raises(AudioTooLarge):
        check(b"RF64" + wav_that_claims(0xFFFF_FFFF, ds64)[4:])


@pytest.mark.parametrize(
    "n_bytes", [0, 60 * 32_000, 2_000_000_000, 0x7FFF_F000, 0x7FFF_FFFF, 0xFFFF_FFFF]
)
def test_a_start_within_the_limit_or_of_open_length_goes_on(n_bytes: int) -> None:
    check(wav_that_claims(n_bytes))


def test_a_claim_after_the_first_bytes_goes_on() -> None:
    check(wav_that_claims(60 * 32_000 + 2, (b"LIST", bytes(20_000))))


def test_samples_of_many_channels_count_as_bytes() -> None:
    samples = (b"data", bytes(HEAD_BYTES))
    with pytest.raises(AudioTooLarge, match="10000000 bytes"):
        check(riff(fmt(n_channels=64, rate_hz=48_000), samples, sizes={b"data": 12_000_000}))


def test_a_start_that_contradicts_itself_is_invalid() -> None:
    with pytest.raises(InvalidAudio, match="3 Hz"):
        check(riff(fmt(rate_hz=3), (b"data", bytes(HEAD_BYTES))))


def test_a_flac_start_that_claims_more_than_the_limit_is_too_large() -> None:
    payload = bytearray(written(sweep(16_000), 16_000, "PCM_16", "FLAC"))
    payload[21:26] = (payload[21] >> 4 << 36 | 61 * 16_000).to_bytes(5, "big")
    with pytest.raises(AudioTooLarge, match="60 s"):
        check(bytes(payload))


@pytest.mark.parametrize("content", [b"PK\x03\x04", b"%PDF-1.7\n", b"<html>"])
def test_a_start_that_is_not_audio_is_unsupported(content: bytes) -> None:
    with pytest.raises(UnsupportedAudio):
        check(content + bytes(HEAD_BYTES))


@pytest.mark.parametrize("name", COMPRESSED)
def test_the_start_of_every_container_goes_on(name: str) -> None:
    check(compressed(name))


def test_an_mp3_behind_a_large_picture_goes_on() -> None:
    check(b"ID3\x04\0\0" + bytes([0, 2, 0, 0]) + bytes(32_768) + compressed("mp3"))


@pytest.mark.parametrize("name", ["mp3", "adts"])
def test_padding_longer_than_the_start_goes_on(name: str) -> None:
    check_start(memoryview(bytes(HEAD_BYTES)), AudioLimits())
    inspect(bytes(HEAD_BYTES + 20_000) + compressed(name))


def test_an_mp3_that_begins_in_mid_frame_goes_on() -> None:
    noise = np.random.default_rng(0).integers(0, 250, 700, np.uint8).tobytes()
    check(noise + compressed("mp3"))
