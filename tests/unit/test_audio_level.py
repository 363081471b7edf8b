"""Speech of any loudness and on any channel reaches the samples at an audible level."""

import struct

import numpy as np
import numpy.typing as npt
import pytest

from serve_app.assets import GOLDEN_CLIP
from serve_app.audio.clip import SAMPLE_RATE_HZ
from serve_app.audio.decode import decode_audio, plain_clip
from serve_app.audio.level import QUIETEST_PEAK, SILENCE_PEAK
from serve_app.audio.limits import AudioLimits
from tests.unit.audio_files import fmt, riff, written

Sound = npt.NDArray[np.floating]

VOICE: Sound = decode_audio(GOLDEN_CLIP.read_bytes(), limits=AudioLimits()).float32()
VOICE /= np.abs(VOICE).max() * 2
SILENCE = np.zeros_like(VOICE)
QUIET = 10 ** (-30 / 20)


def heard(channels: list[Sound], subtype: str = "PCM_16") -> Sound:
    payload = written(np.stack(channels, axis=1), SAMPLE_RATE_HZ, subtype)
    return decode_audio(payload, limits=AudioLimits()).float32()


def loudness(sound: Sound) -> float:
    return float(np.sqrt(np.mean(sound**2)))


def likeness(sound: Sound, voice: Sound = VOICE) -> float:
    return float(np.corrcoef(sound, voice)[0, 1])


@pytest.mark.parametrize("decibels", [-69, -60, -45, -35])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_quiet_speech_is_brought_to_a_level(decibels: int, subtype: str) -> None:
    sound = heard([2 * VOICE * 10 ** (decibels / 20)], subtype)
    assert QUIETEST_PEAK < np.abs(sound).max() < 0.5
    assert likeness(sound) > (0.9 if subtype == "PCM_16" else 0.999)


def test_float_samples_beyond_full_scale_are_not_cut_off() -> None:
    sound = heard([VOICE * 200], "FLOAT")
    assert np.abs(sound).max() < 0.5
    assert likeness(sound) > 0.999


@pytest.mark.parametrize("scale", [1.0, 0.0005])
def test_an_offset_is_removed(scale: float) -> None:
    sound = heard([VOICE * scale + 20_000 / 32_768])
    assert abs(sound.mean()) < 0.001
    assert QUIETEST_PEAK < np.abs(sound).max() <= 0.51
    assert likeness(sound) > 0.9


@pytest.mark.parametrize("offset", [0.0, 0.5])
@pytest.mark.parametrize("peak", [0, 1, SILENCE_PEAK - 2])
def test_silence_stays_silence(offset: float, peak: int) -> None:
    dither = np.random.default_rng(0).integers(-peak, peak + 1, len(VOICE)) / 32_768
    assert np.abs(heard([dither + offset])).max() < SILENCE_PEAK / 32_768


def test_samples_that_are_not_numbers_spoil_no_others() -> None:
    samples = (200 * VOICE).astype("<f4")
    samples[100:103] = np.nan, np.inf, -np.inf
    payload = riff(fmt(3, bits=32), (b"data", samples.tobytes()))
    assert likeness(decode_audio(payload, limits=AudioLimits()).float32()) > 0.99


@pytest.mark.parametrize("peak", [QUIETEST_PEAK * 1.01, 0.1, 1.0])
def test_a_plain_wav_of_a_usual_level_is_a_view(peak: float) -> None:
    payload = written((2 * VOICE * peak)[:, None], SAMPLE_RATE_HZ)
    clip = plain_clip(payload, AudioLimits())
    assert clip is not None
    assert np.shares_memory(clip.samples, np.frombuffer(payload, np.uint8))


def test_a_plain_wav_of_another_level_is_decoded() -> None:
    assert plain_clip(written(0.01 * VOICE[:, None], SAMPLE_RATE_HZ), AudioLimits()) is None


@pytest.mark.parametrize(
    "place, n_channels",
    [(place, n) for n in (2, 3, 4, 5, 6, 8) for place in range(n)] + [(7, 9), (63, 64)],
)
def test_a_voice_on_one_channel_is_heard(place: int, n_channels: int) -> None:
    channels = [SILENCE] * n_channels
    channels[place] = VOICE
    sound = heard(channels)
    assert likeness(sound) > 0.99
    assert loudness(sound) > 0.1 * loudness(VOICE)


@pytest.mark.parametrize("mask", [0x3F, 0x60F, 0x63F, 0x7])
def test_a_voice_on_one_channel_of_a_named_layout_is_heard(mask: int) -> None:
    n_channels = mask.bit_count()
    for place in range(n_channels):
        samples = np.zeros((len(VOICE), n_channels), "<i2")
        samples[:, place] = VOICE * 32_768
        subformat = b"\1\0" + bytes.fromhex("000000001000800000aa00389b71")
        body = fmt(0xFFFE, n_channels)[1] + struct.pack("<HHI", 22, 16, mask) + subformat
        payload = riff((b"fmt ", body), (b"data", samples.tobytes()))
        sound = decode_audio(payload, limits=AudioLimits()).float32()
        assert likeness(sound) > 0.99


def test_channels_of_opposite_phase_are_heard() -> None:
    assert likeness(heard([VOICE, -VOICE])) > 0.99


@pytest.mark.parametrize("hum", [0.001, 0.05])
def test_a_voice_beside_hum_on_the_other_channels_is_heard(hum: float) -> None:
    tone = hum * np.sin(np.arange(len(VOICE)) / 20)
    sound = heard([tone, tone, VOICE])
    assert likeness(sound) > 0.99


@pytest.mark.parametrize("kind", ["hum", "noise"])
def test_a_channel_of_steady_sound_does_not_drown_the_voice_on_another(kind: str) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, len(VOICE))
    steady = noise if kind == "noise" else 0.5 * np.sin(np.arange(len(VOICE)) / 50)
    assert likeness(heard([steady, VOICE * 0.2])) > 0.99


def test_two_people_of_whom_one_is_quiet_are_both_heard() -> None:
    caller = np.concatenate([VOICE, SILENCE])
    called = np.concatenate([SILENCE, VOICE]) * QUIET
    sound = heard([caller, called])
    first, second = np.split(sound, 2)
    assert likeness(first) > 0.99
    assert likeness(second) > 0.99
    assert loudness(second) > 0.5 * loudness(first)


def test_a_faint_echo_of_the_speech_is_not_raised() -> None:
    delayed = np.roll(VOICE, 400) * QUIET
    sound = heard([VOICE, delayed])
    np.testing.assert_allclose(sound, (VOICE + delayed) / 2, atol=2e-4)


@pytest.mark.parametrize("other", [1.0, 0.5, 0.0])
def test_speech_that_the_usual_mix_keeps_is_mixed_as_usual(other: float) -> None:
    sound = heard([VOICE, VOICE * other])
    np.testing.assert_allclose(sound, VOICE * (1 + other) / 2, atol=2e-4)
