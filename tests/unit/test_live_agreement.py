"""Which words of successive drafts are certain, as plain data."""

from serve_app.live.agreement import Agreement
from serve_app.transcript import Word


def draft(text: str, start: float = 0.0, probability: float = 0.9) -> list[Word]:
    """Words of half a second each."""
    return [
        Word(start + n / 2, start + (n + 1) / 2, f" {word}", probability)
        for n, word in enumerate(text.split())
    ]


def told(*drafts: list[Word]) -> Agreement:
    agreement = Agreement()
    for one in drafts:
        agreement.add(one)
    return agreement


def text(words: list[Word]) -> str:
    return "".join(word.word for word in words).strip()


def test_nothing_is_certain_after_one_draft() -> None:
    agreement = told(draft("good morning"))
    assert (text(agreement.certain), text(agreement.words)) == ("", "good morning")


def test_what_two_drafts_in_a_row_begin_with_is_certain() -> None:
    agreement = told(draft("good morning every"), draft("Good morning, everybody here"))
    assert text(agreement.certain) == "Good morning,"
    assert text(agreement.words) == "Good morning, everybody here"


def test_a_certain_word_stays() -> None:
    agreement = told(draft("good morning"), draft("good morning all"), draft("wood mourning all"))
    assert text(agreement.certain).startswith("good morning")


def test_a_draft_that_begins_within_the_certain_words_continues_them() -> None:
    agreement = told(draft("one two three"), draft("one two three four"))
    agreement.add(draft("two three four five", start=0.5))
    assert text(agreement.words) == "one two three four five"


def test_a_word_said_twice_is_kept_twice() -> None:
    agreement = told(draft("no no no"), draft("no no no no"), draft("no no no no"))
    assert text(agreement.words) == "no no no no"


def test_an_improbable_last_word_is_held_back_until_it_is_heard_again() -> None:
    unsure = [*draft("the wood"), *draft("cut", start=1.0, probability=0.4)]
    agreement = told(unsure)
    assert text(agreement.words) == "the wood"
    agreement.add(unsure)
    assert text(agreement.words) == "the wood cut"


def test_a_draft_begins_at_a_certain_word_with_a_second_before_the_uncertain_ones() -> None:
    agreement = told(draft("a b c d e f"), draft("a b c d e f g"))
    assert agreement.hear_from(0.0) == 2.0  # "e", since "f" ends at 3.0
    assert Agreement().hear_from(7.0) == 7.0
