"""Options checked against a model."""

import pickle

import pytest

from serve_app.errors import InvalidOption
from serve_app.options import ModelFacts, TranscribeOptions, check_against_model
from serve_app.options.language import LANGUAGES

ENGLISH = ModelFacts("tiny.en", False, ("en",), 51864)
BASE = ModelFacts("base", True, tuple(code for code in LANGUAGES if code != "yue"), 51865)


def refusal(options: TranscribeOptions, model: ModelFacts) -> InvalidOption:
    with pytest.raises(InvalidOption) as refused:
        check_against_model(options, model)
    return refused.value


@pytest.mark.parametrize(("model", "language"), [(ENGLISH, "en"), (BASE, "de"), (BASE, None)])
def test_options_that_fit_stay_as_they_are(model: ModelFacts, language: str | None) -> None:
    options = TranscribeOptions(language=language)
    assert check_against_model(options, model) is options


def test_an_english_model_refuses_to_translate() -> None:
    error = refusal(TranscribeOptions(task="translate"), ENGLISH)
    assert (error.status, error.field) == (422, "task")
    assert "tiny.en knows English only" in error.message


def test_an_english_model_refuses_another_language() -> None:
    error = refusal(TranscribeOptions(language="de"), ENGLISH)
    assert error.field == "language"
    assert error.message.endswith("allowed: null or en")


def test_a_model_without_cantonese_refuses_it() -> None:
    assert 'got "yue"' in refusal(TranscribeOptions(language="yue"), BASE).message


def test_an_english_model_takes_multilingual_as_false() -> None:
    assert not check_against_model(TranscribeOptions(multilingual=True), ENGLISH).multilingual
    assert check_against_model(TranscribeOptions(multilingual=True), BASE).multilingual


@pytest.mark.parametrize(("model", "token"), [(ENGLISH, 50256), (BASE, 50257), (BASE, 10_000_000)])
def test_a_prompt_of_other_than_text_tokens_is_refused(model: ModelFacts, token: int) -> None:
    error = refusal(TranscribeOptions(initial_prompt=(1, token)), model)
    assert error.field == "initial_prompt"
    assert f"got token {token}" in error.message


@pytest.mark.parametrize(
    ("model", "token"), [(ENGLISH, 50256), (BASE, 50257), (BASE, 50364), (BASE, 10_000_000)]
)
def test_suppressing_the_end_times_or_unknown_tokens_is_refused(
    model: ModelFacts, token: int
) -> None:
    error = refusal(TranscribeOptions(suppress_tokens=(-1, token)), model)
    assert error.field == "suppress_tokens"


def test_the_control_tokens_that_whisper_suppresses_itself_may_be_named() -> None:
    options = TranscribeOptions(suppress_tokens=(1, 2, 7, 50258, 50358, 50359, 50360, 50361, 50362))
    assert check_against_model(options, BASE) is options


def test_no_token_beyond_a_small_vocabulary_passes() -> None:
    small = ModelFacts("toy", True, ("en",), 1000)
    assert "-1 to 999" in refusal(TranscribeOptions(suppress_tokens=(1000,)), small).message
    assert "0 to 999" in refusal(TranscribeOptions(initial_prompt=(1000,)), small).message


def test_facts_cross_process_borders() -> None:
    assert pickle.loads(pickle.dumps(BASE)) == BASE
