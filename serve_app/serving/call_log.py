"""What a model replica logs about one call at debug: its size, its options and its result."""

import logging

from serve_app.audio.clip import AudioClip
from serve_app.engine.scheduler import Scheduler
from serve_app.logs import fields
from serve_app.options import TranscribeOptions
from serve_app.transcript import Transcript

logger = logging.getLogger("whisper_ox.call")


def log_call(clip: AudioClip, options: TranscribeOptions, scheduler: Scheduler) -> None:
    """Log a call that has arrived, accepted or refused, and what is queued already."""
    if not logger.isEnabledFor(logging.DEBUG):
        return  # the load takes a look at every open request
    load = scheduler.load()
    logger.debug(
        "transcribing",
        extra=fields(
            audio_s=round(clip.received_seconds, 3),
            sample_bytes=clip.samples.nbytes,
            options=options.for_the_log(),
            queued_windows=scheduler.queued_windows,
            open_requests=load.open_requests,
            queued_audio_s=round(load.queued_audio_seconds, 1),
            rtfx=round(load.rtfx, 2),
            wait_s=round(load.wait_seconds, 2),
            bulk_wait_s=round(load.bulk_wait_seconds, 2),
        ),
    )


def log_transcript(transcript: Transcript, *, text: bool) -> None:
    """Log that a call is done. ``text`` says whether to log the transcript as well."""
    if not logger.isEnabledFor(logging.DEBUG):
        return
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
            # Above 0 where a window was decoded again because its text was doubtful.
            warmest=max((s.temperature for s in transcript.segments), default=0.0),
            **spoken,
        ),
    )
