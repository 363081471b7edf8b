"""``clip_timestamps`` in every form that faster-whisper's two pipelines take."""

import pytest

from serve_app.errors import InvalidOption
from serve_app.options import OptionLimits, build_options


@pytest.mark.parametrize(
    ("value", "clips"),
    [
        ("0,5.2,7", ((0.0, 5.2), (7.0, None))),
        ([0, 5.2, 7], ((0.0, 5.2), (7.0, None))),
        (["0", "5.2"], ((0.0, 5.2),)),
        ([{"start": 0, "end": 5.2}, {"start": 7}], ((0.0, 5.2), (7.0, None))),
        ({"start": 1, "end": 2}, ((1.0, 2.0),)),
        ([[0, 5.2], [7, None]], ((0.0, 5.2), (7.0, None))),
        (3, ((3.0, None),)),
        ([0], ((0.0, None),)),
        ([0, 1, 1, 2], ((0.0, 1.0), (1.0, 2.0))),
    ],
)
def test_clips_are_read_as_pairs_of_seconds(value: object, clips: object) -> None:
    assert build_options({"clip_timestamps": value}).options.clip_timestamps == clips


@pytest.mark.parametrize("value", ["0", " 0 ", "", [], None])
def test_no_clips_mean_the_whole_audio(value: object) -> None:
    assert build_options({"clip_timestamps": value}).options.clip_timestamps is None


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([2, 1], "the end 1 is not after the start 2"),
        ([1, 1], "the end 1 is not after the start 1"),
        ([2, 4, 0, 2], "0 comes after 4"),
        ([0, 2, 1, 3], "1 comes after 2"),
        ([-1, 2], "-1 comes after 0"),
        ([[0, None], [1, 2]], "1 follows a clip without an end"),
        ([1e9], "is longer than any audio"),
    ],
)
def test_clips_out_of_order_are_refused_with_the_reason(value: object, reason: str) -> None:
    with pytest.raises(InvalidOption, match=reason):
        build_options({"clip_timestamps": value})


@pytest.mark.parametrize(
    "value", ["a,b", [[1]], [{"end": 1}], [{"start": 0, "stop": 1}], {"end": 2}, True, [0, None]]
)
def test_what_is_no_list_of_clips_is_refused(value: object) -> None:
    with pytest.raises(InvalidOption, match="allowed: up to 1000 stretches in seconds"):
        build_options({"clip_timestamps": value})


def test_more_clips_than_the_limit_are_refused() -> None:
    with pytest.raises(InvalidOption, match="3 clips are too many"):
        build_options({"clip_timestamps": [0, 1, 2, 3, 4]}, limits=OptionLimits(max_clips=2))
