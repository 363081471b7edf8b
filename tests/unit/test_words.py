"""Words with times: what alignment stretched, marks, seams between hearings, and pauses."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.audio.clip import SAMPLE_RATE_HZ
from serve_app.engine.coverage import Interval
from serve_app.engine.speech import Cut
from serve_app.engine.words import (
    LONGEST_SEAM,
    LONGEST_WORD_SECONDS,
    PAUSE_SECONDS,
    SEAM_SECONDS,
    SECONDS_PER_DIGIT,
    HeardWord,
    joined_punctuation,
    split_at_pauses,
    spoken_times,
    trimmed,
    without_seam,
)
from serve_app.options import TranscribeOptions
from tests.unit.heard_words import ATTEMPT, ascending_words, spoken, texts, times, word, words_at

LONG = LONGEST_WORD_SECONDS
TOO_LONG = 3 * LONGEST_WORD_SECONDS

# What alignment has stretched


def test_words_of_an_ordinary_length_keep_their_times() -> None:
    words = words_at((0.0, LONG), (LONG, LONG + 0.2), (5.0, 5.0 + LONG / 2))
    assert trimmed(words) == words


@pytest.mark.parametrize(
    ("words", "at", "kept"),
    [
        # The first word begins when it is spoken, not when the window does.
        ([word(" One", 0.0, TOO_LONG), word(" two", TOO_LONG, TOO_LONG + 0.3)], 0, "end"),
        # So does the first one after a sentence.
        (
            [
                *(word(" Yes", 0.0, 0.3), word(".", 0.3, 0.4)),
                *(word(" Now", 0.4, 0.4 + TOO_LONG), word(" go", 0.4 + TOO_LONG, 4.0)),
            ],
            2,
            "end",
        ),
        # A mark ends where its sentence does.
        (
            [
                *(word(" Yes", 0.0, 0.3), word(".", 0.3, 0.3 + TOO_LONG)),
                word(" Now", 0.3 + TOO_LONG, 4.0),
            ],
            1,
            "start",
        ),
        # A word in the middle of a sentence begins right after the one before it.
        (
            [
                *(word(" so", 0.0, 0.3), word(" far", 0.3, 0.3 + TOO_LONG)),
                word(" away", 0.3 + TOO_LONG, 4.0),
            ],
            1,
            "start",
        ),
        # The last word does not cover what follows the text.
        ([word(" so", 0.0, 0.3), word(" far", 0.3, 0.3 + TOO_LONG)], 1, "start"),
        # Nor does one that is alone.
        ([word(" Far", 0.3, 0.3 + TOO_LONG)], 0, "start"),
    ],
    ids=["first", "first-of-sentence", "mark", "inner", "last", "alone"],
)
def test_a_word_that_is_too_long_is_cut_on_the_side_of_the_pause(
    words: list[HeardWord], at: int, kept: str
) -> None:
    cut = trimmed(words)
    assert cut[at].end - cut[at].start == pytest.approx(LONG)
    assert getattr(cut[at], kept) == getattr(words[at], kept)
    assert [*cut[:at], *cut[at + 1 :]] == [*words[:at], *words[at + 1 :]]


def test_a_number_may_be_as_long_as_its_digits() -> None:
    digits = "0123456789"
    spelt = word(f" {digits}", 0.0, SECONDS_PER_DIGIT * len(digits))
    assert trimmed([spelt]) == [spelt]
    [cut] = trimmed([replace(spelt, end=spelt.end + TOO_LONG)])
    assert (cut.start, cut.end) == pytest.approx((spelt.start, spelt.end))


@given(ascending_words())
def test_trimmed_words_cover_less_and_stay_where_they_were(words: list[HeardWord]) -> None:
    cut = trimmed(words)
    assert texts(cut) == texts(words)
    assert times(cut) == sorted(times(cut))
    for before, after in zip(words, cut, strict=True):
        assert before.start <= after.start <= after.end <= before.end
        assert after.end - after.start <= LONG + 1e-9


# Marks


MARKS = (TranscribeOptions().prepend_punctuations, TranscribeOptions().append_punctuations)


def test_marks_join_the_words_that_they_belong_to() -> None:
    words = [
        *(word(' "', 0.0, 0.1), word("Stop", 0.1, 0.4), word("!", 0.4, 0.5), word('"', 0.5, 0.6)),
        *(word(" he", 1.0, 1.2), word(" said", 1.2, 1.4), word(".", 1.4, 1.5)),
    ]
    joined = joined_punctuation(words, *MARKS)
    assert texts(joined) == [' "Stop!"', " he", " said."]
    assert times(joined) == [(0.1, 0.4), (1.0, 1.2), (1.2, 1.4)]
    assert [one.tokens for one in joined] == [tuple(text.encode()) for text in texts(joined)]


def test_without_marks_to_join_words_stay_as_they_are() -> None:
    words = [*spoken("one two"), word(".", 0.6, 0.7)]
    assert joined_punctuation(words, "", "") == words


@given(ascending_words())
def test_joining_marks_loses_neither_text_nor_order(words: list[HeardWord]) -> None:
    joined = joined_punctuation(words, *MARKS)
    assert "".join(texts(joined)) == "".join(texts(words))
    assert [token for one in joined for token in one.tokens] == [
        token for one in words for token in one.tokens
    ]
    assert times(joined) == sorted(times(joined))
    assert set(times(joined)) <= set(times(words))


@pytest.mark.parametrize("mark", [".", " -", "...", " ¿", "。", ' "', ""])
def test_a_mark_on_its_own_covers_no_speech(mark: str) -> None:
    words = [word(" Yes", 0.0, 0.3), word(mark, 0.3, 0.9), word(" 7", 1.0, 1.3)]
    assert spoken_times(words) == [(0.0, 0.3), (1.0, 1.3)]


def test_a_word_covers_speech_with_its_marks_and_in_any_script() -> None:
    words = [word(" Yes.", 0.0, 0.3), word("は", 0.3, 0.5), word(" да", 0.5, 0.9)]
    assert spoken_times(words) == times(words)


# Seams


def heard_between(before: str, found: str, after: str, seconds_between: float = 0.0) -> str:
    """What is kept of ``found``, where the two others are so many seconds away."""
    at, each = 100.0, SEAM_SECONDS / 100
    kept = without_seam(
        spoken(before, at - seconds_between, each),
        spoken(found, at, each),
        spoken(after, at + seconds_between, each),
    )
    return "".join(texts(kept)).strip()


@pytest.mark.parametrize(
    ("before", "found", "after", "kept"),
    [
        ("we went out", "in the rain", "and came back", "in the rain"),
        ("we went out", "out in the rain", "and came back", "in the rain"),
        ("we went out", "went out in the rain", "and came back", "in the rain"),
        ("we went out", "in the rain and", "and came back", "in the rain"),
        ("we went out", "out in the rain and came", "and came back", "in the rain"),
        ("We went OUT,", "out. In the rain", "and came back", "In the rain"),
        ("we went out", "out", "and came back", ""),
        ("we went out", "out and", "and came back", ""),
        ("we went", "out", "out we came", ""),
        ("one", "one", "one", ""),
        ("", "in the rain", "", "in the rain"),
        ("we went out", "", "and came back", ""),
        # What is repeated elsewhere was said twice.
        ("out we went", "then out in the rain", "and came back", "then out in the rain"),
    ],
)
def test_a_seam_is_said_once(before: str, found: str, after: str, kept: str) -> None:
    assert heard_between(before, found, after) == kept


@pytest.mark.parametrize("said", ["hello world", "hello"])
def test_what_is_said_again_later_is_not_a_seam(said: str) -> None:
    assert heard_between(said, said, said, seconds_between=2 * SEAM_SECONDS) == said


def test_a_seam_of_more_words_than_an_edge_holds_is_not_looked_for() -> None:
    said = " ".join(f"w{n}" for n in range(LONGEST_SEAM + 1))
    assert heard_between(said, said, "") == said


@given(ascending_words(), ascending_words(after=100.0), ascending_words(after=200.0))
def test_what_is_left_without_seams_is_one_run_of_what_was_heard(
    before: list[HeardWord], found: list[HeardWord], after: list[HeardWord]
) -> None:
    kept = without_seam(before, found, after)
    runs = [found[n : n + len(kept)] for n in range(len(found) - len(kept) + 1)]
    assert kept in runs
    assert len(found) - len(kept) <= 2 * LONGEST_SEAM


# Pauses


def pauses(*lengths: float) -> list[Interval]:
    """The times of words of 0.3 s with pauses of these lengths between them."""
    at, spans = 0.0, [(0.0, 0.3)]
    for length in lengths:
        at += 0.3 + length
        spans.append((at, at + 0.3))
    return spans


def test_a_pause_begins_a_new_run() -> None:
    words = words_at(*pauses(0.0, PAUSE_SECONDS - 0.01, PAUSE_SECONDS + 0.01, 0.1))
    assert [len(run) for run in split_at_pauses(words)] == [3, 2]


def test_words_of_another_attempt_begin_a_new_run() -> None:
    other = replace(ATTEMPT)
    words = [*spoken("one two"), word(" three", 0.6, 0.9, other), word(" four", 0.9, 1.2, other)]
    assert [texts(run) for run in split_at_pauses(words)] == [[" one", " two"], [" three", " four"]]


@given(ascending_words())
def test_runs_hold_every_word_in_order_without_a_pause(words: list[HeardWord]) -> None:
    runs = split_at_pauses(words)
    assert [one for run in runs for one in run] == words
    assert all(runs)
    for run in runs:
        assert all(b.start - a.end < PAUSE_SECONDS for a, b in pairwise(run))
    for run, following in pairwise(runs):
        assert following[0].start - run[-1].end >= PAUSE_SECONDS


# From the window to the clip


STRETCHES = ((16_000, 32_000), (80_000, 96_000))  # 1 to 2 s and 5 to 6 s


@pytest.mark.parametrize(
    ("start", "end", "in_clip"),
    [
        (0.0, 0.5, (1.0, 1.5)),
        (1.25, 1.5, (5.25, 5.5)),
        # Of two stretches, the one that holds its middle has all of the word.
        (0.6, 1.2, (1.6, 2.0)),
        (0.9, 1.6, (5.0, 5.6)),
        (1.5, 9.0, (5.5, 6.0)),
    ],
)
def test_a_word_of_a_window_lies_in_one_stretch_of_the_clip(
    start: float, end: float, in_clip: Interval
) -> None:
    [found] = times([word(" one", start, end).in_clip(Cut(STRETCHES))])
    assert found == pytest.approx(in_clip)


@pytest.mark.parametrize(
    ("start", "end", "in_clip"),
    [
        (0.0, 0.7, (1.3, 1.7)),
        (0.0, 0.2, (1.1, 1.2)),  # the speech cannot have begun later
        (0.5, 0.7, (1.5, 1.7)),
        (0.9, 1.6, (5.3, 5.6)),  # of the second stretch
    ],
)
def test_a_first_word_does_not_begin_with_the_silence_before_it(
    start: float, end: float, in_clip: Interval
) -> None:
    [found] = times([word(" one", start, end).in_clip(Cut(STRETCHES, leads=(0.3, 0.3)))])
    assert found == pytest.approx(in_clip)


@given(ascending_words(longest=2.0))
def test_words_ascend_in_the_clip_as_in_the_window(words: list[HeardWord]) -> None:
    in_clip = [one.in_clip(Cut(STRETCHES)) for one in words]
    assert times(in_clip) == sorted(times(in_clip))
    for start, end in times(in_clip):
        assert any(
            first / SAMPLE_RATE_HZ <= start <= end <= last / SAMPLE_RATE_HZ
            for first, last in STRETCHES
        )


@given(st.floats(0.0, 30.0), st.floats(0.0, 2.0))
def test_trimming_twice_changes_nothing_more(start: float, seconds: float) -> None:
    once = trimmed([word(" one", start, start + seconds)])
    assert times(trimmed(once)) == [pytest.approx(times(once)[0])]
