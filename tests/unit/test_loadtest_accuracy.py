from pathlib import Path
from typing import Any

import httpx
import pytest

from loadtest.bench.accuracy import LanguageRow, difference, equality, language_rows, within_bar
from loadtest.client import Reply
from loadtest.plain import PlainSegment, PlainTranscript
from loadtest.speech import Clip
from loadtest.wer import Errors


def clip(clip_id: str, language: str, text: str = "") -> Clip:
    return Clip(clip_id, Path(clip_id), language, text, 1.0, "read", "corpus", "00")


def plain(*texts: str, sampled: bool = False) -> PlainTranscript:
    return PlainTranscript(
        tuple(PlainSegment(i, i + 1.0, text, -0.25) for i, text in enumerate(texts)), sampled
    )


def served(*texts: str) -> list[dict[str, Any]]:
    return [
        {"start": i, "end": i + 1.0, "text": text, "sequence_confidence": -0.25}
        for i, text in enumerate(texts)
    ]


def reply(*texts: str, status: int = 200) -> Reply:
    return Reply(status, {"segments": served(*texts)}, httpx.Headers(), 0.1)


def test_rows_sum_the_errors_of_a_language() -> None:
    clips = [clip("1", "en", "alpha beta"), clip("2", "en", "gamma delta"), clip("3", "de", "eins")]
    heard = {"1": "alpha beta", "2": "gamma zeta", "3": "eins"}
    german, english = language_rows(clips, heard | {"2": "gamma delta"}, heard)
    assert (german.language, german.n_clips, german.difference_points) == ("de", 1, 0.0)
    assert english.server == Errors(substitutions=1, n_reference=4)
    assert english.difference_points == 25.0


@pytest.mark.parametrize(
    ("language", "server_errors", "passes"), [("en", 2, True), ("en", 3, False), ("de", 3, True)]
)
def test_the_bar_is_on_english(language: str, server_errors: int, passes: bool) -> None:
    errors = Errors(n_reference=1000), Errors(server_errors, n_reference=1000)
    assert within_bar([LanguageRow(language, 1, *errors)]) is passes


@pytest.mark.parametrize(
    ("texts", "heard", "found"),
    [
        ([" Hello.", " World."], ["Hello.", "World."], ""),
        ([], [], ""),
        ([" a b c d e cat f"], ["a b c d e dog f"], "c d e [-cat-] {+dog+} f"),
        ([" a b", " c"], ["a", "b c"], "same words in other segments: 2 plain, 2 server"),
    ],
)
def test_changed_words_are_shown_with_their_neighbours(
    texts: list[str], heard: list[str], found: str
) -> None:
    assert difference(plain(*texts), served(*heard)) == found


def test_sampled_clips_do_not_fail_the_comparison() -> None:
    references = {"greedy": plain(" a"), "drawn": plain(" b", sampled=True)}
    found = equality(references, {"greedy": reply("a"), "drawn": reply("c")})
    assert found["passed"]
    assert (found["equal"], found["sampled"]) == (1, {"drawn": "[-b-] {+c+}"})


@pytest.mark.parametrize("answer", [reply("b"), reply("a", status=500)])
def test_a_differing_or_failed_clip_fails_the_comparison(answer: Reply) -> None:
    assert not equality({"clip": plain(" a")}, {"clip": answer})["passed"]


def test_the_largest_differences_of_numbers_are_found() -> None:
    answer = reply("a", "b")
    answer.segments[1].update(end=2.5, sequence_confidence=-0.375)
    found = equality({"clip": plain(" a", " b")}, {"clip": answer})
    assert (found["max_time_difference_seconds"], found["max_logprob_difference"]) == (0.5, 0.125)
