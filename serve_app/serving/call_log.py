"""What a model replica logs of one call at debug: its size, its options and what came of it."""

import logging
from collections.abc import Callable

from serve_app.audio.clip import AudioClip
from serve_app.engine.admission import Load
from serve_app.logs import fields
from serve_app.options import TranscribeOptions
from serve_app.transcript import Transcript

logger = logging.getLogger("whisper_ox.call")


def log_call(clip: AudioClip, options: TranscribeOptions, queued_windows: int) -> None:
    """The call has reached the model process, where so many windows wait already."""
    logger.debug(
        "transcribing",
        extra=fields(
            audio_s=round(clip.received_seconds, 3),
            sample_bytes=clip.samples.nbytes,
            queued_windows=queued_windows,
            options=options.for_the_log(),
        ),
    )


def log_load(load: Callable[[], Load]) -> None:
    """What the call finds queued, whether it is taken or refused."""
    if not logger.isEnabledFor(logging.DEBUG):
        return  # a look at every open request
    found = load()
    logger.debug(
        "load",
        extra=fields(
            open_requests=found.open_requests,
            queued_audio_s=round(found.queued_audio_seconds, 1),
            rtfx=round(found.rtfx, 2),
            wait_s=round(found.wait_seconds, 2),
            bulk_wait_s=round(found.bulk_wait_seconds, 2),
        ),
    )


def log_transcript(transcript: Transcript, *, text: bool) -> None:
    """The call is done. ``text`` says whether to log what was heard as well."""
    spoken = {"transcript": "".join(s.text for s in transcript.segments).strip()} if text else {}
    coverage = transcript.speech_coverage
    logger.debug(
        "transcribed",
        extra=fields(
            engine_s=round(transcript.engine_seconds, 3),
            speech_s=round(transcript.speech_seconds, 3),
            coverage=None if coverage is None else round(coverage, 3),
            language=transcript.language,
            language_probability=round(transcript.language_probability, 3),
            segments=len(transcript.segments),
            # Above 0: decoded again, as faster-whisper does with a text that it doubts.
            warmest=max((s.temperature for s in transcript.segments), default=0.0),
            **spoken,
        ),
    )
