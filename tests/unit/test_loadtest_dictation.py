import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.dictation import (
    SERVICE_CHUNK_SECONDS,
    SPREAD,
    Habit,
    Level,
    Piece,
    level_at,
    parse_levels,
    strangers,
)
from serve_app.errors import WhisperOxError

habits = st.builds(
    Habit,
    chunk_seconds=st.sampled_from(SERVICE_CHUNK_SECONDS).map(float),
    speaking_share=st.floats(0.05, 1.0),
    dictation_seconds=st.floats(10, 120),
)


def some(habit: Habit, user: int = 0, count: int = 60) -> list[Piece]:
    return list(itertools.islice(habit.pieces(seed=5, user=user), count))


@given(habits, st.integers(0, 1000))
def test_pieces_come_in_order_and_hold_sound(habit: Habit, user: int) -> None:
    pieces = some(habit, user)
    assert all(earlier.due <= later.due for earlier, later in itertools.pairwise(pieces))
    assert all(piece.due >= 0 and piece.seconds > 0 for piece in pieces)


@given(habits)
def test_nothing_is_posted_before_it_has_been_spoken(habit: Habit) -> None:
    for earlier, later in itertools.pairwise(some(habit)):
        assert later.due - earlier.due >= later.seconds - 1e-6


def test_chunks_of_a_dictation_come_in_real_time() -> None:
    pieces = some(Habit(chunk_seconds=5, dictation_seconds=1_000))
    gaps = [later.due - earlier.due for earlier, later in itertools.pairwise(pieces)]
    assert gaps == pytest.approx([5.0] * len(gaps))


@given(habits.filter(lambda habit: habit.chunk_seconds > 0))
def test_only_the_last_piece_is_shorter_than_a_chunk(habit: Habit) -> None:
    for piece in some(habit):
        assert piece.seconds == habit.chunk_seconds or piece.is_final
        assert piece.seconds <= habit.chunk_seconds


def test_without_chunks_a_dictation_is_posted_whole() -> None:
    for piece in some(Habit(chunk_seconds=0, dictation_seconds=40)):
        assert piece.is_final
        assert 40 * (1 - SPREAD) <= piece.seconds <= 40 * (1 + SPREAD)


@given(habits)
def test_people_speak_for_their_share_of_the_time(habit: Habit) -> None:
    pieces = some(habit, count=4_000)
    spoken = sum(piece.seconds for piece in pieces)
    assert spoken / pieces[-1].due == pytest.approx(habit.speaking_share, rel=0.15)


def test_users_differ_and_repeat_themselves() -> None:
    assert some(Habit(), user=1) == some(Habit(), user=1)
    assert some(Habit(), user=1) != some(Habit(), user=2)


def test_strangers_come_as_often_as_asked_for() -> None:
    pieces = list(itertools.islice(strangers(30, 15.0, seed=2), 4_000))
    assert pieces[-1].due / 4_000 == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize("share", [0.0, -1.0, 1.01])
def test_an_impossible_speaking_share_is_named(share: float) -> None:
    with pytest.raises(WhisperOxError, match="speaking share"):
        Habit(speaking_share=share)


def test_levels_follow_one_another() -> None:
    levels = parse_levels("4:60, 8:30.5")
    assert levels == [Level(4, 60.0), Level(8, 30.5)]
    assert [level_at(levels, at) for at in (-1, 0, 59.9, 60, 90, 90.5)] == [0, 0, 0, 1, 1, None]


@pytest.mark.parametrize("text", ["", "8", "8:", ":60", "8:0", "-1:60", "x:60", "8:nan", "4:60;8"])
def test_a_broken_level_is_told_how_to_write_it(text: str) -> None:
    with pytest.raises(WhisperOxError, match="USERS:SECONDS"):
        parse_levels(text)
