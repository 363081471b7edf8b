"""Speech against the segments that cover it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.engine.coverage import MIN_GAP_SECONDS, clips, coverage, uncovered

TIMES = st.lists(st.floats(0, 600, allow_nan=False), max_size=20, unique=True).map(sorted)
INTERVALS = TIMES.map(lambda times: list(zip(times[::2], times[1::2], strict=False)))


@pytest.mark.parametrize(
    ("segments", "gaps"),
    [
        ([(0.0, 10.0)], []),
        ([], [(0.0, 10.0)]),
        ([(0.0, 4.0), (4.5, 10.0)], []),
        ([(5.0, 10.0)], [(0.0, 5.0)]),
        ([(6.0, 7.0), (0.0, 3.0)], [(3.0, 6.0), (7.0, 10.0)]),
        ([(6.0, 8.0), (0.0, 4.0)], []),
        ([(-5.0, 2.0), (9.5, 99.0)], [(2.0, 9.5)]),
    ],
)
def test_gaps_are_what_no_segment_overlaps(
    segments: list[tuple[float, float]], gaps: list[tuple[float, float]]
) -> None:
    assert uncovered([(0.0, 10.0)], segments) == gaps


@given(INTERVALS, INTERVALS)
def test_gaps_lie_in_speech_and_outside_segments(
    speech: list[tuple[float, float]], segments: list[tuple[float, float]]
) -> None:
    gaps = uncovered(speech, segments)
    for start, end in gaps:
        assert end - start >= MIN_GAP_SECONDS
        assert any(s <= start and end <= e for s, e in speech)
        assert all(e <= start or s >= end for s, e in segments if s < e)
    assert 0.0 <= coverage(speech, gaps) <= 1.0


def test_coverage_is_the_share_of_speech() -> None:
    assert coverage([(0.0, 6.0), (8.0, 12.0)], [(3.0, 6.0)]) == pytest.approx(0.7)
    assert coverage([], []) == 1.0


def test_a_gap_of_one_window_and_a_rounding_is_one_piece() -> None:
    end = 2.3 + 30.000000000000004
    assert end - 2.3 > 30.0
    assert clips([(2.3, end)], longest=30.0) == [(2.3, end)]


def test_long_gaps_are_cut_into_windows() -> None:
    assert clips([(1.0, 66.0), (70.0, 72.0)], longest=30.0) == [
        (1.0, 31.0),
        (31.0, 61.0),
        (61.0, 66.0),
        (70.0, 72.0),
    ]
