from pathlib import Path

import pytest

from loadtest.options import clips_for, contract_options
from loadtest.speech import Clip
from loadtest.wer import Errors
from loadtest.wer_report import LanguageRow, language_rows, within_bar


def clip(clip_id: str, language: str, text: str = "") -> Clip:
    return Clip(clip_id, Path(clip_id), language, text, 1.0, "read", "corpus", "00")


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
    row = LanguageRow(
        language, 1, Errors(n_reference=1000), Errors(server_errors, n_reference=1000)
    )
    assert within_bar([row]) is passes


def test_an_english_model_hears_english_and_nonspeech_only() -> None:
    clips = [clip("1", "en"), clip("2", "de"), clip("3", "")]
    assert [c.id for c in clips_for("tiny.en", clips)] == ["1", "3"]
    assert clips_for("base", clips) == clips


@pytest.mark.parametrize(
    ("model", "language", "multilingual", "sent"),
    [("base", "de", True, "de"), ("base", "", True, None), ("tiny.en", "", False, "en")],
)
def test_options_fit_the_model(
    model: str, language: str, multilingual: bool, sent: str | None
) -> None:
    options = contract_options(model, language, batch_size=8)
    assert (options["multilingual"], options["language"]) == (multilingual, sent)
