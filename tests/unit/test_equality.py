"""Our pipelines give the segments of faster-whisper's own, on real speech and a real model."""

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
from tests.unit.clips import clip_of, sentences

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


def as_heard(segment: Any, end: float) -> tuple[Any, ...]:
    """``end``: of the audio, past which faster-whisper's times may point."""

    def times(part: Any) -> tuple[float, float]:
        return min(round(part.start, 3), end), min(round(part.end, 3), end)

    words = segment.words and [(word.word, *times(word)) for word in segment.words]
    return (*times(segment), segment.text, tuple(segment.tokens), segment.seek, words)


def assert_equal(clip: AudioClip, ours: Sequence[Any], theirs: Sequence[Any]) -> None:
    end = int(clip.seconds * 1000) / 1000
    assert [as_heard(s, end) for s in ours] == [as_heard(s, end) for s in theirs]
    for name in ("avg_logprob", "no_speech_prob", "compression_ratio"):
        figures = [[getattr(s, name) for s in each] for each in (ours, theirs)]
        assert figures[0] == pytest.approx(figures[1], abs=0.02), name


@pytest.mark.parametrize(
    "given",
    [
        {"word_timestamps": True},
        {"word_timestamps": True, "without_timestamps": False},
        {"hotwords": "counting foxes", "initial_prompt": "A dog, a fox.", "beam_size": 1},
    ],
)
def test_the_batched_pipeline(tiny_en: Engine, clip: AudioClip, given: dict[str, Any]) -> None:
    options = TranscribeOptions(**ONCE, batch_size=4, chunk_length=10, **given)
    ours = asyncio.run(transcribe(tiny_en, clip, options)).segments
    said = {**ONCE, **given, "chunk_length": 10}
    pipeline = BatchedInferencePipeline(tiny_en.whisper)
    segments, _ = pipeline.transcribe(clip.float32(), batch_size=4, **said)
    assert_equal(clip, ours, list(segments))
    assert len(ours) > 1


@pytest.mark.parametrize(
    "given", [{"word_timestamps": True}, {"vad_filter": False, "prefix": "So", "beam_size": 1}]
)
def test_the_sequential_pipeline(tiny_en: Engine, clip: AudioClip, given: dict[str, Any]) -> None:
    options = TranscribeOptions(**ONCE, batch_size=1, **given)
    ours = asyncio.run(transcribe(tiny_en, clip, options)).segments
    said = {"vad_filter": True, **ONCE, **given}
    segments, _ = tiny_en.whisper.transcribe(clip.float32(), **said)
    assert_equal(clip, ours, list(segments))
    assert len(ours) > 1
