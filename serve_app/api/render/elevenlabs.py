"""Transcripts as ElevenLabs' answers to ``/v1/speech-to-text``."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from serve_app.api.render.subtitles import cues_of, srt
from serve_app.api.render.verbose import LEAST_PROBABILITY, text_of
from serve_app.options.language import three_letters
from serve_app.settings import SubtitleSettings
from serve_app.transcript import Transcript, Word

FORMATS = {"srt": "application/x-subrip", "txt": "text/plain"}
"""Formats that a transcript can have apart from JSON, and their types."""


@dataclass(frozen=True)
class Parts:
    """What an answer has in addition to the text.

    ``granularity``: "none", "word" or "character", of times. ``formats`` are some of
    :data:`FORMATS`. If ``is_combined``, the words of all channels are in one list.
    """

    granularity: str = "word"
    formats: tuple[str, ...] = ()
    is_combined: bool = False


def body(
    transcript: Transcript, parts: Parts, subtitles: SubtitleSettings, request_id: str
) -> dict[str, Any]:
    """The body of an answer."""
    whole = {
        "transcription_id": request_id,
        "audio_duration_secs": round(transcript.duration_seconds, 3),
    }
    if len(transcript.channels) > 1 and not parts.is_combined:
        channels = [
            _transcript(one, parts, subtitles, number)
            for number, one in enumerate(transcript.channels)
        ]
        return {"transcripts": channels} | whole
    return _transcript(transcript, parts, subtitles) | whole


def _transcript(
    transcript: Transcript, parts: Parts, subtitles: SubtitleSettings, channel: int | None = None
) -> dict[str, Any]:
    words = [
        (word, segment.channel if channel is None else channel)
        for segment in transcript.segments
        for word in segment.words or ()
    ]
    words.sort(key=lambda one: one[0].start)
    found: dict[str, Any] = {
        "language_code": three_letters(transcript.language),
        "language_probability": round(transcript.language_probability, 6),
        "text": text_of(transcript.segments),
        "words": [] if parts.granularity == "none" else [*_words(words, parts)],
    }
    if channel is not None:
        found["channel_index"] = channel
    if parts.formats:
        texts = {"srt": srt(cues_of(transcript, subtitles)), "txt": found["text"]}
        found["additional_formats"] = [
            {
                "requested_format": name,
                "file_extension": name,
                "content_type": FORMATS[name],
                "is_base64_encoded": False,
                "content": texts[name],
            }
            for name in parts.formats
        ]
    return found


def spaced_words(words: Sequence[Word]) -> list[dict[str, Any]]:
    """The words of one channel, and the spaces between them."""
    return [*_words([(word, None) for word in words], Parts())]


def _words(words: Sequence[tuple[Word, int | None]], parts: Parts) -> Iterator[dict[str, Any]]:
    """The words, and the spaces between them."""
    end = 0.0
    for number, (word, channel) in enumerate(words):
        marks: dict[str, Any] = {}
        if channel is not None:  # each channel is a speaker of its own
            marks = {"channel_index": channel, "speaker_id": f"speaker_{channel}"}
        # Whisper writes the space before a word, and none where a language has none.
        if number and word.word[:1].isspace():
            times = {"start": min(end, word.start), "end": word.start}
            yield {"text": " ", **times, "type": "spacing", "logprob": 0.0, **marks}
        end = word.end
        text = word.word.strip()
        logprob = round(math.log(max(word.probability, LEAST_PROBABILITY)), 6)
        times = {"start": word.start, "end": word.end}
        written = {"text": text, **times, "type": "word", "logprob": logprob, **marks}
        if parts.granularity == "character":
            written["characters"] = _characters(text, word)
        yield written


def _characters(text: str, word: Word) -> list[dict[str, Any]]:
    """The characters of a word. Whisper has no times for them, so the word's time is divided
    evenly.
    """
    each = (word.end - word.start) / max(1, len(text))
    edges = [round(word.start + n * each, 3) for n in range(len(text) + 1)]
    return [
        {"text": character, "start": start, "end": end}
        for character, start, end in zip(text, edges, edges[1:], strict=False)
    ]
