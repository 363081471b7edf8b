"""One request in the engine: faster-whisper's pipeline run on the shared scheduler."""

import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from faster_whisper import BatchedInferencePipeline
from faster_whisper.vad import VadOptions, get_speech_timestamps

from serve_app.audio.clip import SAMPLE_RATE_HZ, AudioClip
from serve_app.core import Priority
from serve_app.engine.admission import Demand
from serve_app.engine.checks import Checks, Decoded
from serve_app.engine.coverage import Interval, clips, coverage, total_seconds, uncovered
from serve_app.engine.engine import Engine
from serve_app.engine.pipeline_call import (
    WINDOW_SECONDS,
    clips_within,
    expected_work_seconds,
    is_batched,
    pipeline_arguments,
    to_transcript,
)
from serve_app.engine.scheduler import RequestClosed
from serve_app.engine.vad_clock import VadClock
from serve_app.errors import InvalidOption
from serve_app.metrics import catalogue as metrics
from serve_app.options import TranscribeOptions
from serve_app.tracing.span import NO_SPAN, Span
from serve_app.transcript import Transcript

SILENCE_PEAK = 8 / 32768
"""Audio whose samples all stay below 8 of 32768 (-72 dBFS) holds no speech: dither and line noise
of a muted source. Decoded without VAD, Whisper would hear words in it."""

_PROMPT_TOO_LONG = ("max_new_tokens", "maximum decoding length must be > 0")
"""How faster-whisper and CTranslate2 word that a prompt leaves no room to decode."""

Samples = npt.NDArray[np.float32]


class Transcription:
    """One request. Run it in a thread of its own; cancel it from any other.

    ``options`` must already fit the model. ``span`` gets the VAD and the batches. Raises
    ``Overloaded`` where the request would wait too long; otherwise its place is taken from here on,
    until the end of :meth:`run` or :meth:`cancel`.
    """

    def __init__(
        self,
        engine: Engine,
        clip: AudioClip,
        options: TranscribeOptions,
        priority: Priority = Priority.AUTO,
        span: Span = NO_SPAN,
    ) -> None:
        self._engine = engine
        self._clip = clip
        self._options = options
        self._span = span
        detects_language = engine.facts.multilingual and options.language is None
        work = expected_work_seconds(options, clip.seconds, detects_language=detects_language)
        self._demand = Demand(clip.seconds, work, priority)
        self._request = engine.scheduler.open_request(self._demand, span=span)
        self._received = time.perf_counter()
        self._cancelled = threading.Event()

    def run(self) -> Transcript:
        """Transcribe; blocks until the last segment.

        Raises ``InvalidOption`` where prompt and ``max_new_tokens`` do not fit the decoder, and
        ``RequestClosed`` after :meth:`cancel`.
        """
        try:
            if self._cancelled.is_set():
                raise RequestClosed
            transcript = self._transcribe()
            seconds = time.perf_counter() - self._received
            self._engine.sink.count(metrics.AUDIO_TRANSCRIBED_SECONDS, self._clip.received_seconds)
            self._engine.sink.observe(metrics.ENGINE_SECONDS, seconds)
            return replace(transcript, engine_seconds=seconds)
        except ValueError as error:
            if not any(sign in str(error) for sign in _PROMPT_TOO_LONG):
                raise
            raise InvalidOption(
                "initial_prompt, hotwords and prefix together with max_new_tokens exceed the "
                "decoder's 448 tokens: shorten the prompt or lower max_new_tokens.",
                field="initial_prompt",
            ) from error
        finally:
            self._engine.scheduler.close_request(self._request)

    def cancel(self) -> None:
        """Drop the request's queued windows at once."""
        self._cancelled.set()
        self._engine.scheduler.close_request(self._request)

    def _transcribe(self) -> Transcript:
        samples = self._clip.float32()
        is_silent = not samples.size or max(samples.max(), -samples.min()) < SILENCE_PEAK
        if is_silent or clips_within(self._options, self._clip.seconds) == []:
            return to_transcript([], language=self._options.language or "en", clip=self._clip)
        batched = is_batched(self._options, self._clip.seconds)
        segments, info = self._run_pipeline(samples, self._options, batched=batched)
        share = None
        speech = self._speech(samples, info, batched=batched)
        if speech is not None:
            gaps = lost = _gaps(speech, segments)
            # Sequential requests stay faster-whisper's to the letter: they are only told.
            if gaps and batched and self._engine.recovers_speech:
                segments = self._with_recovered(samples, segments, gaps, info.language)
                gaps = _gaps(speech, segments)
            share = coverage(speech, gaps)
            self._record(total_seconds(speech), total_seconds(gaps), total_seconds(lost))
        return to_transcript(
            segments,
            language=info.language,
            language_probability=info.language_probability,
            speech_seconds=info.duration_after_vad,
            speech_coverage=share,
            clip=self._clip,
        )

    def _run_pipeline(
        self, samples: Samples, options: TranscribeOptions, *, batched: bool
    ) -> tuple[list[Any], Any]:
        """faster-whisper's segments and info; it decodes as its generator is consumed."""
        whisper = self._engine.view(self._request, options, batched=batched)
        pipeline = BatchedInferencePipeline(whisper) if batched else whisper
        arguments = pipeline_arguments(options, self._clip.seconds, batched=batched)
        with ExitStack() as preparation:
            if not self._demand.is_short:
                preparation.enter_context(self._engine.bulk_preparations)
                if self._cancelled.is_set():
                    raise RequestClosed
            clock = VadClock(whisper.feature_extractor, prepared=preparation.close)
            whisper.feature_extractor = clock
            segments, info = pipeline.transcribe(samples, **arguments)
        if _uses_vad(options):
            vad_seconds = clock.stop()
            self._engine.sink.observe(metrics.VAD_SECONDS, vad_seconds)
            self._span.step("vad", clock.began, clock.began + vad_seconds)
        seconds = self._clip.seconds if options.clip_timestamps else info.duration_after_vad
        left = expected_work_seconds(options, seconds, detects_language=False)
        self._engine.scheduler.expect(self._request, left)
        return list(segments), info

    def _speech(self, samples: Samples, info: Any, *, batched: bool) -> list[Interval] | None:
        """What VAD heard, in seconds; None where the caller wanted no VAD."""
        options = self._options
        if not _uses_vad(options):
            return None
        if batched:
            heard = info.transcription_options.clip_timestamps
        else:  # the sequential pipeline keeps them to itself
            given = options.vad_parameters.given() if options.vad_parameters else {}
            heard = get_speech_timestamps(samples, VadOptions(**given))
        return [(s["start"] / SAMPLE_RATE_HZ, s["end"] / SAMPLE_RATE_HZ) for s in heard]

    def _with_recovered(
        self, samples: Samples, segments: list[Any], gaps: Sequence[Interval], language: str
    ) -> list[Any]:
        """``segments`` and what another attempt at ``gaps`` yields, if it passes every check.

        Much of what VAD hears and Whisper does not transcribe is not speech: music, breath,
        crosstalk. An unsure text there would be an invention.
        """
        options = self._options.model_copy(
            update={
                "clip_timestamps": tuple(clips(gaps, WINDOW_SECONDS)),
                "language": language,
                "initial_prompt": None,
                "batch_size": max(2, self._options.batch_size),
            }
        )
        found, _ = self._run_pipeline(samples, options, batched=True)
        checks = Checks.of(self._options)
        sound = [s for s in found if s.text.strip() and _is_sound(s, checks)]
        return sorted([*segments, *sound], key=lambda segment: (segment.start, segment.end))

    def _record(self, speech_seconds: float, gap_seconds: float, lost_seconds: float) -> None:
        """``lost_seconds``: what no segment covered before it was decoded once more."""
        sink = self._engine.sink
        sink.count(metrics.SPEECH_SECONDS, speech_seconds)
        sink.count(metrics.SPEECH_COVERED_SECONDS, max(0.0, speech_seconds - gap_seconds))
        sink.count(metrics.SPEECH_RECOVERED_SECONDS, max(0.0, lost_seconds - gap_seconds))


def _uses_vad(options: TranscribeOptions) -> bool:
    return options.vad_filter and not options.clip_timestamps


def _gaps(speech: Sequence[Interval], segments: Sequence[Any]) -> list[Interval]:
    return uncovered(speech, [(s.start, s.end) for s in segments if s.text.strip()])


def _is_sound(segment: Any, checks: Checks) -> bool:
    decoded = Decoded(segment.avg_logprob, segment.compression_ratio, segment.no_speech_prob)
    return not checks.fails(decoded) and not checks.hears_nobody(decoded)
