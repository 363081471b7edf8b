"""The right one of several tracks is decoded, and the clip says which."""

import numpy as np
import pytest

from serve_app.audio.clip import AudioClip
from serve_app.audio.decode import decode_audio
from serve_app.audio.limits import AudioLimits
from tests.unit.audio_files import SECONDS, sweep, timed

SOUND = sweep(48_000)[:, 0]
SILENCE = np.zeros_like(SOUND)


def decode(payload: bytes) -> AudioClip:
    return decode_audio(payload, limits=AudioLimits())


def test_the_track_with_sound_is_decoded() -> None:
    clip = decode(timed("mp4", "aac", [(0.0, SILENCE)], [(0.0, SOUND)]))
    assert clip.track == "2 of 2"
    assert np.abs(clip.float32()).max() > 0.3


def test_of_two_tracks_with_sound_the_default_one_is_decoded() -> None:
    clip = decode(timed("matroska", "flac", [(0.0, SOUND)], [(0.0, SOUND[:48_000])]))
    assert clip.track == "1 of 2"
    assert clip.received_seconds == pytest.approx(SECONDS, abs=0.05)


def test_of_two_silent_tracks_one_is_decoded() -> None:
    clip = decode(timed("mp4", "aac", [(0.0, SILENCE)], [(0.0, SILENCE)]))
    assert clip.track in ("1 of 2", "2 of 2")
    assert not clip.samples.any()


def test_a_single_track_is_not_named() -> None:
    assert decode(timed("mp4", "aac", [(0.0, SOUND)])).track is None


def test_a_track_that_cannot_be_decoded_gives_way_to_the_next() -> None:
    payload = timed("mov", "aac", [(0.0, SOUND)], [(0.0, SOUND)])
    clip = decode(payload.replace(b"mp4a", b"apac", 1).replace(b"esds", b"free", 1))
    assert clip.track == "2 of 2"
    assert clip.received_seconds == pytest.approx(SECONDS, abs=0.1)
