"""What becomes of faster-whisper's segments."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from faster_whisper.transcribe import Segment, Word
from hypothesis import given
from hypothesis import strategies as st

from serve_app.audio.clip import SAMPLE_RATE_HZ, AudioClip
from serve_app.engine.segments import LOWEST_LOGPROB, to_transcript
from serve_app.transcript import Transcript


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
