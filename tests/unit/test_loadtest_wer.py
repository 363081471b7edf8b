import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.wer import Errors, corpus_errors, normalised_units, word_errors

WORDS = st.lists(st.sampled_from(["alpha", "beta", "gamma", "delta"]), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "errors"),
    [
        ("the cat sat", "the cat sat", Errors(0, 0, 0, 3)),
        ("the cat sat", "the dog sat", Errors(1, 0, 0, 3)),
        ("the cat sat down", "the cat down", Errors(0, 1, 0, 4)),
        ("the cat", "the big fat cat", Errors(0, 0, 2, 2)),
        ("alpha beta gamma", "", Errors(0, 3, 0, 3)),
        ("", "alpha beta", Errors(0, 0, 2, 0)),
        ("", "", Errors(0, 0, 0, 0)),
    ],
)
def test_errors_match_hand_counts(reference: str, hypothesis: str, errors: Errors) -> None:
    assert word_errors(reference, hypothesis, "en") == errors


def test_the_corpus_rate_weighs_words_not_clips() -> None:
    short = word_errors("alpha", "beta", "en")
    long = word_errors("alpha beta gamma", "alpha beta gamma", "en")
    assert corpus_errors([short, long]).rate == 0.25


def test_the_corpus_rate_of_no_clips_is_zero() -> None:
    assert corpus_errors([]) == Errors()
    assert corpus_errors([]).rate == 0.0


def test_words_without_a_reference_have_an_infinite_rate() -> None:
    assert word_errors("", "hallucinated", "en").rate == float("inf")


@pytest.mark.parametrize(
    ("written", "units"),
    [
        ("Mr. Brown's colour: twenty-one!", ["mister", "brown", "is", "color", "21"]),
        ("I won't, um, go [laughter]", ["i", "will", "not", "go"]),
    ],
)
def test_english_is_spelled_one_way(written: str, units: list[str]) -> None:
    assert normalised_units(written, "en") == units


def test_other_languages_lose_case_and_punctuation_but_keep_diacritics() -> None:
    assert normalised_units("Grüße, l'ÉTÉ!", "fr") == ["grüße", "l", "été"]


def test_japanese_is_scored_by_character_without_spaces() -> None:
    errors = word_errors("今日は、世界。", "今日 は世間", "ja")
    assert errors == Errors(substitutions=1, n_reference=5)


@given(WORDS)
def test_a_perfect_transcript_has_no_errors(words: list[str]) -> None:
    text = " ".join(words)
    assert word_errors(text, text.upper() + ".", "de") == Errors(n_reference=len(words))


@given(WORDS, WORDS)
def test_edits_account_for_the_difference_in_length(
    reference: list[str], hypothesis: list[str]
) -> None:
    errors = word_errors(" ".join(reference), " ".join(hypothesis), "de")
    assert errors.insertions - errors.deletions == len(hypothesis) - len(reference)
    assert errors.total <= max(len(reference), len(hypothesis))
