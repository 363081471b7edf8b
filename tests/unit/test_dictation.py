"""Chunks of dictation, several utterances with pauses between them, as real models hear them."""

import asyncio
import re
from typing import Any

import pytest
from faster_whisper.vad import VadOptions

from serve_app.audio.clip import AudioClip
from serve_app.engine.coverage import Interval
from serve_app.engine.engine import Engine
from serve_app.engine.transcription import transcribe
from serve_app.options import TranscribeOptions
from serve_app.transcript import Segment, Transcript, Word
from tests.unit.clips import PAUSE_SECONDS, chunk

COUNTING, HELLO, FOX = "en/counting", "en/hello_world", "en/quick_brown_fox"
SAID = {
    COUNTING: "1 2 3 4 5 6 7 8 9 10",
    HELLO: "hello world",
    FOX: "the quick brown fox jumps over the lazy dog",
}
NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]

PADDING_SECONDS = VadOptions().speech_pad_ms / 1000
"""What VAD takes for speech around an utterance, in which alignment may see its words begin."""

LONG = pytest.mark.long
ORDERS = [
    [COUNTING, HELLO, FOX],
    [HELLO, FOX],
    pytest.param([FOX, COUNTING, HELLO], marks=LONG),
    pytest.param([FOX, HELLO], marks=LONG),
]


def hear(engine: Engine, clip: AudioClip, **given: Any) -> Transcript:
    return asyncio.run(transcribe(engine, clip, TranscribeOptions(**given)))


def spelt(text: str) -> str:
    """Letters and digits only, in lower case, numbers as digits."""
    words = re.findall(r"\w+", text.lower())
    return "".join(str(NUMBERS.index(word)) if word in NUMBERS else word for word in words)


def text_in(
    transcript: Transcript, span: Interval, reach_seconds: float = PAUSE_SECONDS / 2
) -> str:
    """What the segments say whose middle lies in the span or so near to it."""
    start, end = span
    return " ".join(
        segment.text
        for segment in transcript.segments
        if start - reach_seconds <= (segment.start + segment.end) / 2 < end + reach_seconds
    )


@pytest.mark.parametrize("model", ["tiny_en", "base"])
@pytest.mark.parametrize("clip_ids", ORDERS, ids=lambda ids: "+".join(i[3:8] for i in ids))
def test_no_utterance_of_a_chunk_is_lost(
    request: pytest.FixtureRequest, model: str, clip_ids: list[str]
) -> None:
    clip, spans = chunk(clip_ids)
    transcript = hear(request.getfixturevalue(model), clip, language="en")
    for clip_id, span in zip(clip_ids, spans, strict=True):
        assert spelt(text_in(transcript, span)) == spelt(SAID[clip_id])
    assert transcript.speech_coverage == 1.0


@pytest.mark.parametrize("model", ["tiny_en", "base"])
@pytest.mark.parametrize("clip_ids", ORDERS, ids=lambda ids: "+".join(i[3:8] for i in ids))
def test_every_segment_and_word_lies_in_its_utterance(
    request: pytest.FixtureRequest, model: str, clip_ids: list[str]
) -> None:
    clip, spans = chunk(clip_ids)
    options = {"language": "en", "word_timestamps": True}
    transcript = hear(request.getfixturevalue(model), clip, **options)
    assert len(transcript.segments) >= len(spans)
    for segment in transcript.segments:
        parts: list[Segment | Word] = [segment, *(segment.words or ())]
        for part in parts:
            assert any(
                start - PADDING_SECONDS <= part.start <= part.end <= end + PADDING_SECONDS
                for start, end in spans
            ), part


def test_utterances_that_faster_whisper_leaves_out_are_heard(base: Engine) -> None:
    said = [FOX, FOX, HELLO, HELLO]
    clip, _ = chunk(said)
    [plain] = hear(base, clip, language="en", recover=False).segments
    assert spelt(plain.text) == spelt(SAID[FOX])
    transcript = hear(base, clip, language="en")
    heard = " ".join(segment.text for segment in transcript.segments)
    assert spelt(heard) == spelt(" ".join(SAID[clip_id] for clip_id in said))
    assert transcript.speech_coverage == 1.0


# Languages


PORTUGUESE, JAPANESE = "pt/pangrama", "ja/konnichiwa_sekai"


@pytest.mark.parametrize(
    ("language", "multilingual"),
    [
        ("ru", True),
        ("ko", False),
        *(pytest.param(*given, marks=LONG) for given in (("ru", False), ("ko", True))),
        *(pytest.param("en", given, marks=LONG) for given in (False, True)),
    ],
)
def test_english_stays_english_whatever_language_is_given(
    base: Engine, language: str, multilingual: bool
) -> None:
    clip, _ = chunk([FOX])
    transcript = hear(base, clip, language=language, multilingual=multilingual)
    assert spelt(" ".join(s.text for s in transcript.segments)) == spelt(SAID[FOX])
    assert transcript.language == language


@pytest.mark.parametrize("multilingual", [False, True])
def test_a_wrong_language_gives_way_only_in_multilingual_audio(
    base: Engine, multilingual: bool
) -> None:
    clip, _ = chunk([JAPANESE])
    [segment] = hear(base, clip, language="en", multilingual=multilingual).segments
    if multilingual:
        assert spelt(segment.text) == "こんにちは世界"
    else:
        assert segment.text.isascii()


@pytest.mark.parametrize(
    "language", [None, *(pytest.param(code, marks=LONG) for code in ("en", "pt"))]
)
@pytest.mark.parametrize(("other", "said"), [(PORTUGUESE, "raposa"), (JAPANESE, "こんにちは世界")])
def test_windows_of_two_languages_keep_both(
    base: Engine, language: str | None, other: str, said: str
) -> None:
    clip, (english, foreign) = chunk([FOX, other])
    transcript = hear(base, clip, language=language, multilingual=True, chunk_length=4)
    assert spelt(text_in(transcript, english)) == spelt(SAID[FOX])
    assert said in spelt(text_in(transcript, foreign))
    assert transcript.speech_coverage == 1.0
