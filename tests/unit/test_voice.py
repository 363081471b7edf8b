"""When a stream holds speech, by VAD's own answers for real audio."""

import asyncio

import numpy as np
import pytest

from serve_app.assets import GOLDEN_CLIP
from serve_app.live.options import LiveOptions
from serve_app.live.voice import Voice

SAID = np.frombuffer(GOLDEN_CLIP.read_bytes()[44:], np.int16)
SILENCE = np.zeros(16_000, np.int16)


def changes(
    *pieces: np.ndarray, piece: int = 800, options: LiveOptions | None = None
) -> list[bool]:
    voice = Voice(options or LiveOptions())
    audio = np.concatenate(pieces)
    for start in range(0, len(audio), piece):
        asyncio.run(voice.feed(audio[start : start + piece]))
    assert voice.seconds == pytest.approx(len(audio) / 16_000)
    return voice.changes()


@pytest.mark.parametrize("piece", [160, 5_000, 100_000])
def test_speech_begins_and_ends_whatever_the_pieces(piece: int) -> None:
    assert changes(SILENCE, SAID, SILENCE, piece=piece) == [True, False]
    assert changes(SAID, SILENCE, SAID, piece=piece) == [True, False, True, False]
    assert changes(SILENCE, SILENCE, piece=piece) == []


def test_speech_lasts_for_as_long_as_it_must() -> None:
    assert changes(SILENCE, SAID, SILENCE, options=LiveOptions(min_speech_seconds=4.0)) == [True]


def test_speech_ends_in_silence_however_low_the_threshold_is() -> None:
    assert changes(SILENCE, SAID, SILENCE, options=LiveOptions(threshold=0.1)) == [True, False]


def test_a_reset_forgets_the_speech() -> None:
    voice = Voice(LiveOptions())
    for _ in range(2):
        asyncio.run(voice.feed(SAID[:8_000]))
        assert voice.changes() == [True]
        voice.reset()
