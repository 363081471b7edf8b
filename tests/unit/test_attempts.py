"""Whether an attempt at a window is good enough, and how far the next ones may run."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.engine.attempts import (
    BOUND_STEP,
    MOST_SAMPLINGS,
    TOKENS_PER_SECOND,
    Attempt,
    Checks,
    best_of_failed,
    best_of_samples,
    bounded,
    ends_in_repetition,
    length_bound,
    sample_bound,
    samplings,
)

CHECKS = Checks(compression_ratio=2.4, log_prob=-1.0, no_speech=0.6)


REPETITION = "go " * 60


def attempt(
    text: str = "Hello there.",
    avg_logprob: float = -0.2,
    no_speech_prob: float = 0.0,
    *,
    n_tokens: int = 0,
    is_cut: bool = False,
) -> Attempt:
    tokens = tuple(range(n_tokens))
    return Attempt(tokens, text, avg_logprob, no_speech_prob, is_cut=is_cut)


@pytest.mark.parametrize(
    ("of", "fails"),
    [
        (attempt(), False),
        (attempt(avg_logprob=-1.1), True),
        (attempt(REPETITION), True),
        (attempt(is_cut=True), True),
        (attempt(no_speech_prob=0.9), False),
        (attempt(avg_logprob=-1.1, no_speech_prob=0.9), False),
        (attempt(REPETITION, avg_logprob=-1.1, no_speech_prob=0.9), False),
        (attempt(is_cut=True, avg_logprob=-1.1, no_speech_prob=0.9), False),
    ],
)
def test_what_is_unsure_or_cut_or_repeats_itself_fails_unless_nobody_speaks(
    of: Attempt, fails: bool
) -> None:
    assert CHECKS.fails(of) is fails


def test_a_check_without_a_threshold_is_off() -> None:
    off = Checks(compression_ratio=None, log_prob=None, no_speech=None)
    assert not off.fails(attempt(REPETITION, avg_logprob=-9.0, no_speech_prob=1.0))
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


TEMPERATURES = st.lists(st.floats(0.01, 2.0), max_size=10)


@given(TEMPERATURES)
def test_no_more_temperatures_are_sampled_than_the_bound(temperatures: list[float]) -> None:
    assert len(samplings(temperatures)) == min(MOST_SAMPLINGS, len(temperatures))


@given(TEMPERATURES)
def test_the_temperatures_that_are_sampled_are_the_callers_in_their_order(
    temperatures: list[float],
) -> None:
    assert tuple(samplings(temperatures)) in itertools.combinations(
        temperatures, MOST_SAMPLINGS
    ) or (list(samplings(temperatures)) == temperatures)


def test_nothing_is_sampled_at_temperature_0() -> None:
    assert samplings([]) == []
    assert samplings([0.0, 0.0]) == []
    assert samplings([0.0, 0.4]) == [0.4]


def test_of_the_default_ladder_neither_only_the_coolest_nor_the_hottest_are_sampled() -> None:
    low, high = samplings([0.2, 0.4, 0.6, 0.8, 1.0])
    assert low < 0.6 <= high


@given(st.floats(0.01, 30.0))
def test_a_first_attempt_has_room_for_the_fastest_speaker(seconds: float) -> None:
    assert 0 <= length_bound(seconds) - seconds * TOKENS_PER_SECOND < 1


@given(st.integers(0, 224))
def test_a_sample_has_room_for_half_as_much_again_as_the_first_attempt(n_tokens: int) -> None:
    bound = sample_bound(attempt(n_tokens=n_tokens), CHECKS)
    assert bound % BOUND_STEP == 0
    assert max(1, 1.5 * n_tokens) <= bound < 1.5 * n_tokens + BOUND_STEP + 1


def test_the_length_of_a_repetition_says_nothing() -> None:
    assert sample_bound(attempt(REPETITION, n_tokens=224), CHECKS) == BOUND_STEP


@given(st.integers(3, 220), st.sampled_from([64, 128, 192, 256]))
def test_a_bound_counts_new_tokens_only(prompt_tokens: int, bound: int) -> None:
    length = bounded({"max_length": 10_000}, prompt_tokens, bound)["max_length"]
    # What CTranslate2 makes of it.
    assert min(length // 2, length - prompt_tokens) == bound


def test_a_bound_never_allows_more_than_the_caller() -> None:
    assert bounded({"max_length": 50, "beam_size": 5}, 3, 64) == {"max_length": 50, "beam_size": 5}


UNSURE, MORE_UNSURE = attempt("eh", -5.0), attempt("em", -9.0)
CUT = attempt("and so on and", is_cut=True)


@pytest.mark.parametrize(
    ("samples", "best"),
    [
        ([attempt(), attempt("Less probable.")], attempt()),
        ([UNSURE, attempt()], attempt()),
        ([CUT, attempt()], attempt()),
        ([attempt(REPETITION), CUT, attempt()], attempt()),
        ([UNSURE, MORE_UNSURE], UNSURE),
        ([CUT, UNSURE], CUT),
    ],
)
def test_of_samples_the_most_probable_one_that_passes_is_taken(
    samples: list[Attempt], best: Attempt
) -> None:
    assert best_of_samples(samples, CHECKS) is samples[samples.index(best)]


@pytest.mark.parametrize(
    ("attempts", "best"),
    [
        ([MORE_UNSURE, UNSURE], UNSURE),
        ([CUT, UNSURE], UNSURE),
        ([attempt(REPETITION), MORE_UNSURE, CUT], MORE_UNSURE),
        ([attempt(REPETITION, -0.3), CUT], CUT),
        ([CUT], CUT),
    ],
)
def test_of_failed_attempts_the_most_probable_sound_one_is_taken(
    attempts: list[Attempt], best: Attempt
) -> None:
    assert best_of_failed(attempts, CHECKS) is best
