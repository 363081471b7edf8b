"""Which pipeline a request runs on, what it is told, and what becomes of its segments."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from faster_whisper.transcribe import Segment, Word
from hypothesis import given
from hypothesis import strategies as st
from serve_app.engine.pipeline_call import (
    LOWEST_LOGPROB,
    WINDOW_SECONDS,
    clips_within,
    expected_work_seconds,
    is_batched,
    pipeline_arguments,
    to_transcript,
)

from serve_app.audio.clip import SAMPLE_RATE_HZ, AudioClip
from serve_app.options import TranscribeOptions, VadParameters
from serve_app.transcript import Transcript

LONG = 300.0


def options(**given: Any) -> TranscribeOptions:
    return TranscribeOptions(**given)


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


@pytest.mark.parametrize(
    ("clips", "seconds", "expected"),
    [
        (None, 10.0, None),
        (((0.0, 5.0),), 10.0, [(0.0, 5.0)]),
        (((2.0, None),), 10.0, [(2.0, 10.0)]),
        (((2.0, 50.0),), 10.0, [(2.0, 10.0)]),
        (((0.0, 5.0), (9.0, 12.0), (12.0, None)), 10.0, [(0.0, 5.0), (9.0, 10.0)]),
        (((10.0, None),), 10.0, []),
        (((0.0, None),), 0.0, []),
    ],
)
def test_clips_are_cut_to_the_audio(clips: Any, seconds: float, expected: Any) -> None:
    assert clips_within(options(clip_timestamps=clips), seconds) == expected


@pytest.mark.parametrize(
    ("given", "seconds", "batched"),
    [
        ({}, LONG, True),
        ({"batch_size": 1}, LONG, False),
        ({"batch_size": 1}, 5.0, False),
        ({"initial_prompt": (1, 2)}, 5.0, False),
        ({"initial_prompt": "Names: Ada"}, 5.0, True),
        ({"vad_filter": False}, WINDOW_SECONDS - 0.01, True),
        ({"vad_filter": False}, WINDOW_SECONDS, False),
        ({"vad_filter": False, "chunk_length": 10}, 9.99, True),
        ({"vad_filter": False, "chunk_length": 10}, 10.0, False),
        ({"clip_timestamps": ((0.0, 30.0), (40.0, 60.0))}, LONG, True),
        ({"clip_timestamps": ((0.0, 30.1),)}, LONG, False),
        ({"clip_timestamps": ((0.0, 30.1),)}, 20.0, True),
        ({"clip_timestamps": ((200.0, None),)}, LONG, False),
        ({"clip_timestamps": ((0.0, 5.0),), "vad_filter": False}, LONG, True),
    ],
)
def test_the_batched_pipeline_runs_what_it_can(
    given: dict[str, Any], seconds: float, batched: bool
) -> None:
    assert is_batched(options(**given), seconds) is batched


def test_only_the_batched_pipeline_is_told_a_batch_size() -> None:
    assert pipeline_arguments(options(batch_size=4), 5.0, batched=True)["batch_size"] == 4
    assert "batch_size" not in pipeline_arguments(options(batch_size=1), 5.0, batched=False)


def test_each_pipeline_gets_clips_in_its_own_form() -> None:
    given = options(clip_timestamps=((0.0, 1.5), (2.0, None)))
    batched = pipeline_arguments(given, 4.0, batched=True)
    sequential = pipeline_arguments(given, 4.0, batched=False)
    assert batched["clip_timestamps"] == [{"start": 0.0, "end": 1.5}, {"start": 2.0, "end": 4.0}]
    assert sequential["clip_timestamps"] == [0.0, 1.5, 2.0, 4.0]


@pytest.mark.parametrize(
    ("given", "seconds", "detects_language", "windows"),
    [
        ({}, 5.0, False, 1),
        ({}, 0.0, True, 0),
        ({}, 61.0, False, 3),
        ({}, 5.0, True, 2),
        ({"chunk_length": 10}, 61.0, False, 7),
        ({"batch_size": 1}, 61.0, True, 3),
        ({"clip_timestamps": ((0.0, 40.0), (50.0, 60.0))}, 90.0, False, 3),
    ],
)
def test_work_is_expected_in_whole_windows(
    given: dict[str, Any], seconds: float, detects_language: bool, windows: int
) -> None:
    work = expected_work_seconds(options(**given), seconds, detects_language=detects_language)
    assert work == windows * WINDOW_SECONDS


@pytest.mark.parametrize("batched", [True, False])
def test_what_was_not_said_is_left_to_the_pipeline(batched: bool) -> None:
    arguments = pipeline_arguments(options(), 5.0, batched=batched)
    assert not {"without_timestamps", "vad_parameters", "clip_timestamps"} & set(arguments)


def test_what_was_said_is_passed_on() -> None:
    given = options(
        without_timestamps=False,
        vad_parameters=VadParameters(threshold=0.3),
        temperature=(0.0, 0.5),
        suppress_tokens=(),
        initial_prompt=(5, 6),
    )
    arguments = pipeline_arguments(given, 5.0, batched=False)
    assert arguments["without_timestamps"] is False
    assert arguments["vad_parameters"] == {"threshold": 0.3}
    assert arguments["temperature"] == [0.0, 0.5]
    assert (arguments["suppress_tokens"], arguments["initial_prompt"]) == ([], [5, 6])


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
