"""Transcripts as Azure Speech answers them: fast transcription, and short audio.

The first counts in milliseconds, the second in ticks of 100 ns.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from math import exp
from typing import Any

from serve_app.api.render.verbose import text_of
from serve_app.transcript import Segment, Transcript, Word

TICKS_PER_SECOND = 10_000_000


def transcription(transcript: Transcript, locale: str) -> dict[str, Any]:
    """The answer of a fast transcription, with a phrase for each segment."""
    return {
        "durationMilliseconds": _milliseconds(transcript.duration_seconds),
        "combinedPhrases": [{"text": text_of(transcript.segments)}],
        "phrases": [_phrase(segment, locale) for segment in transcript.segments],
    }


def recognition(transcript: Transcript, *, is_detailed: bool) -> dict[str, Any]:
    """The answer to short audio: all that is said, as one phrase."""
    segments = transcript.segments
    if not segments:
        is_silent = transcript.speech_seconds == 0
        status = "InitialSilenceTimeout" if is_silent else "NoMatch"
        return {
            "RecognitionStatus": status,
            "Offset": 0,
            "Duration": ticks(transcript.duration_seconds),
        }
    text = text_of(segments)
    found: dict[str, Any] = {
        "RecognitionStatus": "Success",
        "DisplayText": text,
        "Offset": ticks(segments[0].start),
        "Duration": ticks(segments[-1].end - segments[0].start),
    }
    if is_detailed:
        plain = lexical(text)
        forms = {"Lexical": plain, "ITN": plain, "MaskedITN": plain, "Display": text}
        found["NBest"] = [{"Confidence": _confidence(segments), **forms}]
    return found


def _phrase(segment: Segment, locale: str) -> dict[str, Any]:
    words = [
        {"text": word.word.strip(), **_span(word.start, word.end)} for word in segment.words or ()
    ]
    return {
        **_span(segment.start, segment.end),
        "text": segment.text.strip(),
        "words": words,
        "locale": locale,
        "confidence": _confidence([segment]),
    }


def _span(start: float, end: float) -> dict[str, int]:
    offset = _milliseconds(start)
    return {"offsetMilliseconds": offset, "durationMilliseconds": _milliseconds(end) - offset}


def _confidence(segments: Sequence[Segment]) -> float:
    """The mean probability of the words, or of the tokens where no words are known."""
    words: Iterable[Word] = (word for segment in segments for word in segment.words or ())
    known = [word.probability for word in words] or [exp(one.avg_logprob) for one in segments]
    return round(sum(known) / len(known), 6)


def lexical(text: str) -> str:
    """``text`` in lower case and without punctuation; numbers stay as Whisper writes them."""
    kept = (c for c in text.lower() if c in "'’-" or unicodedata.category(c)[0] != "P")
    return " ".join("".join(kept).split())


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def ticks(seconds: float) -> int:
    """Azure's time."""
    return round(seconds * TICKS_PER_SECOND)
