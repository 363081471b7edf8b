"""How much of the speech words cover."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.engine.coverage import MIN_GAP_SECONDS, Coverage, total_seconds, uncovered

TIMES = st.lists(st.floats(0, 600, allow_nan=False), max_size=20, unique=True).map(sorted)
INTERVALS = TIMES.map(lambda times: list(zip(times[::2], times[1::2], strict=False)))


ALL = (0.0, 10.0)
LITTLE = MIN_GAP_SECONDS - 0.01
MUCH = MIN_GAP_SECONDS + 0.01


@pytest.mark.parametrize(
    ("spoken", "gaps"),
    [
        ([ALL], []),
        ([], [ALL]),
        ([(0.0, 4.0), (4.0 + LITTLE, 10.0)], []),
        ([(0.0, 4.0), (4.0 + MUCH, 10.0)], [(4.0, 4.0 + MUCH)]),
        ([(LITTLE, 10.0)], []),
        ([(5.0, 10.0)], [(0.0, 5.0)]),
        ([(0.0, 5.0)], [(5.0, 10.0)]),
        ([(6.0, 7.0), (0.0, 3.0)], [(3.0, 6.0), (7.0, 10.0)]),
        ([(0.0, 8.0), (1.0, 2.0)], [(8.0, 10.0)]),
        ([(-5.0, 2.0), (9.5, 99.0)], [(2.0, 9.5)]),
    ],
)
def test_gaps_are_what_no_word_overlaps(
    spoken: list[tuple[float, float]], gaps: list[tuple[float, float]]
) -> None:
    assert uncovered([ALL], spoken) == gaps


def test_each_stretch_of_speech_is_looked_at_by_itself() -> None:
    speech = [(0.0, 2.0), (3.0, 3.0 + LITTLE), (5.0, 7.0)]
    assert uncovered(speech, [(0.5, 1.5)]) == [(5.0, 7.0)]
    assert uncovered(speech, [(1.0, 6.0)]) == [(0.0, 1.0), (6.0, 7.0)]


@given(INTERVALS, INTERVALS)
def test_gaps_ascend_in_speech_and_outside_words(
    speech: list[tuple[float, float]], spoken: list[tuple[float, float]]
) -> None:
    gaps = uncovered(speech, spoken)
    assert gaps == sorted(gaps)
    for start, end in gaps:
        assert end - start >= MIN_GAP_SECONDS
        assert any(s <= start and end <= e for s, e in speech)
        assert all(e <= start or s >= end for s, e in spoken if s < e)


@given(INTERVALS, INTERVALS)
def test_all_speech_is_spoken_or_in_a_gap_or_too_short_for_one(
    speech: list[tuple[float, float]], spoken: list[tuple[float, float]]
) -> None:
    said = [*spoken, *uncovered(speech, spoken)]
    assert uncovered(speech, said) == []


@given(INTERVALS, INTERVALS)
def test_coverage_is_a_share_of_the_speech(
    speech: list[tuple[float, float]], spoken: list[tuple[float, float]]
) -> None:
    gaps = uncovered(speech, spoken)
    found = Coverage.of(speech, gaps, gaps)
    assert 0.0 <= found.share <= 1.0
    assert found.missing_seconds == found.lost_seconds == total_seconds(gaps)


def test_what_is_still_missing_is_not_covered() -> None:
    found = Coverage.of([(0.0, 6.0), (8.0, 12.0)], [(3.0, 6.0), (8.0, 12.0)], [(3.0, 6.0)])
    assert (found.speech_seconds, found.lost_seconds, found.missing_seconds) == (10.0, 7.0, 3.0)
    assert found.share == pytest.approx(0.7)


def test_where_nobody_speaks_everything_is_covered() -> None:
    assert Coverage.of([], [], []).share == 1.0
