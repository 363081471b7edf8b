"""Transcripts as Deepgram's answers to ``/v1/listen``.

Words are grouped here: utterances by the pauses between them, paragraphs by sentences.
"""

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from math import exp
from typing import Any

from serve_app.transcript import Transcript, Word

PARAGRAPH_PAUSE_SECONDS = 2.0
PARAGRAPH_SENTENCES = 5
"""A paragraph ends with the sentence after which somebody pauses, or with this many."""

SENTENCE_ENDS = tuple(".?!…。！？؟।")
_CLOSING = "\"'”’»)]"


@dataclass(frozen=True)
class Parts:
    """What an answer has in addition to the text and its words."""

    punctuated_words: bool = False
    paragraphs: bool = False
    utterances: bool = False
    utterance_pause_seconds: float = 0.8
    detected_language: bool = False


def results(transcript: Transcript, parts: Parts) -> dict[str, Any]:
    """The ``results`` of an answer: one channel, or each of those that were transcribed apart."""
    channels = transcript.channels or (transcript,)
    body: dict[str, Any] = {"channels": [_channel(one, parts) for one in channels]}
    if parts.utterances:
        utterances = [
            utterance
            for number, one in enumerate(channels)
            for utterance in _utterances(_words(one), number, parts)
        ]
        body["utterances"] = sorted(utterances, key=lambda one: float(one["start"]))
    return body


def _channel(transcript: Transcript, parts: Parts) -> dict[str, Any]:
    words = _words(transcript)
    alternative = alternative_of(words, parts) | {
        "transcript": "".join(segment.text for segment in transcript.segments).strip(),
        "confidence": _confidence(transcript, words),
    }
    if parts.paragraphs:
        alternative["paragraphs"] = _paragraphs(words)
    channel: dict[str, Any] = {"alternatives": [alternative]}
    if parts.detected_language:
        channel["detected_language"] = transcript.language
        channel["language_confidence"] = round(transcript.language_probability, 6)
    return channel


def alternative_of(words: Sequence[Word], parts: Parts) -> dict[str, Any]:
    """An alternative with these words."""
    return {
        "transcript": _text(words),
        "confidence": _mean(words),
        "words": [_word(word, parts) for word in words],
    }


def metadata(request_id: str, sha256: str, transcript: Transcript, model: str) -> dict[str, Any]:
    """The ``metadata`` of an answer that is made now; ``sha256`` is the audio's, in hex."""
    model_id, info = model_of(model)
    n_channels = len(transcript.channels) or 1
    return {
        **audio_metadata(request_id, sha256, transcript.duration_seconds, n_channels),
        "models": [model_id],
        "model_info": {model_id: info},
    }


def audio_metadata(
    request_id: str, sha256: str, seconds: float, n_channels: int = 1
) -> dict[str, Any]:
    """What ``metadata`` says of the audio alone."""
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    return {
        "transaction_key": "deprecated",
        "request_id": request_id,
        "sha256": sha256,
        "created": now.replace("+00:00", "Z"),
        "duration": round(seconds, 3),
        "channels": n_channels,
    }


def model_of(name: str) -> tuple[str, dict[str, str]]:
    """The id of a model, made of its name, and what is told of it."""
    model_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"whisper-ox:{name}"))
    return model_id, {"name": name, "version": "whisper", "arch": "whisper"}


def _words(transcript: Transcript) -> list[Word]:
    return [word for segment in transcript.segments for word in segment.words or ()]


def _word(word: Word, parts: Parts) -> dict[str, Any]:
    written = word.word.strip()
    plain = written.lower().strip('.,;:?!…。，、！？؛؟।"“”«»()[]').strip()
    body: dict[str, Any] = {
        "word": plain or written,
        "start": word.start,
        "end": word.end,
        "confidence": round(word.probability, 6),
    }
    return body | ({"punctuated_word": written} if parts.punctuated_words else {})


def _text(words: Sequence[Word]) -> str:
    return "".join(word.word for word in words).strip()


def _mean(words: Sequence[Word]) -> float:
    return round(sum(word.probability for word in words) / len(words), 6) if words else 0.0


def _confidence(transcript: Transcript, words: Sequence[Word]) -> float:
    if words or not transcript.segments:
        return _mean(words)
    return round(exp(transcript.segments[0].avg_logprob), 6)


def _utterances(words: Sequence[Word], channel: int, parts: Parts) -> Iterator[dict[str, Any]]:
    pause = parts.utterance_pause_seconds
    for group in _split(words, lambda n: words[n + 1].start - words[n].end >= pause):
        yield _utterance(group, channel, parts)


def _utterance(words: Sequence[Word], channel: int, parts: Parts) -> dict[str, Any]:
    return {
        "start": words[0].start,
        "end": words[-1].end,
        "confidence": _mean(words),
        "channel": channel,
        "transcript": _text(words),
        "words": [_word(word, parts) for word in words],
        "id": str(uuid.uuid4()),
    }


def _paragraphs(words: Sequence[Word]) -> dict[str, Any]:
    sentences = [*_split(words, lambda n: _ends_sentence(words[n]))]
    groups: list[list[Sequence[Word]]] = []
    for sentence in sentences:
        if (
            not groups
            or len(groups[-1]) == PARAGRAPH_SENTENCES
            or sentence[0].start - groups[-1][-1][-1].end >= PARAGRAPH_PAUSE_SECONDS
        ):
            groups.append([])
        groups[-1].append(sentence)
    paragraphs = [
        {
            "sentences": [
                {"text": _text(one), "start": one[0].start, "end": one[-1].end} for one in group
            ],
            "num_words": sum(map(len, group)),
            "start": group[0][0].start,
            "end": group[-1][-1].end,
        }
        for group in groups
    ]
    texts = ("".join(word.word for one in group for word in one).strip() for group in groups)
    return {"transcript": "\n\n".join(texts), "paragraphs": paragraphs}


def _ends_sentence(word: Word) -> bool:
    return word.word.strip().rstrip(_CLOSING).endswith(SENTENCE_ENDS)


def _split(words: Sequence[Word], ends: Callable[[int], bool]) -> Iterator[Sequence[Word]]:
    """Groups of words, of which one ends after each ``words[n]`` where ``ends(n)``."""
    start = 0
    for n in range(len(words)):
        if n == len(words) - 1 or ends(n):
            yield words[start : n + 1]
            start = n + 1
