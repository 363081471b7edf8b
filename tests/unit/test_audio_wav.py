"""The WAV reader accepts what encoders write and refuses what cannot be true."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.audio.clip import AudioClip
from serve_app.audio.decode import decode_audio
from serve_app.audio.limits import AudioLimits
from serve_app.audio.wav import Wave, read_wav
from serve_app.errors import InvalidAudio, UnsupportedAudio, WhisperOxError
from tests.unit.audio_files import fmt, riff

SAMPLES = np.arange(-800, 800, dtype="<i2")
DATA = (b"data", SAMPLES.tobytes())
PLACEHOLDERS = (0, 0x7FFF_F000, 0x7FFF_FFC0, 0x7FFF_FFFF, 0xFFFF_FFFF)

WIDTHS = st.sampled_from([(1, 8), (1, 16), (1, 24), (1, 32), (3, 32), (3, 64), (6, 8), (7, 8)])


def decode(payload: bytes) -> AudioClip:
    return decode_audio(payload, limits=AudioLimits())


def read(payload: bytes) -> Wave:
    wave = read_wav(memoryview(payload))
    assert wave is not None
    return wave


def refusal(payload: bytes) -> tuple[str, int]:
    with pytest.raises(WhisperOxError) as caught:
        decode(payload)
    return caught.value.code, caught.value.status


def test_native_wav_gives_its_own_samples() -> None:
    np.testing.assert_array_equal(decode(riff(fmt(), DATA)).samples, SAMPLES)


@pytest.mark.parametrize("size", PLACEHOLDERS)
def test_streaming_size_takes_what_came(size: int) -> None:
    clip = decode(riff(fmt(), DATA, sizes={b"data": size}))
    np.testing.assert_array_equal(clip.samples, SAMPLES)
    assert clip.received_seconds == 0.1


@pytest.mark.parametrize("size", PLACEHOLDERS)
def test_streaming_wav_cut_inside_a_sample_keeps_whole_samples(size: int) -> None:
    clip = decode(riff(fmt(), DATA, sizes={b"data": size})[:-1])
    np.testing.assert_array_equal(clip.samples, SAMPLES[:-1])


@pytest.mark.parametrize("size", PLACEHOLDERS)
@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_header_only_wav_is_an_empty_clip(size: int, rate_hz: int) -> None:
    clip = decode(riff(fmt(rate_hz=rate_hz), (b"data", b""), sizes={b"data": size}))
    assert len(clip.samples) == 0
    assert clip.received_seconds == 0.0


def test_empty_data_before_a_list_chunk_is_an_empty_clip() -> None:
    assert len(decode(riff(fmt(), (b"data", b""), (b"LIST", b"INFOISFT\4\0\0\0test"))).samples) == 0


def test_chunks_around_the_samples_are_skipped() -> None:
    odd = (b"LIST", b"odd")
    clip = decode(riff((b"JUNK", bytes(28)), fmt(), odd, DATA, (b"id3 ", bytes(9))))
    np.testing.assert_array_equal(clip.samples, SAMPLES)


def test_wrong_outer_size_is_ignored() -> None:
    payload = bytearray(riff(fmt(), DATA))
    payload[4:8] = bytes(4)
    np.testing.assert_array_equal(decode(bytes(payload)).samples, SAMPLES)


def test_rf64_takes_its_size_from_ds64() -> None:
    ds64 = (b"ds64", struct.pack("<QQQI", 0, len(DATA[1]), len(SAMPLES), 0))
    payload = riff(ds64, fmt(), DATA, (b"LIST", b"tail"), sizes={b"data": 0xFFFF_FFFF})
    np.testing.assert_array_equal(decode(b"RF64" + payload[4:]).samples, SAMPLES)


@pytest.mark.parametrize("n_lost", [1, 2, 1_000, len(DATA[1])])
def test_fewer_samples_than_claimed_are_truncated(n_lost: int) -> None:
    assert refusal(riff(fmt(), DATA)[:-n_lost]) == ("truncated_audio", 400)


@pytest.mark.parametrize("n_bytes", range(12, 44))
def test_every_cut_of_the_header_is_refused(n_bytes: int) -> None:
    assert refusal(riff(fmt(), DATA)[:n_bytes])[1] == 400


@pytest.mark.parametrize(
    "header",
    [
        fmt(rate_hz=0),
        fmt(rate_hz=4_000_000_000),
        fmt(n_channels=0, block_align=2),
        fmt(n_channels=300),
        fmt(bits=0, block_align=2),
        fmt(tag=3, bits=16),
        fmt(tag=7, bits=16),
        fmt(n_channels=2, block_align=2),
        (b"fmt ", bytes(10)),
        fmt(tag=0xFFFE),
    ],
)
def test_header_that_cannot_be_true_is_invalid(header: tuple[bytes, bytes]) -> None:
    assert refusal(riff(header, DATA)) == ("invalid_audio", 400)


def test_samples_without_a_format_are_invalid() -> None:
    assert refusal(riff(DATA)) == ("invalid_audio", 400)


def test_format_without_samples_is_invalid() -> None:
    assert refusal(riff(fmt(), (b"LIST", b"INFO"))) == ("invalid_audio", 400)


@pytest.mark.parametrize("tag", [0, 0x38, 0x64, 0x161, 0x1234, 0x2001])
def test_an_unsupported_codec_is_named(tag: int) -> None:
    with pytest.raises(UnsupportedAudio, match=rf"{tag:#06x}.*Supported: PCM"):
        decode(riff(fmt(tag=tag), DATA))


@given(st.binary(max_size=400))
def test_arbitrary_bytes_parse_or_are_invalid(noise: bytes) -> None:
    try:
        wave = read(b"RIFF\0\0\0\0WAVE" + noise)
    except InvalidAudio:
        return
    assert wave.start + wave.n_bytes <= 12 + len(noise)


CHUNKS = st.lists(
    st.tuples(
        st.sampled_from([b"fmt ", b"data", b"ds64", b"LIST", b"fact"]),
        st.one_of(
            st.binary(max_size=60),
            st.builds(
                lambda *args: fmt(*args)[1],
                st.sampled_from([1, 2, 3, 6, 7, 0x11, 0x31, 0x55, 0xFFFE]),
                st.integers(0, 300),
                st.integers(0, 2**32 // 2**14),
                st.integers(0, 64),
                st.one_of(st.none(), st.integers(0, 65_535)),
            ),
        ),
    ),
    max_size=5,
)


@given(
    chunks=CHUNKS,
    sizes=st.dictionaries(st.sampled_from([b"fmt ", b"data", b"ds64"]), st.integers(0, 2**32 - 1)),
)
def test_arbitrary_chunks_decode_or_raise_our_errors(
    chunks: list[tuple[bytes, bytes]], sizes: dict[bytes, int]
) -> None:
    try:
        clip = decode(riff(*chunks, sizes=sizes))
    except WhisperOxError:
        return
    assert clip.samples.ndim == 1
    assert clip.received_seconds >= 0.0


@given(
    width=WIDTHS,
    n_channels=st.integers(1, 8),
    rate_hz=st.integers(1_000, 192_000),
    n_frames=st.integers(0, 3_000),
    placeholder=st.one_of(st.none(), st.sampled_from(PLACEHOLDERS)),
)
def test_every_linear_format_survives_the_round_trip(
    width: tuple[int, int], n_channels: int, rate_hz: int, n_frames: int, placeholder: int | None
) -> None:
    tag, bits = width
    header = fmt(tag, n_channels, rate_hz, bits)
    samples = b"\xfe" * (n_frames * n_channels * bits // 8)
    sizes = {} if placeholder is None else {b"data": placeholder}
    payload = riff(header, (b"data", samples), sizes=sizes)
    n_padding = 0 if placeholder is None else len(samples) % 2  # A stream is not padded.
    wave = read(payload[: len(payload) - n_padding])
    assert payload[wave.start :][: wave.n_bytes] == samples
    assert (wave.format.tag, wave.format.bits) == width
    assert (wave.format.n_channels, wave.format.rate_hz) == (n_channels, rate_hz)


@given(width=WIDTHS, n_channels=st.integers(1, 8), rate_hz=st.integers(1_000, 192_000))
def test_every_linear_format_keeps_its_length(
    width: tuple[int, int], n_channels: int, rate_hz: int
) -> None:
    tag, bits = width
    samples = bytes(rate_hz // 10 * n_channels * bits // 8)
    clip = decode(riff(fmt(tag, n_channels, rate_hz, bits), (b"data", samples)))
    assert clip.received_seconds == pytest.approx(0.1, abs=1 / rate_hz)
    assert clip.seconds == pytest.approx(clip.received_seconds, abs=0.002)


@given(st.lists(st.integers(-32_768, 32_767), max_size=200))
def test_native_samples_survive_the_round_trip(samples: list[int]) -> None:
    pcm = np.array(samples, dtype="<i2")
    clip = decode(riff(fmt(), (b"data", pcm.tobytes())))
    assert clip.samples.tolist() == samples
    assert clip.float32().tolist() == [sample / 32_768 for sample in samples]
