"""Uncompressed streams, in pieces of any size, give the samples of the same file."""

import struct
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.audio.clip import Samples
from serve_app.audio.decode import decode_audio
from serve_app.audio.limits import AudioLimits
from serve_app.audio.pcm import Encoding, PcmStream

TONE = (8_000 * np.sin(np.arange(24_000) / 9)).astype("<i2").tobytes()

FORMATS: list[tuple[Encoding, int, int]] = [
    ("pcm16", 1, 16),
    ("float32", 3, 32),
    ("alaw", 6, 8),
    ("mulaw", 7, 8),
]
"""Encoding, and the format tag and bits of a WAV file that has it."""


def streamed(pieces: list[bytes], encoding: Encoding, rate: int, channels: int) -> Samples:
    stream = PcmStream(encoding, rate, channels)
    return np.concatenate([*(stream.feed(piece) for piece in pieces), stream.finish()])


def wav(data: bytes, tag: int, bits: int, rate: int, channels: int) -> bytes:
    align = channels * bits // 8
    form = struct.pack("<HHIIHH", tag, channels, rate, rate * align, align, bits)
    chunks = b"fmt " + struct.pack("<I", len(form)) + form
    chunks += b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


@given(st.lists(st.integers(0, len(TONE)), max_size=20), st.sampled_from([8_000, 16_000, 24_000]))
def test_it_does_not_matter_how_the_bytes_are_cut(cuts: list[int], rate: int) -> None:
    edges = [0, *sorted(cuts), len(TONE)]
    pieces = [TONE[start:end] for start, end in pairwise(edges)]
    cut, whole = (streamed(p, "pcm16", rate, 1) for p in (pieces, [TONE]))
    assert abs(len(cut) - len(whole)) <= 1
    n = min(len(cut), len(whole))
    assert np.abs(cut[:n].astype(int) - whole[:n]).max() <= 1


@pytest.mark.parametrize("rate", [16_000, 48_000])
@pytest.mark.parametrize(("encoding", "tag", "bits"), FORMATS)
def test_a_stream_sounds_like_the_file(encoding: Encoding, tag: int, bits: int, rate: int) -> None:
    random = np.random.default_rng(0)
    data = TONE if encoding == "pcm16" else random.bytes(9_600)
    if encoding == "float32":
        data = random.uniform(-1, 1, 9_600).astype("<f4").tobytes()
    expected = decode_audio(bytearray(wav(data, tag, bits, rate, 1)), limits=AudioLimits()).samples
    samples = streamed([data], encoding, rate, 1)
    assert len(samples) == len(expected)
    assert np.abs(samples.astype(int) - expected).max() <= 2


def test_channels_are_averaged() -> None:
    data = np.array([[1_000, 3_000], [-400, 0]], "<i2").tobytes()
    assert streamed([data], "pcm16", 16_000, 2).tolist() == [2_000, -200]


def test_what_is_not_a_number_is_silence() -> None:
    data = np.array([np.nan, np.inf, -np.inf, 0.5, 7.0], "<f4").tobytes()
    assert streamed([data], "float32", 16_000, 1).tolist() == [0, 0, 0, 16_384, 32_767]


def test_after_a_break_the_stream_goes_on_with_a_whole_frame() -> None:
    stream = PcmStream("pcm16", 16_000, 1)
    stream.feed(b"\x01\x00\x02")
    stream.drop_part()
    assert stream.feed(b"\x02\x00").tolist() == [2]


def test_half_a_frame_at_the_end_is_dropped() -> None:
    stream = PcmStream("pcm16", 16_000, 2)
    assert not len(stream.feed(b"\1\2\3"))
    assert stream.n_frames == 0
