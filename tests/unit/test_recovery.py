"""Speech that no word covers: where it is, and how what is heard there joins the other words."""

import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.audio.clip import SAMPLE_RATE_HZ
from serve_app.engine.attempts import Attempt, Checks
from serve_app.engine.coverage import MIN_GAP_SECONDS, Interval, total_seconds, uncovered
from serve_app.engine.recovery import (
    AFTER_SECONDS,
    BEFORE_SECONDS,
    JOINED_SECONDS,
    SLACK_SECONDS,
    SOUND_LOGPROB,
    SURE_LOGPROB,
    Gap,
    Part,
    gaps_in,
    parts,
    spliced,
)
from serve_app.engine.request import WINDOW_SECONDS
from serve_app.engine.speech import cut_speech
from serve_app.engine.words import Heard, HeardWord, spoken_times
from tests.unit.heard_words import ATTEMPT, ascending_words, spoken, texts, times, word, words_at

CHECKS = Checks(compression_ratio=2.4, log_prob=-1.0, no_speech=0.6)
MINUTE = 60 * SAMPLE_RATE_HZ
LONGEST = round(WINDOW_SECONDS * SAMPLE_RATE_HZ)
EXACT = 1 / SAMPLE_RATE_HZ

GAPS = st.builds(
    lambda start, seconds: Gap(start, start + seconds),
    st.floats(0.0, 30.0),
    st.floats(MIN_GAP_SECONDS, WINDOW_SECONDS - BEFORE_SECONDS - AFTER_SECONDS),
)


@st.composite
def speech(draw: st.DrawFn) -> list[Interval]:
    """Stretches as VAD gives them: ascending and apart, some longer than a window."""
    lengths = draw(st.lists(st.floats(0.1, 70.0), max_size=12))
    edges, at = [], 0.0
    for length in lengths:
        at += length
        edges.append(at)
    return list(zip(edges[::2], edges[1::2], strict=False))


# Where


def test_a_gap_is_speech_that_no_word_covers() -> None:
    words = words_at((0.2, 1.0), (1.0, 2.0), (6.0, 7.0))
    assert gaps_in([(0.0, 7.0), (9.0, 12.0)], words) == [Gap(2.0, 6.0), Gap(9.0, 12.0)]


def test_a_mark_on_its_own_is_not_a_word_that_covers_speech() -> None:
    words = [word(" Yes", 0.2, 1.0), word(".", 1.0, 6.0)]
    assert gaps_in([(0.0, 7.0)], words) == [Gap(1.0, 7.0)]


SHORT, LONG = JOINED_SECONDS, JOINED_SECONDS + 0.01


@pytest.mark.parametrize(
    ("speech", "words", "gaps"),
    [
        ([(0.0, 2.0), (2.0 + SHORT, 5.0)], [], [Gap(0.0, 5.0)]),
        ([(0.0, 2.0), (2.0 + LONG, 5.0)], [], [Gap(0.0, 2.0), Gap(2.0 + LONG, 5.0)]),
        # A word between them keeps them apart, one beside them does not.
        ([(0.0, 2.0), (2.5, 5.0)], [(2.1, 2.4)], [Gap(0.0, 2.0), Gap(2.5, 5.0)]),
        ([(0.0, 5.0)], [(2.0, 2.4)], [Gap(0.0, 2.0), Gap(2.4, 5.0)]),
        ([(0.0, 2.0), (2.5, 5.0)], [(0.0, 0.5)], [Gap(0.5, 5.0)]),
        ([(0.0, 2.0), (2.5, 4.5), (5.0, 7.0)], [], [Gap(0.0, 7.0)]),
        # Speech that is too short to be a gap does not keep them apart.
        ([(0.0, 2.0), (2.3, 2.5), (2.8, 5.0)], [], [Gap(0.0, 5.0)]),
    ],
    ids=["pause", "long-pause", "word", "word-in-speech", "word-beside", "three", "short-speech"],
)
def test_gaps_with_a_short_pause_and_no_word_between_them_are_one(
    speech: list[Interval], words: list[Interval], gaps: list[Gap]
) -> None:
    assert gaps_in(speech, words_at(*words)) == gaps


@given(speech(), ascending_words())
def test_all_speech_is_covered_or_lies_in_a_gap(
    speech: list[Interval], words: list[HeardWord]
) -> None:
    gaps = gaps_in(speech, words)
    assert uncovered(speech, [*spoken_times(words), *gaps]) == []


@given(speech(), ascending_words())
def test_a_gap_holds_lost_speech_and_short_pauses_but_no_word(
    speech: list[Interval], words: list[HeardWord]
) -> None:
    gaps = gaps_in(speech, words)
    lost = uncovered(speech, spoken_times(words))
    assert all(one.end <= other.start for one, other in pairwise(gaps))
    for start, end in spoken_times(words):
        assert all(end <= gap.start or start >= gap.end for gap in gaps)
    pauses = max(0, len(lost) - 1)
    added = total_seconds(gaps) - total_seconds(lost)
    assert -EXACT < added < pauses * JOINED_SECONDS + EXACT


@given(speech(), st.data())
def test_a_clip_in_parts_has_the_same_gaps_as_the_whole(
    speech: list[Interval], data: st.DataObject
) -> None:
    stretches = [  # VAD cuts speech that is longer than a window
        (at, min(round(end * SAMPLE_RATE_HZ), at + LONGEST))
        for start, end in speech
        for at in range(round(start * SAMPLE_RATE_HZ), round(end * SAMPLE_RATE_HZ), LONGEST)
    ]
    speech = [(start / SAMPLE_RATE_HZ, end / SAMPLE_RATE_HZ) for start, end in stretches]
    cuts = cut_speech(stretches, WINDOW_SECONDS, 0.3)
    heard = [tuple(data.draw(ascending_words(cut.seconds))) for cut in cuts]

    async def hear(words: tuple[HeardWord, ...]) -> Heard:
        return Heard(ATTEMPT, words=words)

    async def run() -> list[Part]:
        return [part async for part in parts(cuts, map(hear, heard), speech)]

    found = asyncio.run(run())
    words = [one.in_clip(cut) for cut, those in zip(cuts, heard, strict=True) for one in those]
    assert [stretch for part in found for stretch in part.speech] == speech
    assert [one for part in found for one in part.words] == words
    gaps = [gap for part in found for gap in gaps_in(part.speech, [*part.before, *part.words])]
    assert gaps == gaps_in(speech, words)


@given(speech(), ascending_words())
def test_every_gap_fits_into_a_window(speech: list[Interval], words: list[HeardWord]) -> None:
    for gap in gaps_in(speech, words):
        assert gap.start < gap.end
        assert gap.cut(15 * MINUTE).seconds <= WINDOW_SECONDS + EXACT


def test_a_gap_that_takes_several_windows_is_divided_evenly() -> None:
    gaps = gaps_in([(0.0, 30.0)], [])
    assert gaps == [Gap(0.0, 15.0), Gap(15.0, 30.0)]


@given(GAPS)
def test_the_window_of_a_gap_holds_it_and_some_audio_around(gap: Gap) -> None:
    cut = gap.cut(2 * MINUTE)
    [(start, end)] = cut.stretches
    assert start / SAMPLE_RATE_HZ == pytest.approx(max(0.0, gap.start - BEFORE_SECONDS), abs=EXACT)
    assert end / SAMPLE_RATE_HZ == pytest.approx(gap.end + AFTER_SECONDS, abs=EXACT)


def test_the_window_of_a_gap_ends_with_the_clip() -> None:
    [(start, end)] = Gap(0.0, 5.0).cut(5 * SAMPLE_RATE_HZ).stretches
    assert (start, end) == (0, 5 * SAMPLE_RATE_HZ)


@pytest.mark.parametrize(
    ("seconds", "is_held"),
    [
        (3.0, True),
        (2.0 - SLACK_SECONDS + 0.01, True),
        (2.0 - SLACK_SECONDS - 0.01, False),
        (4.0 + SLACK_SECONDS - 0.01, True),
        (4.0 + SLACK_SECONDS + 0.01, False),
    ],
)
def test_a_gap_holds_what_lies_in_it_or_at_its_edge(seconds: float, is_held: bool) -> None:
    assert Gap(2.0, 4.0).holds(seconds) is is_held


# What


GAP = Gap(2.0, 6.0)
AROUND = [*spoken("we went out", 1.1), *spoken("and came back", 6.1)]


def heard_in(gap: Gap, words: list[HeardWord]) -> Heard:
    """``words``, with times in the clip, as they are heard in the window of the gap."""
    offset = gap.cut(MINUTE).stretches[0][0] / SAMPLE_RATE_HZ
    moved = [replace(one, start=one.start - offset, end=one.end - offset) for one in words]
    return Heard(ATTEMPT, words=tuple(moved))


def joined(words: list[HeardWord], gap: Gap, heard: Heard) -> list[HeardWord]:
    return spliced(words, gap, gap.cut(MINUTE), heard, CHECKS)


def test_words_found_in_a_gap_take_their_place_among_the_others() -> None:
    found = heard_in(GAP, spoken("in the rain", 3.0))
    words = joined(AROUND, GAP, found)
    assert "".join(texts(words)) == " we went out in the rain and came back"
    assert times(words[3:6]) == [pytest.approx(span) for span in times(spoken("in the rain", 3.0))]


def test_words_around_a_gap_that_its_window_repeats_are_said_once() -> None:
    found = heard_in(GAP, spoken("out in the rain and", 2.0, each=0.8))
    words = joined(AROUND, GAP, found)
    assert "".join(texts(words)) == " we went out in the rain and came back"


def test_a_repetition_that_takes_no_time_is_an_invention() -> None:
    once, again = spoken("come on in", 3.0), spoken("come on in", 3.9, each=0.0)
    found = heard_in(GAP, [*once, *again])
    best = replace(ATTEMPT, text="come on in come on in")
    words = joined(AROUND, GAP, replace(found, best=best))
    assert "".join(texts(words)) == " we went out come on in and came back"


def test_an_utterance_that_is_repeated_is_heard_twice() -> None:
    before, gap = spoken("hello world", 0.5), Gap(2.0, 4.0)
    words = joined(before, gap, heard_in(gap, spoken("hello world", 2.5)))
    assert "".join(texts(words)) == " hello world hello world"


def test_a_word_on_the_edge_of_two_gaps_stays_before_those_of_the_second() -> None:
    first, second = Gap(2.0, 30.0), Gap(30.0, 40.0)
    edge = [word(" edge", 30.0 + 0.1 * SLACK_SECONDS, 30.0 + SLACK_SECONDS)]
    words = joined([], first, heard_in(first, edge))
    words = joined(words, second, heard_in(second, spoken("and so on", 32.0)))
    assert "".join(texts(words)) == " edge and so on"


def test_words_outside_their_gap_are_left_out() -> None:
    outside = [word(" before", 1.7, 1.8), word(" inside", 3.0, 3.3), word(" after", 6.2, 6.3)]
    assert texts(joined([], GAP, heard_in(GAP, outside))) == [" inside"]


@pytest.mark.parametrize(
    "unsound",
    [
        replace(ATTEMPT, avg_logprob=SOUND_LOGPROB - 0.01),
        replace(ATTEMPT, text="go " * 60),
        replace(ATTEMPT, is_cut=True),
        replace(ATTEMPT, avg_logprob=SURE_LOGPROB - 0.01, no_speech_prob=0.9),
    ],
    ids=["unsure", "repetitive", "cut", "nobody"],
)
def test_an_unsound_text_in_a_gap_is_an_invention(unsound: Attempt) -> None:
    found = replace(heard_in(GAP, spoken("in the rain", 3.0)), best=unsound)
    assert joined(AROUND, GAP, found) == AROUND


@pytest.mark.parametrize(
    "sound",
    [
        replace(ATTEMPT, avg_logprob=SOUND_LOGPROB),
        replace(ATTEMPT, avg_logprob=SURE_LOGPROB, no_speech_prob=0.9),
    ],
)
def test_a_sound_text_in_a_gap_counts(sound: Attempt) -> None:
    found = replace(heard_in(GAP, spoken("in the rain", 3.0)), best=sound)
    assert "".join(texts(joined(AROUND, GAP, found))) == " we went out in the rain and came back"


@pytest.mark.parametrize("words", [(), None])
def test_a_gap_in_which_nothing_is_heard_stays_empty(
    words: tuple[HeardWord, ...] | None,
) -> None:
    assert joined(AROUND, GAP, Heard(ATTEMPT, words=words)) == AROUND


@given(speech(), ascending_words(longest=60.0), st.data())
def test_words_ascend_up_to_the_slack_whatever_is_found_in_gaps(
    speech: list[Interval], words: list[HeardWord], data: st.DataObject
) -> None:
    n_samples = 15 * MINUTE
    for gap in gaps_in(speech, words):
        cut = gap.cut(n_samples)
        found = data.draw(ascending_words(longest=cut.seconds))
        before = list(words)
        words = spliced(words, gap, cut, Heard(ATTEMPT, words=tuple(found)), CHECKS)
        added = [one for one in words if not any(one is other for other in before)]
        assert [one for one in words if any(one is other for other in before)] == before
        assert all(gap.holds(one.middle) for one in added)
    # Marks stay with the words that they follow.
    middles = [one.middle for one in words if spoken_times([one])]
    assert all(one <= other + 2 * SLACK_SECONDS for one, other in pairwise(middles))
