"""Which pipeline a request runs on, and how much work it is expected to bring."""

from typing import Any

import pytest

from serve_app.engine.plan import clips_within, expected_work_seconds, is_batched
from serve_app.engine.request import WINDOW_SECONDS
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
        ({"batch_size": 1, "chunk_length": 10}, 61.0, 3),
        ({"clip_timestamps": ((0.0, 40.0), (50.0, 60.0))}, 90.0, 3),
        ({"clip_timestamps": ((80.0, None),)}, 60.0, 0),
    ],
)
def test_work_is_expected_in_whole_windows(
    given: dict[str, Any], seconds: float, windows: int
) -> None:
    assert expected_work_seconds(options(**given), seconds) == windows * WINDOW_SECONDS


@pytest.mark.parametrize("batch_size", [1, 8])
def test_finding_the_language_is_not_more_work(batch_size: int) -> None:
    known, unknown = (options(language=code, batch_size=batch_size) for code in ("en", None))
    assert expected_work_seconds(unknown, 61.0) == expected_work_seconds(known, 61.0)
