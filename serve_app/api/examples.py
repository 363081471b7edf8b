"""The API in examples: what the documentation page shows and the server prints when ready."""

from importlib.resources import files
from pathlib import Path
from typing import Any

EXAMPLE_CLIP = Path(str(files("serve_app") / "assets" / "golden.wav"))
"""A spoken "Hello world": ``en/hello_world.wav`` of pytest-audioeval 0.1.3 (MIT, see
``assets/README.md``), resampled to 16 kHz PCM16."""

EXAMPLE_OPTIONS = '{"language":"en","beam_size":5}'


def curl_example(url: str, clip: Path | str) -> str:
    """One line of shell that transcribes ``clip``."""
    return (
        f"curl -F file=@{clip} -F generate_kwargs='{EXAMPLE_OPTIONS}' {url.rstrip('/')}/transcribe"
    )


CURL_EXAMPLE = curl_example("http://127.0.0.1:8000", "serve_app/assets/golden.wav")

# With words: FastAPI strips every null out of its document, and words are null without.
RESPONSE_EXAMPLE: dict[str, Any] = {
    "segments": [
        {
            "start": 0.0,
            "end": 2.5,
            "text": "Hello world",
            "sequence_confidence": -0.25,
            "words": [
                {"start": 0.0, "end": 0.9, "word": " Hello", "probability": 0.93},
                {"start": 0.9, "end": 1.4, "word": " world", "probability": 0.97},
            ],
        }
    ],
    "language": "en",
    "duration": 2.5,
}

_WORD_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["start", "end", "word", "probability"],
    "properties": {
        "start": {"type": "number", "description": "seconds"},
        "end": {"type": "number", "description": "seconds"},
        "word": {"type": "string"},
        "probability": {"type": "number"},
    },
}

_SEGMENT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["start", "end", "text", "sequence_confidence", "words"],
    "properties": {
        "start": {"type": "number", "description": "seconds from the start of the audio"},
        "end": {"type": "number", "description": "seconds from the start of the audio"},
        "text": {"type": "string"},
        "sequence_confidence": {
            "type": "number",
            "description": "average log-probability of the segment's tokens, at most 0",
        },
        "words": {
            "type": ["array", "null"],
            "items": _WORD_SCHEMA,
            "description": "only with word_timestamps",
        },
    },
}

RESPONSE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["segments", "language", "duration"],
    "properties": {
        "segments": {"type": "array", "items": _SEGMENT_SCHEMA},
        "language": {"type": "string", "description": "Whisper's code, such as en"},
        "duration": {"type": "number", "description": "seconds of audio received"},
    },
}
