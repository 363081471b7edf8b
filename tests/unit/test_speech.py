"""Where speech is heard, how it is cut into windows, and which pipeline hears them."""

from typing import Any

import numpy as np
import pytest
from faster_whisper.feature_extractor import FeatureExtractor
from faster_whisper.vad import VadOptions, collect_chunks, get_speech_timestamps
from hypothesis import given
from hypothesis import strategies as st

from serve_app.audio.clip import INT16_SCALE, SAMPLE_RATE_HZ, AudioClip
from serve_app.engine.request import WINDOW_SECONDS
from serve_app.engine.speech import (
    SILENCE_PEAK,
    Cut,
    Samples,
    Stretch,
    as_dicts,
    audible,
    clips_within,
    cut_clips,
    cut_speech,
    expected_work_seconds,
    find_speech,
    is_batched,
    total_samples,
    uses_vad,
)
from serve_app.engine.window import context_seconds
from serve_app.options import TranscribeOptions, VadParameters
from tests.unit.clips import sentences

QUIETEST = round(SILENCE_PEAK * INT16_SCALE)
"""What is heard of int16 samples."""

RANDOM_SAMPLES = np.random.default_rng(3).normal(0, 0.1, 4_000).astype(np.float32)
GAPS = st.integers(0, 40)
LENGTHS = st.integers(1, 600)


@pytest.fixture(scope="module")
def speech_of_many() -> Samples:
    """A minute of sentences in several languages, with pauses of every length between them."""
    chance = np.random.default_rng(1)
    pieces: list[Samples] = []
    for sentence in sentences()[:16]:
        pieces += [sentence, np.zeros(chance.integers(0, 2 * SAMPLE_RATE_HZ), np.float32)]
    return np.concatenate(pieces)


@st.composite
def stretches(draw: st.DrawFn) -> list[Stretch]:
    """Ascending and apart, as VAD gives them."""
    found, position = [], 0
    for gap, length in draw(st.lists(st.tuples(GAPS, LENGTHS), min_size=1, max_size=12)):
        found.append((position + gap, position + gap + length))
        position += gap + length
    return found


def assert_equal_to_collect_chunks(
    samples: Samples, speech: list[Stretch], longest_seconds: float
) -> None:
    chunks, about = collect_chunks(samples, as_dicts(speech), max_duration=longest_seconds)
    # Before a stretch that is too long by itself, faster-whisper makes a window of nothing.
    expected = [(c, a) for c, a in zip(chunks, about, strict=True) if len(c)]
    cuts = cut_speech(speech, longest_seconds)
    assert [cut.offset_seconds for cut in cuts] == [a["offset"] for _, a in expected]
    assert [cut.seconds for cut in cuts] == [a["duration"] for _, a in expected]
    for cut, (chunk, _) in zip(cuts, expected, strict=True):
        assert np.array_equal(cut.audio(samples), chunk)


@given(stretches(), st.data())
def test_random_stretches_share_windows_as_in_faster_whisper(
    speech: list[Stretch], data: st.DataObject
) -> None:
    samples = np.resize(RANDOM_SAMPLES, speech[-1][1])
    exactly_full = st.integers(1, len(speech)).map(lambda count: total_samples(speech[:count]))
    longest_samples = data.draw(st.integers(1, 800) | exactly_full)
    assert_equal_to_collect_chunks(samples, speech, longest_samples / SAMPLE_RATE_HZ)


@pytest.mark.parametrize("chunk_length", [None, 5, 30])
@pytest.mark.parametrize(
    "vad",
    [None, {}, {"threshold": 0.3}, {"min_silence_duration_ms": 500, "max_speech_duration_s": 3.0}],
)
def test_real_speech_is_found_and_cut_as_in_faster_whispers_batched_pipeline(
    speech_of_many: Samples, chunk_length: int | None, vad: dict[str, Any] | None
) -> None:
    options = TranscribeOptions(
        chunk_length=chunk_length, vad_parameters=None if vad is None else VadParameters(**vad)
    )
    longest = chunk_length or 30
    given = {"min_silence_duration_ms": 160} if not vad else dict(vad)
    expected = get_speech_timestamps(
        speech_of_many, VadOptions(**{**given, "max_speech_duration_s": longest})
    )
    speech = find_speech(speech_of_many, options, batched=True)
    assert as_dicts(speech) == expected
    assert len(speech) > 3
    assert_equal_to_collect_chunks(speech_of_many, speech, longest)


@pytest.mark.parametrize("vad", [None, {"min_silence_duration_ms": 300}])
def test_real_speech_is_found_as_in_faster_whispers_sequential_pipeline(
    speech_of_many: Samples, vad: dict[str, Any] | None
) -> None:
    options = TranscribeOptions(vad_parameters=None if vad is None else VadParameters(**vad))
    speech = find_speech(speech_of_many, options, batched=False)
    expected = get_speech_timestamps(speech_of_many, VadOptions(**(vad or {})))
    assert as_dicts(speech) == expected


def test_without_speech_there_are_no_windows() -> None:
    assert cut_speech([], 30.0) == []


def test_a_clip_keeps_its_place_in_the_audio() -> None:
    first, second = cut_clips([(0.0, 1.5), (2.0, 4.0)])
    assert (first.stretches, first.offset_seconds) == (((0, 24_000),), 0.0)
    assert (second.stretches, second.offset_seconds, second.seconds) == (
        ((32_000, 64_000),),
        2.0,
        2.0,
    )


def test_a_clip_of_less_than_a_sample_is_left_out() -> None:
    assert cut_clips([(1.0, 1.0 + 1e-9)]) == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, True),
        ({"vad_filter": False}, False),
        ({"clip_timestamps": ((0.0, 5.0),)}, False),
    ],
)
def test_clips_that_the_caller_selects_replace_vad(given: dict[str, Any], expected: bool) -> None:
    assert uses_vad(TranscribeOptions(**given)) is expected


@pytest.mark.parametrize(
    ("peak", "is_heard"), [(0, False), (QUIETEST - 1, False), (QUIETEST, True)]
)
@pytest.mark.parametrize("sign", [-1, 1])
def test_what_is_no_louder_than_line_noise_is_silence(peak: int, is_heard: bool, sign: int) -> None:
    samples = np.zeros(16_000, np.int16)
    samples[500] = sign * peak
    assert (audible(AudioClip(samples, 1.0)) is not None) is is_heard


@pytest.mark.parametrize(("n_samples", "is_heard"), [(0, False), (1_600, False), (4_000, True)])
def test_audio_that_is_shorter_than_any_word_is_silence(n_samples: int, is_heard: bool) -> None:
    noise = np.full(n_samples, 1_000, np.int16)
    assert (audible(AudioClip(noise, n_samples / SAMPLE_RATE_HZ)) is not None) is is_heard


def test_a_window_of_several_stretches_holds_them_one_after_the_other() -> None:
    cut = Cut(((2, 4), (7, 8)), 0.0)
    assert cut.audio(np.arange(10, dtype=np.float32)).tolist() == [2.0, 3.0, 7.0]
    assert cut.seconds == 3 / SAMPLE_RATE_HZ


def test_a_window_knows_its_stretches_on_its_own_time_line() -> None:
    samples = np.zeros(10 * SAMPLE_RATE_HZ, np.float32)
    window = TWO_STRETCHES.window(samples, FeatureExtractor(feature_size=80))
    assert window.speech == TWO_STRETCHES.intervals == ((0.0, 1.0), (1.0, 3.0))
    assert window.seconds == 3.0
    assert window.mel.shape == (80, 300)


TWO_STRETCHES = Cut(
    ((2 * SAMPLE_RATE_HZ, 3 * SAMPLE_RATE_HZ), (7 * SAMPLE_RATE_HZ, 9 * SAMPLE_RATE_HZ)), 40.0
)
"""2 to 3 s and 7 to 9 s of a clip."""


@pytest.mark.parametrize(
    ("seconds", "among", "original"),
    [
        (0.0, 0.0, 2.0),
        (0.75, 0.75, 2.75),
        (1.5, 1.5, 7.5),
        # Where two stretches meet, what else is said there decides.
        (1.0, 0.9, 3.0),
        (1.0, 1.1, 7.0),
        (1.0, 1.0, 7.0),
        # Nothing lies outside its stretch.
        (1.2, 0.9, 3.0),
        (0.8, 1.1, 7.0),
        (-1.0, -1.0, 2.0),
        (9.0, 9.0, 9.0),
    ],
)
def test_a_time_of_a_window_lies_in_a_stretch_of_the_clip(
    seconds: float, among: float, original: float
) -> None:
    assert TWO_STRETCHES.original(seconds, among) == pytest.approx(original)


@given(stretches(), st.data())
def test_times_of_a_window_keep_their_order_in_the_clip(
    speech: list[Stretch], data: st.DataObject
) -> None:
    cut = Cut(tuple(speech), 0.0)
    seconds = sorted(data.draw(st.lists(st.floats(0.0, cut.seconds), max_size=8)))
    found = [cut.original(time, among=time) for time in seconds]
    assert found == sorted(found)
    for time in found:
        assert any(start - 1e-6 <= time * SAMPLE_RATE_HZ <= end + 1e-6 for start, end in speech)


LONG = 300.0


def options(**given: Any) -> TranscribeOptions:
    return TranscribeOptions(**given)


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
        ({"initial_prompt": (1, 2)}, 5.0, True),
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


@pytest.mark.parametrize(
    ("given", "seconds", "windows"),
    [
        ({}, 5.0, 1),
        ({}, 0.0, 0),
        ({}, 61.0, 3),
        ({"chunk_length": 10}, 61.0, 7),
        ({"batch_size": 1}, 61.0, 3),
        ({"batch_size": 1, "chunk_length": 10}, 61.0, 3),
        ({"clip_timestamps": ((0.0, 40.0), (50.0, 60.0))}, 90.0, 3),
        ({"clip_timestamps": ((80.0, None),)}, 60.0, 0),
    ],
)
def test_work_is_expected_in_whole_windows(
    given: dict[str, Any], seconds: float, windows: int
) -> None:
    assert expected_work_seconds(options(**given), seconds) == windows * WINDOW_SECONDS


@pytest.mark.parametrize(
    ("given", "seconds", "windows"),
    [
        ({}, 5.0, [5.0]),
        ({}, 0.0, []),
        ({}, 61.0, [30.0, 30.0, 1.0]),
        ({"chunk_length": 10}, 24.0, [10.0, 10.0, 4.0]),
        ({"clip_timestamps": ((0.0, 5.0), (50.0, 65.0))}, 90.0, [5.0, 15.0]),
        ({"batch_size": 1}, 31.0, [30.0, 30.0]),
    ],
)
def test_with_partial_context_short_windows_are_less_work(
    given: dict[str, Any], seconds: float, windows: list[float]
) -> None:
    work = expected_work_seconds(options(**given), seconds, partial_context=True)
    assert work == sum(map(context_seconds, windows))


@pytest.mark.parametrize("batch_size", [1, 8])
def test_finding_the_language_is_not_more_work(batch_size: int) -> None:
    known, unknown = (options(language=code, batch_size=batch_size) for code in ("en", None))
    assert expected_work_seconds(unknown, 61.0) == expected_work_seconds(known, 61.0)
