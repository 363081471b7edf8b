"""Pauses and late starts in a file's clock become silence, so that times are those of the file."""

import numpy as np
import pytest

from serve_app.audio.clip import AudioClip
from serve_app.audio.decode import decode_audio
from serve_app.audio.limits import AudioLimits
from serve_app.errors import AudioTooLarge
from tests.unit.audio_files import SECONDS, sweep, timed

SOUND = sweep(48_000)[:, 0]
WITH_A_CLOCK = [
    ("webm", "libopus"),
    ("matroska", "aac"),
    ("mp4", "aac"),
    ("mov", "alac"),
    ("mpegts", "aac"),
    ("asf", "wmav2"),
    ("flv", "aac"),
]


def decode(payload: bytes, **limits: float) -> AudioClip:
    return decode_audio(payload, limits=AudioLimits.model_validate(limits))


def begins(clip: AudioClip) -> list[float]:
    """When sound begins after silence, in seconds."""
    loud = np.abs(clip.float32()) > 0.05
    within = np.convolve(loud, np.ones(1_600), "full")[: len(loud)] > 0
    return [float(n) / 16_000 for n in np.flatnonzero(np.diff(within.astype(int), prepend=0) > 0)]


@pytest.mark.parametrize(("muxer", "encoder"), WITH_A_CLOCK)
def test_a_pause_of_the_recorder_is_silence(muxer: str, encoder: str) -> None:
    clip = decode(timed(muxer, encoder, [(0.0, SOUND), (12.0, SOUND)]))
    assert clip.received_seconds == pytest.approx(12 + SECONDS, abs=0.1)
    assert clip.seconds == pytest.approx(clip.received_seconds, abs=0.01)
    assert begins(clip) == pytest.approx([0, 12], abs=0.1)


@pytest.mark.parametrize(
    ("muxer", "encoder"),
    [("webm", "libopus"), ("matroska", "aac"), ("mp4", "aac"), ("mov", "alac")],
)
def test_sound_that_starts_late_is_late(muxer: str, encoder: str) -> None:
    clip = decode(timed(muxer, encoder, [(4.9, SOUND)]))
    assert clip.received_seconds == pytest.approx(4.9 + SECONDS, abs=0.1)
    assert begins(clip) == pytest.approx([4.9], abs=0.1)


@pytest.mark.parametrize(("muxer", "encoder"), [("mpegts", "aac"), ("ogg", "libopus")])
def test_a_stream_that_was_joined_late_starts_at_once(muxer: str, encoder: str) -> None:
    clip = decode(timed(muxer, encoder, [(1_000.0, SOUND)]))
    assert clip.received_seconds == pytest.approx(SECONDS, abs=0.1)


@pytest.mark.parametrize("jump_seconds", [20_000.0, 90_000.0])
def test_a_jump_of_hours_is_another_recording_and_not_a_pause(jump_seconds: float) -> None:
    clip = decode(timed("mpegts", "aac", [(0.0, SOUND), (jump_seconds, SOUND)]))
    assert clip.received_seconds == pytest.approx(2 * SECONDS, abs=0.1)


def test_pauses_of_an_hour_need_sound_between_them() -> None:
    hourly = [(3_500.0 * hour, SOUND) for hour in range(4)]
    clip = decode(timed("webm", "libopus", hourly))
    assert clip.received_seconds == pytest.approx(3_500 + 3 * SECONDS, abs=0.1)


def test_many_pauses_with_much_sound_between_them_are_kept() -> None:
    minute = np.tile(SOUND, 40)
    clip = decode(timed("webm", "libopus", [(0.0, minute), (3_500.0, minute), (4_500.0, SOUND)]))
    assert clip.received_seconds == pytest.approx(4_500 + SECONDS, abs=0.1)


def test_pauses_count_towards_the_limit() -> None:
    payload = timed("webm", "libopus", [(0.0, SOUND), (100.0, SOUND)])
    with pytest.raises(AudioTooLarge):
        decode(payload, max_seconds=60)


def test_frames_of_amr_in_which_nobody_speaks_are_silence() -> None:
    speech = sweep(8_000, seconds=2)[:, 0]
    payload = timed("amr", "libopencore_amrnb", [(0.0, speech)], rate_hz=8_000)
    magic, n_frame = b"#!AMR\n", 32  # 12.2 kbit/s
    frames = [payload[n : n + n_frame] for n in range(len(magic), len(payload), n_frame)]
    frames[20:60] = [b"\x7c"] * 40  # no data (RFC 4867, 5.3)
    clip = decode(magic + b"".join(frames))
    assert clip.received_seconds == pytest.approx(2, abs=0.05)
    assert np.abs(clip.float32()[16_000:18_000]).max() < 0.1
