"""The transcripts of a file's channels become one."""

import pytest

from serve_app.transcript import Segment, Transcript, joined


def segment(start: float, text: str) -> Segment:
    return Segment(start, start + 1, text, -0.5, 0.0, 1.0, 0.0, 0, (), None)


def channel(
    language: str, speech_seconds: float, coverage: float | None, *segments: Segment
) -> Transcript:
    return Transcript(segments, language, 0.9, 20.0, speech_seconds, coverage, speech_seconds / 10)


AGENT = channel("de", 6.0, 1.0, segment(0.0, " Grüezi."), segment(8.0, " Adieu."))
CALLER = channel("en", 2.0, 0.5, segment(4.0, " Hello."))
SILENT = channel("en", 0.0, None)


def test_segments_come_in_order_of_time_and_say_their_channel() -> None:
    whole = joined([SILENT, AGENT, CALLER])
    said = [(one.channel, one.text) for one in whole.segments]
    assert said == [(1, " Grüezi."), (2, " Hello."), (1, " Adieu.")]
    assert whole.channels == (SILENT, AGENT, CALLER)


def test_the_language_is_that_of_the_channel_on_which_most_is_said() -> None:
    assert joined([CALLER, AGENT]).language == "de"


def test_speech_is_added_and_its_coverage_weighted() -> None:
    whole = joined([AGENT, CALLER, SILENT])
    assert (whole.duration_seconds, whole.speech_seconds) == (20, 8)
    assert whole.speech_coverage == pytest.approx(7 / 8)
    assert whole.engine_seconds == pytest.approx(0.6)
    assert joined([SILENT, SILENT]).speech_coverage is None
