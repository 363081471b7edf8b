"""The latest audio of a live session."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serve_app.live.tape import PIECE_SAMPLES, Tape


@given(st.lists(st.integers(0, 2 * PIECE_SAMPLES), min_size=1, max_size=20), st.data())
def test_a_clip_is_what_came_between_its_ends(lengths: list[int], data: st.DataObject) -> None:
    stream = np.arange(sum(lengths)).astype(np.int16)
    tape = Tape()
    for length in lengths:
        tape.add(stream[tape.end : tape.end + length])
    before = data.draw(st.integers(0, len(stream)))
    start = data.draw(st.integers(before, len(stream)))
    end = data.draw(st.integers(start, len(stream)))
    tape.forget(before)
    assert np.array_equal(tape.clip(start, end).samples, stream[start:end])


def test_audio_in_single_samples_is_kept_in_few_pieces() -> None:
    tape = Tape()
    for _ in range(10 * PIECE_SAMPLES):
        tape.add(np.zeros(1, np.int16))
    assert len(tape._pieces) == 10
