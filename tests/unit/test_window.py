"""How much of a window is encoded."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.engine.request import WINDOW_SECONDS
from serve_app.engine.window import (
    CONTEXT_FRAMES,
    FULL_FRAMES,
    MARGIN_FRAMES,
    MEL_FRAMES_PER_SECOND,
    Window,
    context_frames,
    context_seconds,
)

SECONDS = st.floats(0.0, WINDOW_SECONDS)


@given(SECONDS)
def test_a_context_is_the_shortest_that_keeps_the_audio_and_its_margin(seconds: float) -> None:
    needed = seconds * MEL_FRAMES_PER_SECOND + MARGIN_FRAMES
    frames = context_frames(seconds)
    assert frames in CONTEXT_FRAMES
    assert frames >= needed or frames == FULL_FRAMES
    assert all(shorter < needed + 1 for shorter in CONTEXT_FRAMES if shorter < frames)


@given(SECONDS, SECONDS)
def test_a_longer_window_has_no_shorter_context(one: float, other: float) -> None:
    shorter, longer = sorted((one, other))
    assert context_frames(shorter) <= context_frames(longer)


def test_a_full_window_is_encoded_in_full() -> None:
    assert context_frames(WINDOW_SECONDS) == FULL_FRAMES
    assert context_seconds(WINDOW_SECONDS) == WINDOW_SECONDS


def test_a_short_window_is_encoded_in_part() -> None:
    assert context_seconds(1.0) == CONTEXT_FRAMES[0] / MEL_FRAMES_PER_SECOND < WINDOW_SECONDS


@pytest.mark.parametrize("n_frames", CONTEXT_FRAMES)
def test_the_padding_of_a_window_is_zeros(n_frames: int) -> None:
    mel = np.ones((80, 400), np.float32)
    padded = Window(mel, ((0.0, 4.0),)).padded(n_frames)
    assert padded.shape == (1, 80, n_frames)
    assert padded.dtype == np.float32
    assert (padded[..., :400] == 1).all()
    assert not padded[..., 400:].any()


def test_a_window_is_as_long_as_its_speech() -> None:
    assert Window(np.ones((80, 450), np.float32), ((0.0, 1.5), (1.5, 4.5))).seconds == 4.5
