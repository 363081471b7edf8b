"""A file that cannot be taken is refused by its first bytes; one that can never is."""

import numpy as np
import pytest

from serve_app.audio.early import check_start
from serve_app.audio.limits import AudioLimits
from serve_app.errors import AudioTooLarge, InvalidAudio, UnsupportedAudio
from tests.unit.audio_files import COMPRESSED, compressed, fmt, riff, sweep, written

HEAD_BYTES = 16 * 1024
LIMITS = AudioLimits(max_seconds=60, max_decoded_bytes=10_000_000)


def check(payload: bytes, limits: AudioLimits = LIMITS) -> None:
    check_start(memoryview(payload[:HEAD_BYTES]), limits)


def wav_that_claims(n_bytes: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """The start of a 16 kHz mono WAV file whose samples are still to come."""
    return riff(fmt(), *chunks, (b"data", bytes(HEAD_BYTES)), sizes={b"data": n_bytes})


@pytest.mark.parametrize("n_bytes", [60 * 32_000 + 2, 0x7FFF_0000])
def test_a_wav_that_claims_more_than_the_limit_is_too_large(n_bytes: int) -> None:
    with pytest.raises(AudioTooLarge, match="60 s"):
        check(wav_that_claims(n_bytes))


def test_a_claim_behind_other_chunks_is_found() -> None:
    with pytest.raises(AudioTooLarge):
        check(wav_that_claims(60 * 32_000 + 2, (b"LIST", bytes(5_001)), (b"fact", bytes(4))))


@pytest.mark.parametrize("n_bytes", [0, 60 * 32_000, 0x7FFF_F000, 0x7FFF_FFFF, 0xFFFF_FFFF])
def test_a_wav_within_the_limit_or_of_open_length_goes_on(n_bytes: int) -> None:
    check(wav_that_claims(n_bytes))


def test_a_claim_further_on_than_the_first_bytes_goes_on() -> None:
    check(wav_that_claims(60 * 32_000 + 2, (b"LIST", bytes(20_000))))


def test_samples_of_many_channels_count_as_bytes() -> None:
    samples = (b"data", bytes(HEAD_BYTES))
    with pytest.raises(AudioTooLarge, match="10000000 bytes"):
        check(riff(fmt(n_channels=64, rate_hz=48_000), samples, sizes={b"data": 12_000_000}))


def test_a_wav_header_that_contradicts_itself_is_invalid() -> None:
    with pytest.raises(InvalidAudio, match="3 Hz"):
        check(riff(fmt(rate_hz=3), (b"data", bytes(HEAD_BYTES))))


def test_a_flac_that_claims_more_than_the_limit_is_too_large() -> None:
    payload = bytearray(written(sweep(16_000), 16_000, "PCM_16", "FLAC"))
    payload[21:26] = (payload[21] >> 4 << 36 | 61 * 16_000).to_bytes(5, "big")
    with pytest.raises(AudioTooLarge, match="60 s"):
        check(bytes(payload))


@pytest.mark.parametrize("content", [b"PK\x03\x04", b"%PDF-1.7\n", b"<html>", bytes(4)])
def test_what_begins_as_no_audio_is_unsupported(content: bytes) -> None:
    with pytest.raises(UnsupportedAudio):
        check(content + bytes(HEAD_BYTES))


@pytest.mark.parametrize("name", COMPRESSED)
def test_every_container_goes_on(name: str) -> None:
    check(compressed(name))


def test_an_mp3_behind_a_large_picture_goes_on() -> None:
    check(b"ID3\x04\0\0" + bytes([0, 2, 0, 0]) + bytes(32_768) + compressed("mp3"))


def test_an_mp3_that_begins_in_mid_frame_goes_on() -> None:
    noise = np.random.default_rng(0).integers(0, 250, 700, np.uint8).tobytes()
    check(noise + compressed("mp3"))
