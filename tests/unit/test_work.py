"""Which pipeline hears a request, how many windows it takes, and what they cost."""

from typing import Any

import pytest

from serve_app.engine.request import WINDOW_SECONDS
from serve_app.engine.window import short_context
from serve_app.engine.work import (
    check_windows,
    clips_within,
    expected_work_seconds,
    is_batched,
    least_work_seconds,
)
from serve_app.errors import WhisperOxError
from serve_app.options import TranscribeOptions

LONG = 300.0


def options(**given: Any) -> TranscribeOptions:
    return TranscribeOptions(**given)


@pytest.mark.parametrize(
    ("clips", "seconds", "expected"),
    [
        (None, 10.0, None),
        (((0.0, 5.0),), 10.0, [(0.0, 5.0)]),
        (((2.0, None),), 10.0, [(2.0, 10.0)]),
        (((2.0, 50.0),), 10.0, [(2.0, 10.0)]),
        (((0.0, 5.0), (9.0, 12.0), (12.0, None)), 10.0, [(0.0, 5.0), (9.0, 10.0)]),
        (((10.0, None),), 10.0, []),
        (((0.0, None),), 0.0, []),
    ],
)
def test_clips_are_cut_to_the_audio(clips: Any, seconds: float, expected: Any) -> None:
    assert clips_within(options(clip_timestamps=clips), seconds) == expected


@pytest.mark.parametrize(
    ("given", "seconds", "batched"),
    [
        ({}, LONG, True),
        ({"batch_size": 1}, LONG, False),
        ({"batch_size": 1}, 5.0, False),
        ({"initial_prompt": (1, 2)}, 5.0, True),
        ({"initial_prompt": "Names: Ada"}, 5.0, True),
        ({"vad_filter": False}, WINDOW_SECONDS - 0.01, True),
        ({"vad_filter": False}, WINDOW_SECONDS, False),
        ({"vad_filter": False, "chunk_length": 10}, 9.99, True),
        ({"vad_filter": False, "chunk_length": 10}, 10.0, False),
        ({"clip_timestamps": ((0.0, 30.0), (40.0, 60.0))}, LONG, True),
        ({"clip_timestamps": ((0.0, 30.1),)}, LONG, False),
        ({"clip_timestamps": ((0.0, 30.1),)}, 20.0, True),
        ({"clip_timestamps": ((200.0, None),)}, LONG, False),
        ({"clip_timestamps": ((0.0, 5.0),), "vad_filter": False}, LONG, True),
    ],
)
def test_the_batched_pipeline_runs_what_it_can(
    given: dict[str, Any], seconds: float, batched: bool
) -> None:
    assert is_batched(options(**given), seconds) is batched


@pytest.mark.parametrize(
    ("given", "seconds", "windows"),
    [
        ({}, 5.0, 1),
        ({}, 0.0, 0),
        ({}, 61.0, 3),
        ({"chunk_length": 10}, 61.0, 7),
        ({"batch_size": 1}, 61.0, 3),
        ({"batch_size": 1, "chunk_length": 10}, 61.0, 7),
        ({"chunk_length": 10, "clip_timestamps": ((0.0, 25.0),)}, 90.0, 1),
        ({"chunk_length": 10, "clip_timestamps": ((0.0, 35.0),)}, 90.0, 4),
        ({"clip_timestamps": ((0.0, 40.0), (50.0, 60.0))}, 90.0, 3),
        ({"clip_timestamps": ((80.0, None),)}, 60.0, 0),
    ],
)
def test_work_is_expected_in_whole_windows(
    given: dict[str, Any], seconds: float, windows: int
) -> None:
    assert expected_work_seconds(options(**given), seconds) == windows * WINDOW_SECONDS


@pytest.mark.parametrize(
    ("given", "seconds", "windows"),
    [
        ({}, 5.0, [5.0]),
        ({}, 0.0, []),
        ({}, 61.0, [30.0, 30.0, 1.0]),
        ({"chunk_length": 10}, 24.0, [10.0, 10.0, 4.0]),
        ({"clip_timestamps": ((0.0, 5.0), (50.0, 65.0))}, 90.0, [5.0, 15.0]),
        ({"batch_size": 1}, 31.0, [30.0, 30.0]),
    ],
)
def test_with_partial_context_short_windows_are_less_work(
    given: dict[str, Any], seconds: float, windows: list[float]
) -> None:
    work = expected_work_seconds(options(**given), seconds, partial_context=True)
    assert work == sum(short_context(window).seconds for window in windows)


@pytest.mark.parametrize("batch_size", [1, 8])
def test_finding_the_language_is_not_more_work(batch_size: int) -> None:
    known, unknown = (options(language=code, batch_size=batch_size) for code in ("en", None))
    assert expected_work_seconds(unknown, 61.0) == expected_work_seconds(known, 61.0)


MANY_CLIPS = tuple((n / 1000, (n + 1) / 1000) for n in range(1000))


@pytest.mark.parametrize("batch_size", [1, 8])
def test_a_second_in_a_thousand_clips_is_the_work_of_a_thousand_windows(batch_size: int) -> None:
    many = options(clip_timestamps=MANY_CLIPS, batch_size=batch_size)
    least = {1: WINDOW_SECONDS, 8: short_context(0.001).seconds}[batch_size]
    assert least_work_seconds(many, 1.1) == 1000 * least


@pytest.mark.parametrize(
    ("given", "seconds", "field", "told"),
    [
        ({"clip_timestamps": MANY_CLIPS}, 1.1, "clip_timestamps", "1000 windows"),
        ({"chunk_length": 1}, 200.0, "chunk_length", "at least 2"),
        ({"chunk_length": 1, "batch_size": 1}, 100.5, "chunk_length", "at least 2"),
        ({}, 3030.0, None, "shorter files"),
    ],
)
def test_more_windows_than_one_request_may_take_are_refused(
    given: dict[str, Any], seconds: float, field: str | None, told: str
) -> None:
    with pytest.raises(WhisperOxError, match=told) as refused:
        check_windows(options(**given), seconds, most=100)
    assert refused.value.field == field
    assert refused.value.status == (413 if field is None else 422)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({}, 3000.0),
        ({"chunk_length": 2}, 200.0),
        ({"clip_timestamps": MANY_CLIPS[:100]}, 1.1),
        ({"clip_timestamps": MANY_CLIPS}, 0.1),
    ],
)
def test_as_many_windows_as_are_allowed_are_taken(given: dict[str, Any], seconds: float) -> None:
    check_windows(options(**given), seconds, most=100)
