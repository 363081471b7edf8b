"""OpenAI's JSON for a transcript, short and verbose (their API reference, ``createTranscription``).

The verbose form is that of ``whisper-1``, with Whisper's own figures for every segment.
"""

import math
from collections.abc import Collection, Iterable
from typing import Any, Literal

from serve_app.options.language import LANGUAGES
from serve_app.transcript import Segment, Transcript, Word

LEAST_PROBABILITY = 1e-10
"""JSON has no minus infinity."""


def text_of(segments: Iterable[Segment]) -> str:
    """The whole text."""
    return "".join(segment.text for segment in segments).strip()


def short_body(transcript: Transcript, *, with_logprobs: bool) -> dict[str, Any]:
    """The body for ``json``."""
    body: dict[str, Any] = {"text": text_of(transcript.segments)}
    if with_logprobs:
        body["logprobs"] = logprobs(words_of(transcript.segments))
    return {**body, "usage": usage(transcript)}


def verbose_body(
    transcript: Transcript,
    task: Literal["transcribe", "translate"],
    granularities: Collection[str] = ("segment",),
) -> dict[str, Any]:
    """The body for ``verbose_json``, with a list for each of the ``granularities``."""
    language = "en" if task == "translate" else transcript.language
    body: dict[str, Any] = {
        "task": task,
        "language": LANGUAGES[language],
        "duration": round(transcript.duration_seconds, 3),
        "text": text_of(transcript.segments),
    }
    if "segment" in granularities:
        body["segments"] = [_segment(n, one) for n, one in enumerate(transcript.segments)]
    if "word" in granularities:
        body["words"] = [
            {"word": word.word.strip(), "start": word.start, "end": word.end}
            for word in words_of(transcript.segments)
        ]
    return {**body, "usage": usage(transcript)}


def usage(transcript: Transcript) -> dict[str, Any]:
    """What OpenAI bills a caller for: the audio, in whole seconds."""
    return {"type": "duration", "seconds": math.ceil(transcript.duration_seconds)}


def logprobs(words: Iterable[Word]) -> list[dict[str, Any]]:
    """A log-probability for every word, the mean over its tokens.

    OpenAI has one for every token. Whisper's come from the alignment, word by word.
    """
    return [
        {
            "token": word.word,
            "bytes": list(word.word.encode()),
            "logprob": round(math.log(max(word.probability, LEAST_PROBABILITY)), 6),
        }
        for word in words
    ]


def words_of(segments: Iterable[Segment]) -> list[Word]:
    """The words of all segments; none where nobody has asked for words."""
    return [word for segment in segments for word in segment.words or ()]


def _segment(number: int, segment: Segment) -> dict[str, Any]:
    return {
        "id": number,
        "seek": segment.seek,
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
        "tokens": list(segment.tokens),
        "temperature": segment.temperature,
        "avg_logprob": round(segment.avg_logprob, 6),
        "compression_ratio": round(segment.compression_ratio, 6),
        "no_speech_prob": round(segment.no_speech_prob, 6),
    }
