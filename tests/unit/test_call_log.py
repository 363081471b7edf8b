"""What is logged about a call on its way through a model replica."""

import asyncio

from serve_app.assets import GOLDEN_CLIP
from serve_app.audio.decode import decode_audio
from serve_app.audio.limits import AudioLimits
from serve_app.engine.engine import Engine
from serve_app.engine.transcription import transcribe
from serve_app.logs import configure_logging
from serve_app.options import TranscribeOptions
from serve_app.serving.call_log import log_call, log_transcript
from serve_app.settings import LogSettings
from tests.unit.conftest import Printed


def test_nothing_that_was_said_or_asked_is_logged_unless_the_operator_wants_it(
    tiny_en: Engine, printed: Printed
) -> None:
    configure_logging(LogSettings(level="debug"))
    clip = decode_audio(GOLDEN_CLIP.read_bytes(), limits=AudioLimits())
    options = TranscribeOptions(language="en", initial_prompt="Sesame.", hotwords="abracadabra")
    log_call(clip, options, tiny_en.scheduler)
    transcript = asyncio.run(transcribe(tiny_en, clip, options))
    log_transcript(transcript, text=False)
    logged = printed().lower()
    assert "transcribing" in logged and "transcribed" in logged
    assert [word for word in ("hello", "world", "sesame", "abracadabra") if word in logged] == []
    log_transcript(transcript, text=True)
    assert "hello world" in printed().lower()
