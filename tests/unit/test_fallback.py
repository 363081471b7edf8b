"""How many tokens samples may take."""

import pytest

from serve_app.engine.checks import Attempt, Checks
from serve_app.engine.fallback import bounded, first_bound

CHECKS = Checks(compression_ratio=2.4, log_prob=-1.0, no_speech=0.6)
OPTIONS = {"max_length": 448}


def attempt(n_tokens: int, text: str = "") -> Attempt:
    return Attempt(tuple(range(n_tokens)), text, avg_logprob=-9.0, no_speech_prob=0.0)


@pytest.mark.parametrize(
    ("n_tokens", "bound"), [(0, 64), (10, 64), (42, 64), (43, 128), (85, 128), (224, 384)]
)
def test_a_bound_leaves_half_as_much_again(n_tokens: int, bound: int) -> None:
    assert first_bound(attempt(n_tokens), CHECKS) == bound


def test_a_repetition_has_the_smallest_bound() -> None:
    assert first_bound(attempt(224, "go " * 100), CHECKS) == 64


@pytest.mark.parametrize(("prompt_tokens", "length"), [(3, 128), (64, 128), (100, 164)])
def test_a_bound_counts_new_tokens_only(prompt_tokens: int, length: int) -> None:
    options = bounded(OPTIONS, prompt_tokens, 64)
    assert options is not None
    assert options["max_length"] == length
    assert min(length // 2, length - prompt_tokens) == 64


def test_there_is_no_bound_where_the_options_allow_no_more() -> None:
    assert bounded(OPTIONS, 3, 256) is None
    assert bounded({"max_length": 50}, 3, 64) is None
