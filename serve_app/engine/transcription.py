"""One request in the engine: faster-whisper's pipeline run on the shared scheduler."""

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from faster_whisper import BatchedInferencePipeline
from faster_whisper.vad import VadOptions, get_speech_timestamps

from serve_app.audio.clip import SAMPLE_RATE_HZ, AudioClip
from serve_app.engine.checks import Checks, Decoded
from serve_app.engine.coverage import Interval, clips, coverage, uncovered
from serve_app.engine.engine import Engine
from serve_app.engine.pipeline_call import (
    WINDOW_SECONDS,
    clips_within,
    is_batched,
    pipeline_arguments,
    to_transcript,
)
from serve_app.engine.scheduler import RequestClosed
from serve_app.errors import InvalidOption
from serve_app.options import TranscribeOptions
from serve_app.transcript import Transcript

SILENCE_PEAK = 8 / 32768
"""Audio whose samples all stay below 8 of 32768 (-72 dBFS) holds no speech: dither and line noise
of a muted source. Decoded without VAD, Whisper would hear words in it."""

_PROMPT_TOO_LONG = ("max_new_tokens", "maximum decoding length must be > 0")
"""How faster-whisper and CTranslate2 word that a prompt leaves no room to decode."""

Samples = npt.NDArray[np.float32]


class Transcription:
    """One request. Run it in a thread of its own; cancel it from any other.

    ``options`` must already fit the model.
    """

    def __init__(self, engine: Engine, clip: AudioClip, options: TranscribeOptions) -> None:
        self._engine = engine
        self._clip = clip
        self._options = options
        self._request = engine.scheduler.open_request()
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
            return replace(transcript, engine_seconds=time.perf_counter() - self._received)
        except ValueError as error:
            if not any(sign in str(error) for sign in _PROMPT_TOO_LONG):
                raise
            raise InvalidOption(
                "initial_prompt, hotwords and prefix together with max_new_tokens exceed the "
                "decoder's 448 tokens: shorten the prompt or lower max_new_tokens.",
                field="generate_kwargs.initial_prompt",
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
            gaps = _gaps(speech, segments)
            # Sequential requests stay faster-whisper's to the letter: they are only told.
            if gaps and batched and self._engine.recovers_speech:
                segments = self._with_recovered(samples, segments, gaps, info.language)
                gaps = _gaps(speech, segments)
            share = coverage(speech, gaps)
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
        segments, info = pipeline.transcribe(samples, **arguments)
        return list(segments), info

    def _speech(self, samples: Samples, info: Any, *, batched: bool) -> list[Interval] | None:
        """What VAD heard, in seconds; None where the caller wanted no VAD."""
        options = self._options
        if not options.vad_filter or options.clip_timestamps:
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


def _gaps(speech: Sequence[Interval], segments: Sequence[Any]) -> list[Interval]:
    return uncovered(speech, [(s.start, s.end) for s in segments if s.text.strip()])


def _is_sound(segment: Any, checks: Checks) -> bool:
    decoded = Decoded(segment.avg_logprob, segment.compression_ratio, segment.no_speech_prob)
    return not checks.fails(decoded) and not checks.hears_nobody(decoded)
