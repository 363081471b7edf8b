"""How segments are made of what was heard, and what becomes of faster-whisper's."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import Segment, Word
from hypothesis import given
from hypothesis import strategies as st

from serve_app.audio.clip import SAMPLE_RATE_HZ, AudioClip
from serve_app.engine.attempts import Attempt
from serve_app.engine.engine import Engine
from serve_app.engine.segments import (
    LOWEST_LOGPROB,
    segments_of_window,
    segments_of_words,
    to_transcript,
)
from serve_app.engine.speech import Cut
from serve_app.engine.words import PAUSE_SECONDS, Heard, HeardWord
from serve_app.options import TranscribeOptions
from serve_app.transcript import Transcript
from tests.unit.heard_words import ascending_words, spoken, word


def heard(text: str = " Hello", **given: Any) -> Segment:
    """What faster-whisper yields."""
    values: dict[str, Any] = {
        "id": 1,
        "seek": 0,
        "start": 0.0,
        "end": 1.0,
        "tokens": [1, 2],
        "avg_logprob": -0.2,
        "compression_ratio": 1.0,
        "no_speech_prob": 0.1,
        "words": None,
        "temperature": 0.0,
    }
    return Segment(text=text, **{**values, **given})


def transcript_of(*segments: Segment, seconds: float = 2.0) -> Transcript:
    clip = AudioClip(np.zeros(round(seconds * SAMPLE_RATE_HZ), np.int16), seconds)
    return to_transcript(
        segments,
        language="en",
        language_probability=0.9,
        speech_seconds=1.5,
        clip=clip,
    )


def test_a_transcript_says_what_was_heard() -> None:
    transcript = transcript_of(heard(" Hello", start=0.5, end=1.25), heard(" \n"), seconds=2.0)
    assert [segment.text for segment in transcript.segments] == [" Hello"]
    segment = transcript.segments[0]
    assert (segment.start, segment.end, segment.words, segment.tokens) == (0.5, 1.25, None, (1, 2))
    assert (transcript.language, transcript.duration_seconds) == ("en", 2.0)
    assert transcript.speech_seconds == 1.5


@pytest.mark.parametrize("logprob", [-math.inf, math.nan])
def test_a_logprob_that_json_cannot_carry_becomes_the_lowest(logprob: float) -> None:
    assert transcript_of(heard(avg_logprob=logprob)).segments[0].avg_logprob == LOWEST_LOGPROB


def test_numpy_numbers_become_pythons() -> None:
    word = Word(np.float64(0.1), np.float64(0.2), " Hi", np.float32(0.5))
    segment = transcript_of(heard(start=np.float64(0.1), words=[word])).segments[0]
    assert segment.words is not None
    numbers = (segment.start, segment.words[0].end, segment.words[0].probability)
    assert [type(number) for number in numbers] == [float, float, float]


@dataclass(frozen=True)
class Spans:
    """What a decoder might claim of an audio: (start, end) pairs of any kind."""

    seconds: float
    claimed: list[tuple[float, float]] = field(default_factory=list)


TIMES = st.floats(-5, 100, allow_nan=False)
SPANS = st.builds(
    Spans, st.floats(0.001, 60, allow_nan=False), st.lists(st.tuples(TIMES, TIMES), max_size=8)
)


def assert_in_order(times: list[tuple[float, float]], seconds: float) -> None:
    starts = [start for start, _ in times]
    assert starts == sorted(starts)
    for start, end in times:
        assert 0 <= start <= end <= seconds
        assert (start, end) == (round(start, 3), round(end, 3))


@given(SPANS)
def test_times_are_in_order_in_whole_milliseconds_and_inside_the_audio(spans: Spans) -> None:
    segments = [heard(start=start, end=end) for start, end in spans.claimed]
    transcript = transcript_of(*segments, seconds=spans.seconds)
    assert len(transcript.segments) == len(spans.claimed)
    assert_in_order([(s.start, s.end) for s in transcript.segments], spans.seconds)


@given(SPANS)
def test_so_are_the_times_of_words(spans: Spans) -> None:
    words = [Word(start, end, " Hi", 0.5) for start, end in spans.claimed]
    words_out = transcript_of(heard(words=words), seconds=spans.seconds).segments[0].words
    assert words_out is not None
    assert_in_order([(word.start, word.end) for word in words_out], spans.seconds)


@given(st.integers(0, 59_000), st.integers(0, 1000))
def test_times_that_are_possible_already_stay(start_ms: int, length_ms: int) -> None:
    start, end = start_ms / 1000, (start_ms + length_ms) / 1000
    segment = transcript_of(heard(start=start, end=end), seconds=60.0).segments[0]
    assert (segment.start, segment.end) == (start, end)


# From words


OPTIONS = TranscribeOptions(word_timestamps=True)
PAUSE = PAUSE_SECONDS + 0.1


def said(segments: list[Segment]) -> list[str]:
    return [segment.text for segment in segments]


def test_a_pause_in_speech_ends_a_segment() -> None:
    words = [*spoken("we went out", 1.0), *spoken("and came back", 1.9 + PAUSE)]
    first, second = segments_of_words(words, OPTIONS)
    assert said([first, second]) == [" we went out", " and came back"]
    assert (first.start, first.end) == pytest.approx((1.0, 1.9))
    assert (second.start, second.end) == pytest.approx((1.9 + PAUSE, 2.8 + PAUSE))


def test_words_without_a_pause_are_one_segment() -> None:
    assert said(segments_of_words(spoken("we went out"), OPTIONS)) == [" we went out"]


@pytest.mark.parametrize(
    ("without_timestamps", "segments"),
    [
        (None, [" we went", " out", " and back"]),
        (False, [" we went", " out", " and back"]),
        (True, [" we went out", " and back"]),
    ],
)
def test_without_timestamps_a_hearing_is_one_segment_whatever_its_pauses(
    without_timestamps: bool | None, segments: list[str]
) -> None:
    again = Attempt((), "and back", avg_logprob=-0.2, no_speech_prob=0.0)
    words = [
        *(*spoken("we went"), word(" out", 0.6 + PAUSE, 0.9 + PAUSE)),
        *(word(" and", 1.0 + PAUSE, 1.2 + PAUSE, again), word(" back", 1.2 + PAUSE, 2.0, again)),
    ]
    options = TranscribeOptions(without_timestamps=without_timestamps)
    assert said(segments_of_words(words, options)) == segments


def test_a_mark_stays_with_its_sentence_however_late_it_is() -> None:
    words = [*spoken("we went out"), word(".", 0.9 + PAUSE, 1.0 + PAUSE)]
    assert said(segments_of_words(words, OPTIONS)) == [" we went out."]


def test_a_segment_says_what_it_was_decoded_in() -> None:
    retried = Attempt((), "", avg_logprob=-0.7, no_speech_prob=0.4, temperature=0.2)
    [segment] = segments_of_words([word(" yes", 0.0, 0.3, retried)], OPTIONS)
    assert (segment.avg_logprob, segment.no_speech_prob, segment.temperature) == (-0.7, 0.4, 0.2)
    assert segment.tokens == list(b" yes")


@pytest.mark.parametrize("word_timestamps", [True, False])
def test_words_are_told_to_callers_who_ask_for_them(word_timestamps: bool) -> None:
    options = TranscribeOptions(word_timestamps=word_timestamps)
    [segment] = segments_of_words(spoken("we went"), options)
    told = [(one.word, one.start, one.end) for one in segment.words or ()]
    assert told == ([(" we", 0.0, 0.3), (" went", 0.3, 0.6)] if word_timestamps else [])


@given(ascending_words())
def test_segments_hold_all_words_in_order(words: list[HeardWord]) -> None:
    segments = segments_of_words(words, OPTIONS)
    assert "".join(said(segments)) == "".join(one.text for one in words)
    edges = [time for segment in segments for time in (segment.start, segment.end)]
    assert edges == sorted(edges)
    assert all(
        (segment.words[0].start, segment.words[-1].end) == (segment.start, segment.end)
        for segment in segments
        if segment.words
    )


# From windows, as faster-whisper has them


STRETCHES = ((32_000, 64_000), (128_000, 160_000))  # 2 to 4 s and 8 to 10 s


def heard_in_window(engine: Engine, *parts: str | float) -> list[Segment]:
    """What becomes of a window of two stretches, decoded to texts and timestamps."""
    tokenizer = Tokenizer(engine.whisper.hf_tokenizer, False, task="transcribe", language="en")
    tokens: list[int] = []
    for part in parts:
        if isinstance(part, str):
            tokens += tokenizer.encode(part)
        else:
            tokens.append(tokenizer.timestamp_begin + round(part * 50))
    heard = Heard(Attempt(tuple(tokens), "", avg_logprob=-0.2, no_speech_prob=0.0))
    return segments_of_window(engine.whisper, tokenizer, Cut(STRETCHES), heard, OPTIONS)


def test_a_window_without_timestamps_is_one_segment_over_all_of_it(tiny_en: Engine) -> None:
    [segment] = heard_in_window(tiny_en, " Good day.")
    assert (segment.text, segment.start, segment.end) == (" Good day.", 2.0, 10.0)


def test_timestamps_divide_a_window_into_segments(tiny_en: Engine) -> None:
    segments = heard_in_window(tiny_en, 0.5, " Good", 2.0, 2.0, " day.", 3.0)
    times = [(segment.start, segment.end) for segment in segments]
    assert said(segments) == [" Good", " day."]
    assert times == [pytest.approx((2.5, 4.0)), pytest.approx((8.0, 9.0))]
