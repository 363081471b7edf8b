"""Our pipelines give the text of faster-whisper's own, on real speech and a real model."""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from faster_whisper import BatchedInferencePipeline

from serve_app.audio.clip import AudioClip
from serve_app.engine.engine import Engine
from serve_app.engine.transcription import transcribe
from serve_app.options import TranscribeOptions
from serve_app.transcript import Segment
from tests.unit.clips import chunk, clip_of, sentences

LONG = pytest.mark.long
ONCE: dict[str, Any] = {"language": "en", "temperature": (0.0,)}
"""Temperature 0, as above it no two runs need to agree."""


@pytest.fixture(scope="module")
def clip() -> AudioClip:
    """More than half a minute of English sentences with pauses."""
    chance = np.random.default_rng(2)
    pieces = []
    for sentence in sentences(["en"]) * 3:
        pieces += [sentence, np.zeros(chance.integers(10_000, 36_000), np.float32)]
    return clip_of(np.concatenate(pieces))


def assert_same_text(ours: Sequence[Any], theirs: Sequence[Any]) -> None:
    """The same segments to the letter, and as probable."""
    texts = [[(s.text, tuple(s.tokens)) for s in each] for each in (ours, theirs)]
    assert texts[0] == texts[1]
    for name in ("avg_logprob", "no_speech_prob", "compression_ratio"):
        figures = [[getattr(s, name) for s in each] for each in (ours, theirs)]
        assert figures[0] == pytest.approx(figures[1], abs=0.02), name


def words_of(segments: Sequence[Any]) -> list[Any]:
    return [word for segment in segments for word in segment.words or ()]


def plain(engine: Engine, clip: AudioClip, given: dict[str, Any]) -> list[Any]:
    """What faster-whisper's own batched pipeline hears."""
    segments, _ = BatchedInferencePipeline(engine.whisper).transcribe(clip.float32(), **given)
    return list(segments)


@pytest.mark.parametrize(
    "given",
    [
        {"word_timestamps": True},
        pytest.param({"word_timestamps": True, "without_timestamps": False}, marks=LONG),
        {"hotwords": "counting foxes", "initial_prompt": "A dog, a fox.", "beam_size": 1},
    ],
)
def test_the_batched_pipeline_without_recovery(
    tiny_en: Engine, clip: AudioClip, given: dict[str, Any]
) -> None:
    said = {**ONCE, **given, "batch_size": 4, "chunk_length": 10}
    ours = heard(tiny_en, clip, TranscribeOptions(**said, recover=False))
    theirs = plain(tiny_en, clip, said)
    assert_same_text(ours, theirs)
    assert len(ours) > 1
    assert [one.end for one in ours] == pytest.approx([one.end for one in theirs], abs=0.02)
    pairs = list(zip(words_of(ours), words_of(theirs), strict=True))
    assert bool(pairs) is bool(given.get("word_timestamps"))
    for our, their in pairs:
        assert our.word == their.word
        assert our.probability == pytest.approx(their.probability, abs=0.02)
        # Words that alignment has stretched are cut in another way.
        assert (our.start, our.end) == pytest.approx((their.start, their.end), abs=0.3)


@pytest.mark.parametrize("multilingual", [True, pytest.param(False, marks=LONG)])
@pytest.mark.parametrize("language", [None, pytest.param("en", marks=LONG)])
def test_windows_in_several_languages_without_recovery(
    base: Engine, language: str | None, multilingual: bool
) -> None:
    clip, _ = chunk(["en/quick_brown_fox", "pt/pangrama", "it/pangrama"])
    said: dict[str, Any] = {"language": language, "multilingual": multilingual}
    said |= {"batch_size": 8, "chunk_length": 5}
    ours = heard(base, clip, TranscribeOptions(**said, recover=False))
    assert_same_text(ours, plain(base, clip, said))
    assert len(ours) == 3


@pytest.mark.parametrize(
    "given", [{"word_timestamps": True}, {"vad_filter": False, "prefix": "So", "beam_size": 1}]
)
def test_the_sequential_pipeline(tiny_en: Engine, clip: AudioClip, given: dict[str, Any]) -> None:
    ours = heard(tiny_en, clip, TranscribeOptions(**ONCE, batch_size=1, **given))
    said = {"vad_filter": True, **ONCE, **given}
    segments, _ = tiny_en.whisper.transcribe(clip.float32(), **said)
    theirs = list(segments)
    assert_same_text(ours, theirs)
    end = int(clip.seconds * 1000) / 1000
    assert [timed(one, end) for one in ours] == [timed(one, end) for one in theirs]
    assert len(ours) > 1


def heard(engine: Engine, clip: AudioClip, options: TranscribeOptions) -> Sequence[Segment]:
    return asyncio.run(transcribe(engine, clip, options)).segments


def timed(segment: Any, end: float) -> tuple[Any, ...]:
    """``end``: of the audio, past which faster-whisper's times may point."""

    def times(part: Any) -> tuple[float, float]:
        return min(round(part.start, 3), end), min(round(part.end, 3), end)

    words = [(word.word, *times(word)) for word in segment.words or ()]
    return (*times(segment), segment.seek, words)
