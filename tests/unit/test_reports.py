"""Files that other transcription services were reported to fail on give the text they hold."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from loadtest.wer import word_errors
from serve_app.audio.decode import decode_audio
from serve_app.audio.limits import AudioLimits
from serve_app.engine.engine import Engine
from serve_app.engine.transcription import transcribe
from serve_app.options import build_options
from serve_app.transcript import Transcript

FOLDER = Path(__file__).parents[3] / "shared" / "reports"
MANIFEST = FOLDER / "manifest.jsonl"
REPORTS: list[dict[str, Any]] = (
    [json.loads(line) for line in MANIFEST.read_text().splitlines()] if MANIFEST.exists() else []
)
FIRST = "Today only platforms 1 and 3 are used"
SECOND = "But I am hugely pleased that you have seen my lady"
TWO_SENTENCES = {"a15-call-quiet-caller.wav", "c04-pause10.webm"}
WORD_SECONDS = {
    "c03-late-audio.mkv": (0, 5.36),
    # The recorder goes on at 14.5 s; the voice is heard from here on.
    "c04-pause10.webm": (8, 15.05),
}
"""File -> (place of a word, when it begins)."""

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(not REPORTS, reason="no folder of reported files"),
]


def hear(engine: Engine, payload: bytes) -> Transcript:
    clip = decode_audio(payload, limits=AudioLimits())
    options = build_options({"language": "en", "word_timestamps": True}).options
    return asyncio.run(transcribe(engine, clip, options))


@pytest.mark.parametrize("report", REPORTS, ids=[report["file"] for report in REPORTS])
def test_a_reported_file_gives_its_text_and_times(base: Engine, report: dict[str, Any]) -> None:
    transcript = hear(base, (FOLDER / report["file"]).read_bytes())
    text = " ".join(segment.text.strip() for segment in transcript.segments)
    words = [word for segment in transcript.segments for word in segment.words or ()]
    assert text, report["what"]
    said = f"{FIRST} {SECOND}" if report["file"] in TWO_SENTENCES else report["text"]
    if said:
        errors = word_errors(said, text, "en")
        assert errors.total <= 0.2 * errors.n_reference, text
    if report["seconds"]:
        assert transcript.duration_seconds == pytest.approx(report["seconds"], abs=0.1)
    if report["file"] in WORD_SECONDS:
        place, begin = WORD_SECONDS[report["file"]]
        assert words[place].start == pytest.approx(begin, abs=0.3)
