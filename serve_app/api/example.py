"""The example of a call that the documentation shows and the server prints when it is ready.

Its audio is the golden clip, which a model replica must transcribe before it serves.
"""

from pathlib import Path
from typing import Any

EXAMPLE_OPTIONS = '{"language":"en","beam_size":5}'

CONTRACT_OPTIONS: dict[str, Any] = {
    "multilingual": False,
    "vad_filter": True,
    "task": "transcribe",
    "language": "en",
    "batch_size": 8,
    "beam_size": 5,
    "condition_on_previous_text": False,
}
"""The options that the calling service is known to send."""

EXAMPLE_ANSWER: dict[str, Any] = {
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
"""It contains words because FastAPI removes every null from its document."""


def curl_example(url: str, clip: Path | str) -> str:
    """A shell command that transcribes ``clip``."""
    return (
        f"curl -F file=@{clip} -F generate_kwargs='{EXAMPLE_OPTIONS}' {url.rstrip('/')}/transcribe"
    )
