"""Where speech is heard, and how it is cut into windows."""

from itertools import accumulate
from typing import Any

import numpy as np
import pytest
from faster_whisper.feature_extractor import FeatureExtractor
from faster_whisper.vad import VadOptions, collect_chunks, get_speech_timestamps
from hypothesis import given
from hypothesis import strategies as st

from serve_app.audio.clip import SAMPLE_RATE_HZ, Samples, as_float32
from serve_app.audio.level import SILENCE_PEAK
from serve_app.engine.scheduler import RequestClosed
from serve_app.engine.speech import (
    Cut,
    as_dicts,
    cut_clips,
    cut_speech,
    find_speech,
    is_audible,
    lead_seconds,
    total_samples,
    uses_vad,
)
from serve_app.engine.vad import BLOCK_CHUNKS, CHUNK_SAMPLES
from serve_app.options import TranscribeOptions, VadParameters
from serve_app.transcript import Stretch
from tests.unit.clips import clip_of, sentences
from tests.unit.traced_memory import traced

RANDOM_SAMPLES = np.random.default_rng(3).integers(-9_000, 9_000, 4_000).astype(np.int16)
GAPS = st.integers(0, 40)
LENGTHS = st.integers(1, 600)


@pytest.fixture(scope="module")
def speech_of_many() -> Samples:
    """A minute of sentences in several languages, with pauses of every length between them."""
    chance = np.random.default_rng(1)
    pieces = []
    for sentence in sentences()[:16]:
        pieces += [sentence, np.zeros(chance.integers(0, 2 * SAMPLE_RATE_HZ), np.float32)]
    return clip_of(np.concatenate(pieces)).samples


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
    cuts = cut_speech(speech, longest_seconds, 0.0)
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
        as_float32(speech_of_many), VadOptions(**{**given, "max_speech_duration_s": longest})
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
    expected = get_speech_timestamps(as_float32(speech_of_many), VadOptions(**(vad or {})))
    assert as_dicts(speech) == expected


@pytest.mark.parametrize("more_samples", [-CHUNK_SAMPLES, -30, 0, 1, 700])
def test_speech_is_found_across_blocks_as_in_one_piece(
    speech_of_many: Samples, more_samples: int
) -> None:
    length = 2 * BLOCK_CHUNKS * CHUNK_SAMPLES + more_samples
    samples = np.resize(speech_of_many, length)
    expected = get_speech_timestamps(as_float32(samples), VadOptions())
    assert as_dicts(find_speech(samples, TranscribeOptions(), batched=False)) == expected


def test_finding_speech_takes_little_memory_however_long_the_audio_is() -> None:
    ten_minutes = np.zeros(600 * SAMPLE_RATE_HZ, np.int16)
    with traced() as peak:
        find_speech(ten_minutes, TranscribeOptions(), batched=True)
    assert peak() < ten_minutes.nbytes


def test_the_search_for_speech_ends_with_its_request() -> None:
    def leave() -> None:
        raise RequestClosed

    with pytest.raises(RequestClosed):
        find_speech(np.zeros(100, np.int16), TranscribeOptions(), batched=True, go_on=leave)


def test_without_speech_there_are_no_windows() -> None:
    assert cut_speech([], 30.0, 0.3) == []


def said(*lengths_and_pauses: float) -> list[Stretch]:
    """Stretches of speech with pauses between them; their lengths in turn, in seconds."""
    edges = [round(seconds * SAMPLE_RATE_HZ) for seconds in accumulate(lengths_and_pauses)]
    return list(zip([0, *edges[1::2]], edges[::2], strict=True))


@pytest.mark.parametrize(
    ("vad", "expected"), [(None, 0.3), ({"speech_pad_ms": 1000}, 0.7), ({"speech_pad_ms": 30}, 0.0)]
)
def test_only_a_stretch_after_a_pause_begins_with_silence(
    vad: dict[str, Any] | None, expected: float
) -> None:
    options = TranscribeOptions(vad_parameters=None if vad is None else VadParameters(**vad))
    cuts = cut_speech(said(20.0, 1.0, 20.0), 30.0, lead_seconds(options))
    assert [cut.leads for cut in cuts] == [(0.0,), (pytest.approx(expected),)]


def test_the_first_window_begins_with_silence_if_the_clip_does() -> None:
    after_silence = [(start + SAMPLE_RATE_HZ, end + SAMPLE_RATE_HZ) for start, end in said(20.0)]
    assert [cut.leads for cut in cut_speech(after_silence, 30.0, 0.3)] == [(0.3,)]
    assert [cut.leads for cut in cut_speech(said(20.0), 30.0, 0.3)] == [(0.0,)]


def test_what_was_divided_within_speech_begins_with_it() -> None:
    cuts = cut_speech(said(20.0, 0.0, 20.0, 1.0, 5.0), 30.0, 0.3)
    assert [cut.leads for cut in cuts] == [(0.0,), (0.0, 0.3)]


def test_a_clip_keeps_its_place_in_the_audio() -> None:
    first, second = cut_clips([(0.0, 1.5), (2.0, 4.0)])
    assert first.stretches == ((0, 24_000),)
    assert (second.stretches, second.seconds) == (((32_000, 64_000),), 2.0)


@pytest.mark.parametrize("start", [1.001, 2.03, 8.03])
def test_a_clip_is_never_longer_than_a_window(start: float) -> None:
    (cut,) = cut_clips([(start, start + 30.0)])
    assert cut.seconds <= 30.0


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
    ("peak", "is_heard"),
    [(0, False), (SILENCE_PEAK - 1, False), (SILENCE_PEAK, True), (32_767, True)],
)
@pytest.mark.parametrize("sign", [-1, 1])
def test_what_is_no_louder_than_line_noise_is_silence(peak: int, is_heard: bool, sign: int) -> None:
    samples = np.zeros(16_000, np.int16)
    samples[500] = sign * peak
    assert is_audible(samples) is is_heard


def test_the_lowest_sample_is_loud() -> None:
    assert is_audible(np.full(16_000, -32_768, np.int16))


@pytest.mark.parametrize(("n_samples", "is_heard"), [(0, False), (1_600, False), (4_000, True)])
def test_audio_that_is_shorter_than_any_word_is_silence(n_samples: int, is_heard: bool) -> None:
    noise = np.full(n_samples, 1_000, np.int16)
    assert is_audible(noise) is is_heard


def test_a_window_of_several_stretches_holds_them_one_after_the_other() -> None:
    cut = Cut(((2, 4), (7, 8)))
    assert cut.audio(np.arange(10, dtype=np.int16)).tolist() == [2, 3, 7]
    assert cut.seconds == 3 / SAMPLE_RATE_HZ


def test_a_window_knows_its_stretches_on_its_own_time_line() -> None:
    samples = np.zeros(10 * SAMPLE_RATE_HZ, np.int16)
    window = TWO_STRETCHES.window(samples, FeatureExtractor(feature_size=80))
    assert TWO_STRETCHES.intervals == ((0.0, 1.0), (1.0, 3.0))
    assert window.seconds == 3.0
    assert window.mel.shape == (80, 300)


TWO_STRETCHES = Cut(
    ((2 * SAMPLE_RATE_HZ, 3 * SAMPLE_RATE_HZ), (7 * SAMPLE_RATE_HZ, 9 * SAMPLE_RATE_HZ))
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
    cut = Cut(tuple(speech))
    seconds = sorted(data.draw(st.lists(st.floats(0.0, cut.seconds), max_size=8)))
    found = [cut.original(time, among=time) for time in seconds]
    assert found == sorted(found)
    for time in found:
        assert any(start - 1e-6 <= time * SAMPLE_RATE_HZ <= end + 1e-6 for start, end in speech)
