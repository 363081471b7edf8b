from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.chunks import (
    FEWEST_CHUNKS,
    GAP_SECONDS,
    LONGEST_CHUNK,
    SHORTEST_CHUNK,
    Chunk,
    Speech,
    plan_chunks,
    speech_wav,
)
from serve_app.audio.clip import SAMPLE_RATE_HZ
from serve_app.errors import WhisperOxError

clip_lengths = st.lists(st.floats(1.0, 40.0), min_size=1, max_size=30)


def chunk_seconds(lengths: Sequence[float], chunk: Sequence[int]) -> float:
    return sum(lengths[n] for n in chunk) + GAP_SECONDS * (len(chunk) - 1)


@given(clip_lengths, st.floats(4.0, 30.0))
def test_every_chunk_is_about_as_long_as_asked_for(lengths: list[float], target: float) -> None:
    for chunk in plan_chunks(lengths, target):
        seconds = chunk_seconds(lengths, chunk)
        assert SHORTEST_CHUNK * target <= seconds <= LONGEST_CHUNK * target + 1e-9


@given(st.lists(st.floats(1.0, 3.0), min_size=1, max_size=20))
def test_no_short_clip_is_left_out(lengths: list[float]) -> None:
    plan = plan_chunks(lengths, 15.0)
    assert {n for chunk in plan for n in chunk} == set(range(len(lengths)))
    assert len(plan) >= FEWEST_CHUNKS


def test_chunks_are_the_same_in_every_run() -> None:
    lengths = [1.0 + n % 7 for n in range(40)]
    assert plan_chunks(lengths, 15.0) == plan_chunks(lengths, 15.0)


@pytest.fixture(scope="module")
def speech() -> Speech:
    lengths = (4.0, 5.0, 6.0)
    return Speech([Chunk(f"{s:g} s", speech_wav(s), f"said in {s:g} s", s) for s in lengths])


@pytest.mark.parametrize(("pick", "text"), [(0, "said in 4 s"), (1, "said in 5 s"), (2, None)])
def test_only_whole_speech_keeps_its_reference(speech: Speech, pick: int, text: str | None) -> None:
    said = speech.chunk(5.0, pick)
    assert (said.seconds, said.text) == (5.0, text)
    assert len(said.audio) == 44 + 2 * 5 * SAMPLE_RATE_HZ


def test_all_chunks_of_a_length_come_in_the_order_of_their_picks(speech: Speech) -> None:
    assert speech.every(5.0) == [speech.chunk(5.0, pick) for pick in range(3)]


def test_speech_that_is_too_short_is_an_error(speech: Speech) -> None:
    with pytest.raises(WhisperOxError, match="no English speech of 60 s"):
        speech.chunk(60.0, pick=0)
