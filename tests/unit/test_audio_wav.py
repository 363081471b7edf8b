"""The WAV reader accepts what encoders write and refuses what cannot be true."""

import struct

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from serve_app.audio.clip import AudioClip
from serve_app.audio.decode import decode_audio
from serve_app.audio.level import is_usual_clip
from serve_app.audio.limits import AudioLimits
from serve_app.audio.wav import Wave, read_wav
from serve_app.errors import InvalidAudio, UnsupportedAudio, WhisperOxError
from tests.unit.audio_files import fmt, riff

SAMPLES = 16 * np.arange(-800, 800, dtype="<i2")
DATA = (b"data", SAMPLES.tobytes())
PLACEHOLDERS = (0, 2_000_000_000, 0x7FFF_F000, 0x7FFF_FFC0, 0x7FFF_FFFF, 0xFFFF_FFFF)

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


@pytest.mark.parametrize("n_too_many", [1, 22, 44, 36 + 8, 36, 64])
def test_a_size_that_counts_headers_takes_what_came(n_too_many: int) -> None:
    payload = riff(fmt(), DATA, sizes={b"data": len(DATA[1]) + n_too_many})
    np.testing.assert_array_equal(decode(payload).samples, SAMPLES)


def test_a_size_that_is_that_of_a_file_with_a_long_header_takes_what_came() -> None:
    chunks = ((b"LIST", bytes(5_000)), fmt(), DATA)
    payload = riff(*chunks, sizes={b"data": len(riff(*chunks))})
    np.testing.assert_array_equal(decode(payload).samples, SAMPLES)


def test_an_odd_size_keeps_whole_samples() -> None:
    clip = decode(riff(fmt(), (b"data", DATA[1] + b"\7")))
    np.testing.assert_array_equal(clip.samples, SAMPLES)


@pytest.mark.parametrize("n_lost", [66, 1_000, len(DATA[1])])
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
        fmt(bits=0, block_align=0),
        fmt(tag=3, bits=16),
        (b"fmt ", bytes(10)),
        fmt(tag=0xFFFE),
    ],
)
def test_header_that_cannot_be_true_is_invalid(header: tuple[bytes, bytes]) -> None:
    assert refusal(riff(header, DATA)) == ("invalid_audio", 400)


def test_a_header_that_fills_the_file_is_refused() -> None:
    name, format_ = fmt()
    longest = 18 + 65_535
    assert len(read(riff((name, format_.ljust(longest, b"\0")), DATA)).format.chunk) == longest
    longer = riff((name, format_.ljust(longest + 1, b"\0")), DATA)
    for came in (longer, longer[:99]):
        with pytest.raises(InvalidAudio, match="'fmt ' chunk claims 65554 bytes"):
            read_wav(memoryview(came), is_whole=came is longer)


@pytest.mark.parametrize(
    "header",
    [fmt(block_align=align) for align in (0, 1, 16, 4)] + [fmt(bits=0, block_align=2)],
)
def test_fields_that_say_a_thing_twice_are_ignored(header: tuple[bytes, bytes]) -> None:
    np.testing.assert_array_equal(decode(riff(header, DATA)).samples, SAMPLES)


@pytest.mark.parametrize("tag", [6, 7])
@pytest.mark.parametrize("bits", [0, 16])
def test_a_law_and_mu_law_have_8_bits_whatever_the_header_says(tag: int, bits: int) -> None:
    samples = (b"data", SAMPLES.tobytes())
    said = decode(riff(fmt(tag, bits=bits, rate_hz=8_000), samples))
    true = decode(riff(fmt(tag, bits=8, rate_hz=8_000), samples))
    np.testing.assert_array_equal(said.samples, true.samples)


@pytest.mark.parametrize("tail", ["000021070000d3118644c8c1ca000000", "00" * 16])
def test_the_identifier_of_ambisonic_sound_is_ignored(tail: str) -> None:
    body = fmt(tag=0xFFFE)[1] + struct.pack("<HHI", 22, 16, 0) + b"\1\0" + bytes.fromhex(tail)[2:]
    np.testing.assert_array_equal(decode(riff((b"fmt ", body), DATA)).samples, SAMPLES)


def test_samples_of_64_bits_are_decoded() -> None:
    wide = SAMPLES.astype("<i8") << 48
    clip = decode(riff(fmt(bits=64), (b"data", wide.tobytes())))
    np.testing.assert_allclose(clip.samples, SAMPLES, atol=1)


def test_samples_without_a_format_are_invalid() -> None:
    assert refusal(riff(DATA)) == ("invalid_audio", 400)


def test_format_without_samples_is_invalid() -> None:
    assert refusal(riff(fmt(), (b"LIST", b"INFO"))) == ("invalid_audio", 400)


@pytest.mark.parametrize("tag", [0, 0x38, 0x65, 0x141, 0x1234])
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


@given(
    st.lists(st.integers(-32_768, 32_767), max_size=200).map(lambda half: half + [~n for n in half])
)
def test_native_samples_survive_the_round_trip(samples: list[int]) -> None:
    pcm = np.array(samples, dtype="<i2")
    assume(is_usual_clip(pcm))
    clip = decode(riff(fmt(), (b"data", pcm.tobytes())))
    assert clip.samples.tolist() == samples
    assert clip.float32().tolist() == [sample / 32_768 for sample in samples]
