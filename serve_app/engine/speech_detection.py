"""Finds the speech in a clip for callers who want no transcript."""

import asyncio
import threading

from faster_whisper.vad import VadOptions

from serve_app.audio.clip import AudioClip
from serve_app.caller import Priority
from serve_app.engine.engine import Engine
from serve_app.engine.scheduler import RequestClosed
from serve_app.engine.vad import speech_stretches
from serve_app.options import VadParameters
from serve_app.transcript import Stretch


async def detect_speech(
    engine: Engine,
    clip: AudioClip,
    parameters: VadParameters,
    priority: Priority = Priority.AUTO,
) -> list[Stretch]:
    """The stretches of speech, ascending and apart. Cancelling the call ends the search.

    The model is not needed for this, so the request does not wait in its queue.
    """
    left = threading.Event()

    def go_on() -> None:
        if left.is_set():
            raise RequestClosed

    options = VadOptions(**parameters.given())
    is_bulk = not priority.is_brief(clip.seconds)
    try:
        return await engine.prepare(speech_stretches, clip.samples, options, go_on, bulk=is_bulk)
    except asyncio.CancelledError:
        left.set()
        raise
