"""Channels that are kept apart: each becomes what a mono file of it would."""

import io

import numpy as np
import numpy.typing as npt
import pytest

from serve_app.audio.decode import decode, decode_audio
from serve_app.audio.limits import AudioLimits
from serve_app.audio.plan import inspect
from serve_app.errors import AudioTooLarge
from tests.unit.audio_files import SECONDS, sweep, written

Samples = npt.NDArray[np.int16]

RATE_HZ = 16_000
LIMITS = AudioLimits()


class Output(io.BytesIO):
    def restart(self) -> None:
        self.seek(0)
        self.truncate()


def channels(payload: bytes, limits: AudioLimits = LIMITS) -> list[Samples]:
    outputs = [Output() for _ in range(limits.max_channels)]
    decoded = decode(inspect(payload), payload, limits=limits, outputs=outputs)
    assert not any(output.getvalue() for output in outputs[decoded.n_outputs :])
    return [np.frombuffer(one.getvalue(), np.int16) for one in outputs[: decoded.n_outputs]]


def mono(payload: bytes) -> Samples:
    return decode_audio(payload, limits=AudioLimits()).samples


@pytest.mark.parametrize(
    ("rate_hz", "subtype", "container"),
    [
        (16_000, "PCM_16", "WAV"),
        (44_100, "PCM_24", "WAV"),
        (8_000, "ULAW", "WAV"),
        (48_000, "FLOAT", "WAV"),
        (22_050, "PCM_16", "FLAC"),
    ],
)
def test_a_channel_is_what_its_own_file_would_be(
    rate_hz: int, subtype: str, container: str
) -> None:
    sound = sweep(rate_hz, 3) * (1, 0.001, 0)  # one is quiet, and one is silent
    apart = channels(written(sound, rate_hz, subtype, container))
    assert len(apart) == 3
    for heard, own in zip(apart, sound.T, strict=True):
        alone = mono(written(own[:, None], rate_hz, subtype, container))
        np.testing.assert_array_equal(heard, alone)
    assert np.abs(apart[1]).max() > 5_000
    assert not apart[2].any()


def test_a_voice_on_one_channel_is_not_heard_on_the_other() -> None:
    sound = sweep(48_000, 2)
    sound[:36_000, 0] = sound[36_000:, 1] = 0
    left, right = channels(written(sound, 48_000, "OPUS", "OGG"))
    middle = len(left) // 2
    assert len(left) == len(right) == pytest.approx(SECONDS * RATE_HZ, abs=1_000)
    for voice, silence in ((left[middle:], right[middle:]), (right[:middle], left[:middle])):
        assert np.abs(voice).max() > 10_000
        assert np.abs(silence[1_000:-1_000]).max() < 300


def test_a_mono_file_has_one_channel() -> None:
    payload = written(sweep(48_000), 48_000)
    [only] = channels(payload)
    np.testing.assert_array_equal(only, mono(payload))


@pytest.mark.parametrize("first", [1, 2])
def test_a_channel_that_is_there_in_a_part_of_the_file_is_silent_in_the_rest(first: int) -> None:
    parts = [written(sweep(48_000, n), 48_000, "MPEG_LAYER_III", "MP3") for n in (first, 3 - first)]
    left, right = channels(b"".join(parts))
    assert len(left) == len(right) == pytest.approx(2 * SECONDS * RATE_HZ, abs=2_000)
    halves = np.array_split(right, 2)[:: 1 if first == 1 else -1]
    assert not halves[0][1_000:-1_000].any()
    assert np.abs(halves[1]).max() > 10_000
    assert np.abs(left[:RATE_HZ]).max() > 10_000 < np.abs(left[-RATE_HZ:]).max()


def test_more_channels_than_allowed_are_refused() -> None:
    payload = written(sweep(16_000, 3), 16_000)
    with pytest.raises(AudioTooLarge, match="has 3 channels; this server transcribes at most 2"):
        channels(payload, AudioLimits(max_channels=2))


def test_every_channel_counts_towards_the_longest_audio() -> None:
    limits = AudioLimits(max_seconds=2 * SECONDS)
    assert len(channels(written(sweep(16_000, 2), 16_000), limits)) == 2
    with pytest.raises(AudioTooLarge, match="3 channels together are longer than 3 s"):
        channels(written(sweep(16_000, 3), 16_000), limits)
