"""Which texts deserve another attempt."""

import pytest

from serve_app.engine.checks import Attempt, Checks, ends_in_repetition

CHECKS = Checks(compression_ratio=2.4, log_prob=-1.0, no_speech=0.6)


def attempt(
    text: str = "Hello there.", avg_logprob: float = -0.2, no_speech_prob: float = 0.0
) -> Attempt:
    return Attempt((), text, avg_logprob, no_speech_prob)


@pytest.mark.parametrize(
    ("of", "fails"),
    [
        (attempt(), False),
        (attempt(avg_logprob=-1.1), True),
        (attempt("go " * 60), True),
        (attempt(no_speech_prob=0.9), False),
        (attempt(avg_logprob=-1.1, no_speech_prob=0.9), False),
        (attempt("go " * 60, avg_logprob=-1.1, no_speech_prob=0.9), False),
    ],
)
def test_what_is_unsure_or_repeats_itself_fails_unless_nobody_speaks(
    of: Attempt, fails: bool
) -> None:
    assert CHECKS.fails(of) is fails


def test_a_check_without_a_threshold_is_off() -> None:
    off = Checks(compression_ratio=None, log_prob=None, no_speech=None)
    assert not off.fails(attempt("go " * 60, avg_logprob=-9.0, no_speech_prob=1.0))
    assert not off.hears_nobody(attempt(no_speech_prob=1.0))


@pytest.mark.parametrize(
    ("text", "repeats"),
    [
        ("Turn off the light. Turn off the light.", True),
        ("So what's new? Turn it off, turn it off!", True),
        ("Turn off the light in the hall.", False),
        ("no no", False),
        ("", False),
    ],
)
def test_a_text_that_repeats_its_end_is_told(text: str, repeats: bool) -> None:
    assert ends_in_repetition(text) is repeats
