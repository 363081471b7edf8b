"""A WAV file in pieces gives the samples of the whole file; anything else is refused."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.audio import wav_stream
from serve_app.audio.clip import Samples
from serve_app.audio.decode import decode_audio
from serve_app.audio.limits import AudioLimits
from serve_app.audio.wav import Wave, read_wav
from serve_app.audio.wav_stream import MOST_HEAD_BYTES, WavStream
from serve_app.errors import InvalidAudio, UnsupportedAudio
from tests.unit.test_audio_pcm import FORMATS, TONE, wav

RATES = st.sampled_from([8_000, 16_000, 44_100])


def streamed(pieces: list[bytes]) -> Samples:
    stream = WavStream()
    return np.concatenate([*(stream.feed(piece) for piece in pieces), stream.finish()])


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = [0, *sorted(places), len(data)]
    return [data[start:end] for start, end in pairwise(ends)]


@given(st.lists(st.integers(0, 200), max_size=20), st.sampled_from(FORMATS), RATES)
def test_pieces_make_no_difference(
    places: list[int], form: tuple[str, int, int], rate: int
) -> None:
    _, tag, bits = form
    file = wav(TONE[:8_000], tag, bits, rate, 1)
    assert np.array_equal(streamed(cut(file, places)), streamed([file]))


def test_a_header_in_single_bytes_is_not_read_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    n_read = 0

    def counted(*args: Any, **kwargs: Any) -> Wave | None:
        nonlocal n_read
        n_read += 1
        return read_wav(*args, **kwargs)

    monkeypatch.setattr(wav_stream, "read_wav", counted)
    file = wav(TONE, 1, 16, 16_000, 1)
    head = file[:12] + b"LIST" + (32_000).to_bytes(4, "little") + bytes(32_000) + file[12:]
    assert streamed([bytes([byte]) for byte in head]).nbytes == len(TONE)
    assert n_read < 100


def test_the_samples_are_those_of_the_file() -> None:
    file = wav(TONE, 1, 16, 16_000, 1)
    expected = decode_audio(file, limits=AudioLimits()).samples
    assert np.array_equal(streamed([file]), expected)


def test_a_size_of_zero_leaves_the_end_open() -> None:
    file = wav(TONE, 1, 16, 16_000, 1)
    head = file[: -len(TONE) - 4]
    assert streamed([head + bytes(4), TONE, TONE]).nbytes == 2 * len(TONE)


def test_what_follows_the_samples_is_not_heard() -> None:
    assert streamed([wav(TONE, 1, 16, 16_000, 1), b"LIST", bytes(100)]).nbytes == len(TONE)


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"OggS" + bytes(40), "not WAV"),
        (b"RIFF....WAVE" + b"junk\xff\xff\x00\x00" + bytes(MOST_HEAD_BYTES), "WAV"),
        (wav(TONE, 1, 24, 16_000, 1), "24 bits"),
        (wav(TONE, 0x55, 16, 16_000, 1), "format 85"),
        (wav(TONE, 1, 16, 4_000, 1), "4000 Hz"),
        (wav(TONE, 1, 16, 16_000, 9), "9 channels"),
    ],
)
def test_other_audio_is_refused(head: bytes, reason: str) -> None:
    with pytest.raises((UnsupportedAudio, InvalidAudio), match=reason):
        streamed([head])
