from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from loadtest.load import Outcome
from loadtest.memory import slope_per_hour
from loadtest.soak import Case, Storm, is_good, mixed_cases, verdict
from loadtest.speech import Clip

SENTENCE = "the quick brown fox jumps over a lazy dog near the river bank"
CASE = Case("case", b"", {}, "en", 5.0, alone=(200, SENTENCE), alone_seconds=1.0)
GOLDEN_CLIP = Path(__file__).parents[2] / "serve_app" / "assets" / "golden.wav"


def outcome(status: int | None = 200, text: str = SENTENCE, gave_up: bool = False) -> Outcome:
    return Outcome(0, 0, 0.0, 1.0, 5.0, status, text, gave_up=gave_up)


def document(**changes: Any) -> Mapping[str, Any]:
    good = {"verdicts": {"identical": 9, "left": 1}, "same_after": True, "memory": {}}
    return good | changes


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (outcome(), "identical"),
        (outcome(text=SENTENCE.replace("dog", "fog")), "near"),
        (outcome(text="near the river bank"), "different"),
        (outcome(status=503, text=""), "wrong status"),
        (outcome(status=None, text=""), "lost"),
        (outcome(status=None, text="", gave_up=True), "left"),
    ],
)
def test_every_outcome_has_a_verdict(answer: Outcome, expected: str) -> None:
    assert verdict(answer, CASE) == expected


def test_a_refusal_that_was_intended_is_identical() -> None:
    refused = Case("broken", b"", {}, "en", 5.0, is_broken=True, alone=(422, ""))
    assert verdict(outcome(status=422, text=""), refused) == "identical"


@pytest.mark.parametrize(
    "changes",
    [
        {"verdicts": {"identical": 9, "lost": 1}},
        {"verdicts": {"wrong status": 1}},
        {"verdicts": {"different": 1}},
        {"same_after": False},
        {"memory": {"Transcriber": {"processes": 2}}},
    ],
)
def test_one_bad_reply_or_a_restart_fails_the_soak(changes: dict[str, Any]) -> None:
    assert is_good(document())
    assert not is_good(document(**changes))


def test_the_slope_is_that_of_the_second_half() -> None:
    seconds = [5.0 * n for n in range(241)]
    loading_then_leaking = [s * 10 if s < 600 else 6000 + (s - 600) / 60 for s in seconds]
    assert slope_per_hour(seconds, loading_then_leaking) == pytest.approx(60.0)


@pytest.mark.parametrize("seconds", [[], [0.0], [0.0, 5.0, 10.0]])
def test_too_few_samples_have_no_slope(seconds: list[float]) -> None:
    assert slope_per_hour(seconds, [1.0] * len(seconds)) is None


def test_clients_hang_up_at_random_moments_and_the_rest_waits() -> None:
    storm = Storm([CASE], clients=16, leaving=0.5, seconds=60.0)
    posts = storm.posts()
    patience = [next(posts).give_up_seconds for _ in range(200)]
    leaving = [seconds for seconds in patience if seconds is not None]
    assert 60 < len(leaving) < 140
    assert min(leaving) < 2.0
    assert 14.0 < max(leaving) <= 16.0


def test_cases_mix_options_and_formats() -> None:
    clips = [Clip(f"de-{n}", GOLDEN_CLIP, "de", "", 1.1, "read", "prompt", "00") for n in range(12)]
    *cases, broken_audio, broken_option = mixed_cases("base", clips, 12)
    seen = {key: {str(c.options[key]) for c in cases} for key in cases[0].options}
    assert seen["batch_size"] == {"8", "1", "4"}
    assert seen["task"] == {"transcribe", "translate"}
    assert seen["language"] == {"de", "None"}
    assert seen["word_timestamps"] == {"True", "False"}
    assert {c.audio[:4] for c in cases} >= {b"RIFF", b"fLaC", b"OggS"}
    assert broken_audio.is_broken and broken_option.is_broken
