"""How much of a window is encoded."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.engine.window import FULL_FRAMES, Window


def window(seconds: float) -> Window:
    return Window(np.zeros((80, round(seconds * 100)), np.float32), seconds)


@pytest.mark.parametrize(
    ("seconds", "encoded"), [(0.0, 15.0), (3.0, 15.0), (12.0, 17.5), (20.2, 27.5), (30.0, 30.0)]
)
def test_a_window_keeps_its_audio_and_a_margin(seconds: float, encoded: float) -> None:
    assert window(seconds).context_frames(margin_seconds=5.0) == encoded * 100


@given(st.floats(0.0, 30.0))
def test_without_a_margin_all_of_the_padding_is_kept(seconds: float) -> None:
    assert window(seconds).context_frames(margin_seconds=None) == FULL_FRAMES
