"""Utterances from the probability of speech, as plain data."""

from collections.abc import Iterable

from serve_app.engine.vad import CHUNK_SAMPLES
from serve_app.live.endpointing import (
    PAD_SAMPLES,
    Endpointer,
    Mark,
    SpeechBegan,
    SpeechStopped,
    Utterance,
)
from serve_app.live.options import LiveOptions

CHUNKS_PER_SECOND = 16_000 / CHUNK_SAMPLES
RULES = LiveOptions()
PUSH_TO_TALK = LiveOptions(silence_seconds=None)


def chunks(seconds: float, probability: float) -> list[float]:
    return [probability] * round(seconds * CHUNKS_PER_SECOND)


def speech(seconds: float) -> list[float]:
    return chunks(seconds, 0.9)


def silence(seconds: float) -> list[float]:
    return chunks(seconds, 0.1)


def marks(endpointer: Endpointer, probabilities: Iterable[float]) -> list[Mark]:
    return [mark for probability in probabilities for mark in endpointer.step(probability)]


def utterances(found: list[Mark]) -> list[tuple[float, float]]:
    """In seconds."""
    return [(u.start / 16_000, u.end / 16_000) for u in found if isinstance(u, Utterance)]


def test_an_utterance_has_a_beginning_an_end_and_some_audio_around_it() -> None:
    began, utterance, stopped = marks(Endpointer(RULES), [*silence(2), *speech(2), *silence(1)])
    assert began == SpeechBegan(len(silence(2)) * CHUNK_SAMPLES)
    end = len(silence(2) + speech(2)) * CHUNK_SAMPLES
    assert utterance == Utterance(began.at - PAD_SAMPLES, end + PAD_SAMPLES, is_cut=False)
    assert stopped == SpeechStopped(end)


def test_a_click_is_not_speech() -> None:
    assert not marks(Endpointer(RULES), [*silence(1), *speech(0.1), *silence(2)])


def test_a_short_pause_does_not_end_an_utterance() -> None:
    found = marks(Endpointer(RULES), [*speech(1), *silence(0.3), *speech(1), *silence(1)])
    assert len(utterances(found)) == 1


def test_a_probability_between_the_thresholds_changes_nothing() -> None:
    found = marks(Endpointer(RULES), [*chunks(1, 0.45), *speech(1), *chunks(2, 0.45)])
    assert [type(mark) for mark in found] == [SpeechBegan]


def test_speech_ends_in_silence_however_low_the_threshold_is() -> None:
    quiet = LiveOptions(threshold=0.1)
    found = marks(Endpointer(quiet), [*speech(2), *chunks(1, 0.001)])
    assert len(utterances(found)) == 1


def test_a_sound_that_may_be_speech_for_ever_is_forgotten() -> None:
    endpointer = Endpointer(RULES)
    assert not marks(endpointer, [*chunks(0.05, 0.9), *chunks(60, 0.4)])
    assert 60 * 16_000 - endpointer.needed_from <= RULES.utterance_seconds * 16_000


def test_a_long_utterance_ends_at_a_short_pause_while_speech_goes_on() -> None:
    found = marks(Endpointer(RULES), [*speech(6), *silence(0.3), *speech(2), *silence(1)])
    first, second = (mark for mark in found if isinstance(mark, Utterance))
    assert first.is_cut and not second.is_cut
    assert first.end <= second.start
    assert [type(m) for m in found if not isinstance(m, Utterance)] == [SpeechBegan, SpeechStopped]


def test_speech_without_a_pause_is_cut_where_it_is_least_likely() -> None:
    weak = chunks(0.1, 0.4)
    found = marks(Endpointer(RULES), [*speech(7.9), *weak, *speech(5), *silence(1)])
    (_, cut), (start, _) = utterances(found)
    assert cut == start
    assert 7.85 < cut < 8.05


def test_every_second_of_endless_speech_is_in_one_utterance() -> None:
    endpointer = Endpointer(RULES)
    found = utterances(marks(endpointer, speech(60)))
    last = endpointer.flush(60 * 16_000)
    assert last is not None
    starts, ends = zip(*found, strict=True)
    assert starts[0] == 0
    assert [*starts[1:], last.start / 16_000] == [*ends]
    assert max(end - start for start, end in found) <= RULES.utterance_seconds


def test_only_a_flush_ends_an_utterance_of_a_push_to_talk_client() -> None:
    endpointer = Endpointer(PUSH_TO_TALK)
    assert not utterances(marks(endpointer, [*silence(1), *speech(1), *silence(1)]))
    flushed = endpointer.flush(3 * 16_000)
    assert flushed is not None and flushed.is_cut
    assert endpointer.flush(3 * 16_000) is None


def test_what_was_cleared_is_not_heard() -> None:
    endpointer = Endpointer(RULES)
    marks(endpointer, speech(1))
    endpointer.clear()
    assert endpointer.flush(16_000) is None
    ((start, _),) = utterances(marks(endpointer, [*speech(1), *silence(1)]))
    assert start >= 1 - 1 / CHUNKS_PER_SECOND
