"""SRT and WebVTT, read back by libraries of others."""

import json
import textwrap
import threading
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import srt as srt_reader
import webvtt
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from serve_app.api.app import build_api
from serve_app.api.render import subtitles
from serve_app.api.render.subtitles import Cue, cues_of, srt, vtt
from serve_app.assets import GOLDEN_CLIP
from serve_app.settings import ApiKey, AppSettings, SubtitleSettings
from serve_app.transcript import Segment, Transcript, Word
from tests.unit.deaf_service import DeafService

DEFAULTS = SubtitleSettings()


def said(text: str, start: float = 0.0, each: float = 0.4) -> list[Word]:
    """The words of ``text``, ``each`` so many seconds long; "|" parts words without a space."""
    words: list[Word] = []
    for spaced in text.split():
        for n, one in enumerate(spaced.split("|")):
            at = round(start + len(words) * each, 3)
            words.append(Word(at, round(at + each, 3), one if n else f" {one}", 0.9))
    return words


def transcript_of(*segments: Sequence[Word], seconds: float = 600.0) -> Transcript:
    said = [
        Segment(
            start=words[0].start,
            end=words[-1].end,
            text="".join(word.word for word in words),
            avg_logprob=-0.2,
            no_speech_prob=0.0,
            compression_ratio=1.0,
            temperature=0.0,
            seek=0,
            tokens=(),
            words=tuple(words),
        )
        for words in segments
    ]
    return Transcript(tuple(said), "en", 1.0, seconds, seconds)


def lines_of(text: str, each: float = 0.2, **settings: Any) -> list[tuple[str, ...]]:
    cues = cues_of(transcript_of(said(text, each=each)), SubtitleSettings(**settings))
    return [cue.lines for cue in cues]


def test_times_are_those_of_the_words_to_the_millisecond() -> None:
    words = [Word(0.001, 1.0, " One", 0.9), Word(1.0, 3661.999, " two", 0.9)]
    cues = cues_of(transcript_of(words, seconds=9999.0), SubtitleSettings(max_seconds=30))
    [first, second] = srt_reader.parse(srt(cues))
    assert srt_reader.timedelta_to_srt_timestamp(first.start) == "00:00:00,001"
    assert srt_reader.timedelta_to_srt_timestamp(second.end) == "01:01:01,999"
    assert [c.end for c in webvtt.from_string(vtt(cues)).captions] == [
        "00:00:01.000",
        "01:01:01.999",
    ]


def test_lines_of_a_cue_are_about_equally_long() -> None:
    text = "After that nobody heard of him again until"
    assert lines_of(text, line_characters=40) == [("After that nobody heard", "of him again until")]


@given(st.lists(st.text("ab", min_size=1, max_size=12), min_size=1, max_size=30))
def test_lines_are_as_narrow_as_they_can_be_without_another_one(words: list[str]) -> None:
    most = DEFAULTS.line_characters
    for lines in lines_of(" ".join(words), each=0.01):
        tried = [textwrap.wrap(" ".join(lines), width) for width in range(12, most + 1)]
        assert list(lines) == next(one for one in tried if len(one) == len(tried[-1]))


def test_a_word_is_measured_once_however_long_the_speech_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = "And then he said that nobody, in all these years, had asked him for it. "
    segments = [said(text, start=4.0 * n, each=0.25) for n in range(900)]
    measured: list[str] = []
    columns = subtitles._columns

    def noting(text: str) -> int:
        measured.append(text)
        return columns(text)

    monkeypatch.setattr(subtitles, "_columns", noting)
    assert len(cues_of(transcript_of(*segments, seconds=3600.0), DEFAULTS)) == 900
    assert len(measured) == 900 * len(text.split())


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/audio/transcriptions", {"response_format": "srt"}),
        ("/v1/audio/transcriptions", {"response_format": "vtt", "stream": "true"}),
        (
            "/v1/speech-to-text",
            {"model_id": "scribe_v1", "additional_formats": json.dumps([{"format": "srt"}])},
        ),
    ],
)
def test_other_requests_are_served_meanwhile(
    path: str, fields: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: dict[str, int] = {}

    class Service(DeafService):
        async def transcribe(self, *args: Any) -> Transcript:
            threads["event loop"] = threading.get_ident()
            return transcript_of(said("Hello"))

    def noted(transcript: Transcript, settings: SubtitleSettings) -> list[Cue]:
        threads["subtitles"] = threading.get_ident()
        return cues_of(transcript, settings)

    for user in ("api.facades.openai_answer", "api.render.elevenlabs"):
        monkeypatch.setattr(f"serve_app.{user}.cues_of", noted)
    client = TestClient(build_api(Service(), AppSettings(), ApiKey()))
    answer = client.post(path, files={"file": GOLDEN_CLIP.read_bytes()}, data=fields)
    assert "Hello" in answer.text
    assert threads["subtitles"] != threads["event loop"]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("one two three four. five six seven eight", "one two three four."),
        ("one two three four, five six seven eight", "one two three four,"),
        ("one. two three four five six seven eight", "one. two three four five"),
        ("one two, three four. five six seven eight", "one two, three four."),
    ],
)
def test_a_full_cue_ends_with_a_sentence_or_a_clause_if_one_ends_in_its_second_half(
    text: str, first: str
) -> None:
    assert lines_of(text, line_characters=26, lines=1)[0] == (first,)


def test_a_cue_is_not_longer_than_it_may_be() -> None:
    cues = cues_of(
        transcript_of(said("a b c d e f g h", each=1.0)), SubtitleSettings(max_seconds=3)
    )
    assert [cue.lines for cue in cues] == [("a b c",), ("d e f",), ("g h",)]


def test_what_is_said_fast_stays_to_be_read_up_to_the_next_cue() -> None:
    fast = said("Unbelievably fast", start=1.0, each=0.1)
    settings = SubtitleSettings(characters_per_second=10)
    [alone] = cues_of(transcript_of(fast), settings)
    assert (alone.start, alone.end) == (1000, 2700)
    first, _ = cues_of(transcript_of(fast, said("Then more", start=1.5)), settings)
    assert first.end == 1500
    [last] = cues_of(transcript_of(fast, seconds=2.0), settings)
    assert last.end == 2000


def test_marks_that_mean_something_to_the_formats_are_text() -> None:
    text = "a --> b <i>c</i> & {d}"
    cues = [Cue(0, 1000, (text, "second"))]
    [caption] = webvtt.from_string(vtt(cues)).captions
    assert caption.raw_text.startswith("a --&gt; b &lt;i&gt;c&lt;/i&gt; &amp; {d}")
    [subtitle] = srt_reader.parse(srt(cues))
    assert subtitle.content == "a → b <i>c</i> & {d}\nsecond"


def test_chinese_breaks_between_words_and_counts_double() -> None:
    text = "今天|天气|很好，|我们|一起|去|公园|散步|吧。"
    lines = [line for cue in lines_of(text, line_characters=10, lines=2) for line in cue]
    assert "".join(lines) == text.replace("|", "")
    assert all(len(line) <= 5 for line in lines)
    assert not any(line.startswith(("，", "。")) for line in lines)


def test_arabic_stays_in_logical_order() -> None:
    text = "مرحبا بكم في هذا البرنامج، شكرا."
    cues = cues_of(transcript_of(said(text)), DEFAULTS)
    assert " ".join(line for cue in cues for line in cue.lines) == text
    assert [c.content.replace("\n", " ") for c in srt_reader.parse(srt(cues))] == [text]


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("Python هي لغة برمجة", True),
        ("هي Python لغة برمجة", False),
        ("The word is سلام", False),
        ("2026 שנה טובה", False),
        ("123 ...", False),
    ],
)
def test_a_line_of_arabic_or_hebrew_that_begins_in_latin_is_marked(text: str, marked: bool) -> None:
    expected = f"\u200f{text}" if marked else text
    [subtitle] = srt_reader.parse(srt([Cue(0, 1000, (text,))]))
    [caption] = webvtt.from_string(vtt([Cue(0, 1000, (text,))])).captions
    assert (subtitle.content, caption.text) == (expected, expected)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("It costs 3|.5 well|-known euros", ("It costs", "3.5", "well-known", "euros")),
        ("그는 3|월|에 떠났다", ("그는 3월에", "떠났다")),
        ("データ|ー|を「|見る|」", ("データー", "を「見る」")),
        ("ภาษาของเร|า|ไ|ทย", ("ภาษาของเรา", "ไทย")),
        ("我用|Open|AI|写", ("我用", "OpenAI写")),
    ],
)
def test_a_line_breaks_only_where_the_script_allows_it(text: str, lines: tuple[str, ...]) -> None:
    assert lines_of(text, line_characters=10, lines=4) == [lines]


def test_text_without_words_is_broken_as_well_and_shares_its_time() -> None:
    [word] = said("x")
    segment = replace(transcript_of([word]).segments[0], text=" one two six ten", end=1.6, words=())
    cues = cues_of(
        Transcript((segment,), "en", 1.0, 9.0, 9.0),
        SubtitleSettings(line_characters=10, lines=1, characters_per_second=100),
    )
    assert [(cue.start, cue.end, cue.lines) for cue in cues] == [
        (0, 800, ("one two",)),
        (800, 1600, ("six ten",)),
    ]


def test_a_word_longer_than_a_line_is_not_cut() -> None:
    word = "Donaudampfschifffahrtsgesellschaft"
    assert lines_of(f"Die {word} fuhr", line_characters=12, lines=3) == [("Die", word, "fuhr")]


WORDS = st.lists(
    st.tuples(
        st.floats(0, 2),
        st.floats(0, 1.5),
        st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=20),
    ),
    min_size=1,
    max_size=40,
)


@given(WORDS, st.integers(1, 3), st.floats(0.5, 10))
def test_any_transcript_is_read_back_whole_and_in_order(
    timed: list[tuple[float, float, str]], n_lines: int, max_seconds: float
) -> None:
    words, at = [], 0.0
    for pause, length, text in timed:
        start = round(at + pause, 3)
        at = round(start + length, 3)
        words.append(Word(start, at, f" {text}", 0.5))
    settings = SubtitleSettings(lines=n_lines, max_seconds=max_seconds)
    cues = cues_of(transcript_of(words, seconds=at), settings)
    texts = [text for _, _, text in timed]
    assert " ".join(line for cue in cues for line in cue.lines).split(" ") == texts
    assert all(1 <= len(cue.lines) <= n_lines for cue in cues)
    for cue, following in pairwise(cues):
        assert cue.start < cue.end <= max(following.start, cue.start + 1)
    assert len(list(srt_reader.parse(srt(cues)))) == len(cues)
    assert len(webvtt.from_string(vtt(cues)).captions) == len(cues)
