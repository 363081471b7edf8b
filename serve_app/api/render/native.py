"""The contract's transcript: its renderer and, by its types, its schema in the documentation."""

from typing import Annotated

from pydantic import Field
from typing_extensions import NotRequired, TypedDict

from serve_app.transcript import Segment, Transcript

Seconds = Annotated[float, Field(description="seconds from the start of the audio")]


class WordBody(TypedDict):
    """A word as in the text, often with a space before it."""

    start: Seconds
    end: Seconds
    word: str
    probability: float


class SegmentBody(TypedDict):
    """A stretch of speech."""

    start: Seconds
    end: Seconds
    text: str
    sequence_confidence: Annotated[
        float,
        Field(description="average log-probability of the segment's tokens, at most 0"),
    ]
    words: Annotated[list[WordBody] | None, Field(description="only with word_timestamps")]
    channel: NotRequired[
        Annotated[int, Field(description="counted from 0; there only with multichannel")]
    ]


class TranscriptBody(TypedDict):
    """The transcript of one file."""

    segments: list[SegmentBody]
    language: Annotated[str, Field(description="Whisper's code, such as en")]
    duration: Annotated[float, Field(description="seconds of audio received")]


def render(transcript: Transcript) -> TranscriptBody:
    """The contract's response body."""
    return {
        "segments": [_segment(segment) for segment in transcript.segments],
        "language": transcript.language,
        "duration": round(transcript.duration_seconds, 3),
    }


def _segment(segment: Segment) -> SegmentBody:
    words: list[WordBody] | None = None
    if segment.words is not None:
        words = [
            {"start": w.start, "end": w.end, "word": w.word, "probability": round(w.probability, 6)}
            for w in segment.words
        ]
    body: SegmentBody = {
        "start": segment.start,
        "end": segment.end,
        "text": segment.text.strip(),
        "sequence_confidence": round(segment.avg_logprob, 6),
        "words": words,
    }
    if segment.channel is not None:
        body["channel"] = segment.channel
    return body
