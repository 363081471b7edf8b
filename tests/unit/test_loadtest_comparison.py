from typing import Any

import httpx
import pytest

from loadtest.client import Reply
from loadtest.comparison import compare
from loadtest.equality import equality_report
from loadtest.plain import PlainSegment, PlainTranscript


def plain(*texts: str, sampled: bool = False) -> PlainTranscript:
    segments = tuple(PlainSegment(i, i + 1.0, t, -0.25, 0.0) for i, t in enumerate(texts))
    return PlainTranscript(segments, "en", float(len(texts)), sampled, 0.1)


def served(*texts: str) -> list[dict[str, Any]]:
    return [
        {"start": i, "end": i + 1.0, "text": t, "sequence_confidence": -0.25, "words": None}
        for i, t in enumerate(texts)
    ]


def reply(*texts: str, status: int = 200) -> Reply:
    body = {"segments": served(*texts), "language": "en", "duration": 1.0}
    return Reply(status, body, httpx.Headers(), 0.1)


def test_a_leading_space_is_no_difference() -> None:
    comparison = compare(plain(" Hello.", " World."), served("Hello.", "World."))
    assert comparison.text_equal
    assert comparison.max_time_difference == comparison.max_logprob_difference == 0.0


def test_silence_on_both_sides_is_equal() -> None:
    assert compare(plain(), []).text_equal


def test_the_largest_differences_of_numbers_are_found() -> None:
    segments = served("Hello.", "World.")
    segments[1] |= {"end": 2.5, "sequence_confidence": -0.375}
    comparison = compare(plain(" Hello.", " World."), segments)
    assert comparison.text_equal
    assert (comparison.max_time_difference, comparison.max_logprob_difference) == (0.5, 0.125)


def test_changed_words_are_shown_with_their_neighbours() -> None:
    comparison = compare(plain(" a b c d e cat f"), served("a b c d e dog f"))
    assert comparison.diff == "c d e [-cat-] {+dog+} f"
    assert comparison.max_time_difference is None


def test_other_segment_borders_are_a_difference() -> None:
    comparison = compare(plain(" a b", " c"), served("a", "b c"))
    assert not comparison.text_equal
    assert comparison.diff == "same words in other segments: 2 plain, 2 server"


def test_sampled_clips_do_not_fail_the_report() -> None:
    references = {"greedy": plain(" a"), "drawn": plain(" b", sampled=True)}
    report = equality_report("base", 1, references, {"greedy": reply("a"), "drawn": reply("c")})
    assert report.passed
    assert report.sampled == {"drawn"}
    assert report.summary()["sampled"]["drawn"]["diff"] == "[-b-] {+c+}"


@pytest.mark.parametrize("answer", [reply("b"), reply("a", status=500)])
def test_a_differing_or_failed_clip_fails_the_report(answer: Reply) -> None:
    report = equality_report("base", 8, {"clip": plain(" a")}, {"clip": answer})
    assert not report.passed
    assert list(report.differing or report.failed) == ["clip"]
