"""Whether an attempt at a window is good enough, and how far the next ones may run."""

import pytest

from serve_app.engine.attempts import Attempt, Checks, bounded, ends_in_repetition, first_bound

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


OPTIONS = {"max_length": 448}


def failed(n_tokens: int, text: str = "") -> Attempt:
    return Attempt(tuple(range(n_tokens)), text, avg_logprob=-9.0, no_speech_prob=0.0)


@pytest.mark.parametrize(
    ("n_tokens", "bound"), [(0, 64), (10, 64), (42, 64), (43, 128), (85, 128), (224, 384)]
)
def test_a_bound_leaves_half_as_much_again(n_tokens: int, bound: int) -> None:
    assert first_bound(failed(n_tokens), CHECKS) == bound


def test_a_repetition_has_the_smallest_bound() -> None:
    assert first_bound(failed(224, "go " * 100), CHECKS) == 64


@pytest.mark.parametrize(("prompt_tokens", "length"), [(3, 128), (64, 128), (100, 164)])
def test_a_bound_counts_new_tokens_only(prompt_tokens: int, length: int) -> None:
    options = bounded(OPTIONS, prompt_tokens, 64)
    assert options is not None
    assert options["max_length"] == length
    assert min(length // 2, length - prompt_tokens) == 64


def test_there_is_no_bound_where_the_options_allow_no_more() -> None:
    assert bounded(OPTIONS, 3, 256) is None
    assert bounded({"max_length": 50}, 3, 64) is None
