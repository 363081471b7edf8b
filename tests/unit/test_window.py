"""How much of a window is encoded."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.engine.request import WINDOW_SECONDS
from serve_app.engine.window import (
    DECODED_FRAMES,
    ENCODED_STEP,
    FULL,
    FULL_FRAMES,
    LEAST_ENCODED,
    MARGIN_SECONDS,
    MEL_FRAMES_PER_SECOND,
    WIDE_MARGIN_SECONDS,
    Window,
    short_context,
    wide_context,
)

SECONDS = st.floats(0.0, WINDOW_SECONDS)


@given(SECONDS)
def test_a_context_is_the_shortest_that_keeps_the_audio_and_its_margin(seconds: float) -> None:
    needed = max(LEAST_ENCODED, (seconds + MARGIN_SECONDS) * MEL_FRAMES_PER_SECOND)
    encoded = short_context(seconds).encoded
    assert encoded % ENCODED_STEP == 0
    assert needed <= encoded < needed + ENCODED_STEP or encoded == FULL_FRAMES


@given(SECONDS)
def test_the_decoder_sees_one_of_few_lengths(seconds: float) -> None:
    context = short_context(seconds)
    shorter = [frames for frames in DECODED_FRAMES if frames < context.decoded]
    assert context.decoded in DECODED_FRAMES
    assert max(shorter, default=0) < context.encoded <= context.decoded


@given(SECONDS)
def test_a_window_fits_the_most_audio_of_its_context(seconds: float) -> None:
    assert seconds <= short_context(seconds).most_seconds


@given(SECONDS, SECONDS)
def test_a_longer_window_has_no_shorter_context(one: float, other: float) -> None:
    shorter, longer = (short_context(seconds) for seconds in sorted((one, other)))
    assert shorter.encoded <= longer.encoded
    assert shorter.decoded <= longer.decoded


@given(SECONDS)
def test_a_window_in_doubt_gets_a_clearly_wider_context_or_all_of_it(seconds: float) -> None:
    short, wide = short_context(seconds), wide_context(seconds)
    assert wide == FULL or wide.seconds >= max(seconds + WIDE_MARGIN_SECONDS, short.seconds + 5)
    assert wide.decoded in DECODED_FRAMES


def test_a_short_window_in_doubt_is_not_encoded_in_full() -> None:
    assert wide_context(9.0).seconds == 19.0
    assert wide_context(9.1) == FULL


def test_a_full_window_is_encoded_in_full() -> None:
    assert short_context(WINDOW_SECONDS) == FULL
    assert FULL.seconds == WINDOW_SECONDS


@pytest.mark.parametrize("n_frames", DECODED_FRAMES)
def test_the_padding_of_a_window_is_zeros(n_frames: int) -> None:
    mel = np.ones((80, 400), np.float32)
    padded = Window(mel, 4.0).padded(n_frames)
    assert padded.shape == (1, 80, n_frames)
    assert padded.dtype == np.float32
    assert (padded[..., :400] == 1).all()
    assert not padded[..., 400:].any()
