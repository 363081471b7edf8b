"""One request from samples to transcript: which pipeline hears it, and what it did not cover."""

import time
from collections.abc import Sequence
from dataclasses import replace

from faster_whisper.transcribe import Segment, restore_speech_timestamps

from serve_app import metrics
from serve_app.audio.clip import SAMPLE_RATE_HZ, AudioClip
from serve_app.caller import Live, Priority
from serve_app.engine.batched import BatchedPipeline, Language, Told
from serve_app.engine.coverage import Coverage, Interval, uncovered
from serve_app.engine.engine import Engine
from serve_app.engine.log_mel import LogMel
from serve_app.engine.request import Demand, Request
from serve_app.engine.scheduler import RequestClosed
from serve_app.engine.segments import telling, to_transcript
from serve_app.engine.sequential import hear_in_sequence
from serve_app.engine.speech import (
    Cut,
    as_dicts,
    cut_clips,
    cut_speech,
    find_speech,
    is_audible,
    lead_seconds,
    uses_vad,
)
from serve_app.engine.work import (
    clips_within,
    expected_work_seconds,
    is_batched,
    longest_window,
)
from serve_app.errors import DraftDropped
from serve_app.options import TranscribeOptions
from serve_app.tracing.span import NO_SPAN, Span
from serve_app.transcript import Stretch, Tell, Transcript


async def transcribe(
    engine: Engine,
    clip: AudioClip,
    options: TranscribeOptions,
    priority: Priority = Priority.AUTO,
    span: Span = NO_SPAN,
    *,
    live: Live | None = None,
    tell: Tell | None = None,
) -> Transcript:
    """Transcribe one clip with options that fit the model. ``span`` gets the VAD and the batches.

    ``live``: the clip is a part of a live session, whose drafts are heard once, as cheaply as
    possible. ``tell`` gets the segments as they are heard; in sequence, only at the end.

    Raises ``Overloaded`` if the request would wait too long, ``InvalidOption`` if the prompt leaves
    the decoder no room, and ``DraftDropped``. Cancelling the call drops the request's queued
    windows at once.
    """
    received = time.perf_counter()
    recovers = engine.tunables.recover_speech if options.recover is None else options.recover
    partial_context = recovers and engine.tunables.partial_context
    work_seconds = expected_work_seconds(options, clip.seconds, partial_context=partial_context)
    demand = Demand(clip.seconds, work_seconds, priority, live)
    request = engine.scheduler.open_request(demand, span)
    try:
        told = tell and telling(clip, tell)
        work = _Transcription(engine, request, clip, options, told, recovers=recovers)
        transcript = await work.run()
    except RequestClosed:
        if demand.is_draft and not request.is_open:
            engine.sink.count(metrics.DRAFTS_DROPPED)
            raise DraftDropped("A newer draft replaced this one, or it came too late.") from None
        raise
    finally:
        engine.scheduler.close_request(request)
    seconds = time.perf_counter() - received
    heard_seconds = clip.received_seconds if live is None else live.new_seconds
    engine.sink.count(metrics.AUDIO_TRANSCRIBED_SECONDS, heard_seconds)
    if not demand.is_draft:
        engine.sink.observe(metrics.ENGINE_SECONDS, seconds)
    return replace(transcript, engine_seconds=seconds)


class _Transcription:
    """One open request."""

    def __init__(
        self,
        engine: Engine,
        request: Request,
        clip: AudioClip,
        options: TranscribeOptions,
        told: Told | None,
        *,
        recovers: bool,
    ) -> None:
        self._engine = engine
        self._request = request
        self._clip = clip
        self._options = options
        self._told = told
        self._recovers = recovers

    async def run(self) -> Transcript:
        selects_nothing = clips_within(self._options, self._clip.seconds) == []
        if selects_nothing or not await self._engine.prepare(is_audible, self._clip.samples):
            return self._empty()
        batched = is_batched(self._options, self._clip.seconds)
        speech = await self._find_speech(batched=batched)
        if batched:
            return await self._in_parallel(speech)
        return await self._in_sequence(speech)

    async def _find_speech(self, *, batched: bool) -> list[Stretch] | None:
        """The stretches of speech that VAD finds; None if the caller wants no VAD."""
        if not uses_vad(self._options):
            return None

        def timed() -> tuple[list[Stretch], float, float]:
            began = time.perf_counter()
            speech = find_speech(
                self._clip.samples, self._options, batched=batched, go_on=self._go_on
            )
            return speech, began, time.perf_counter()

        speech, began, ended = await self._engine.prepare(timed, bulk=self._is_bulk)
        self._engine.sink.observe(metrics.VAD_SECONDS, ended - began)
        self._request.span.step("vad", began, ended)
        return speech

    @property
    def _is_bulk(self) -> bool:
        return not self._request.demand.priority.is_brief(self._clip.seconds)

    def _go_on(self) -> None:
        """Raise ``RequestClosed`` in a thread if its request is over."""
        if not self._request.is_open:
            raise RequestClosed

    async def _in_parallel(self, speech: list[Stretch] | None) -> Transcript:
        cuts = self._cuts(speech)
        if not cuts:
            return self._empty(None if speech is None else 1.0)
        pipeline = BatchedPipeline(
            self._engine,
            self._request,
            self._options,
            self._clip.samples,
            None if speech is None else _intervals(speech),
            recovers=self._recovers,
        )
        segments, language, coverage = await pipeline.hear(cuts, self._language(), self._told)
        return to_transcript(
            segments,
            language=language.code,
            language_probability=language.probability,
            speech_seconds=sum(cut.seconds for cut in cuts),
            speech_coverage=self._noted(coverage),
            clip=self._clip,
        )

    async def _in_sequence(self, speech: list[Stretch] | None) -> Transcript:
        if speech == []:
            return self._empty(1.0)
        heard = self._clip.samples
        if speech is not None:
            joined = Cut(tuple(speech)).audio
            heard = await self._engine.prepare(joined, heard, bulk=self._is_bulk)
        seconds = len(heard) / SAMPLE_RATE_HZ
        self._engine.scheduler.expect(self._request, expected_work_seconds(self._options, seconds))
        extractor = self._engine.whisper.feature_extractor
        mel = await self._engine.prepare(
            LogMel.of, extractor, heard, self._go_on, bulk=self._is_bulk
        )
        segments, info = await self._engine.sequence(
            hear_in_sequence, self._engine, self._request, mel, self._options
        )
        coverage = None
        if speech is not None:
            segments = list(restore_speech_timestamps(segments, as_dicts(speech), SAMPLE_RATE_HZ))
            # These segments stay faster-whisper's to the letter; the caller is only told.
            gaps = uncovered(_intervals(speech), _spoken(segments))
            coverage = Coverage.of(_intervals(speech), gaps, gaps)
        if self._told:
            self._told(segments)
        return to_transcript(
            segments,
            language=info.language,
            language_probability=info.language_probability,
            speech_seconds=seconds,
            speech_coverage=self._noted(coverage),
            clip=self._clip,
        )

    def _cuts(self, speech: list[Stretch] | None) -> list[Cut]:
        if speech is not None:
            options = self._options
            lead = lead_seconds(options) if self._recovers else 0.0  # faster-whisper knows of none
            return cut_speech(speech, longest_window(options), lead)
        clips = clips_within(self._options, self._clip.seconds)
        return cut_clips([(0.0, self._clip.seconds)] if clips is None else clips)

    def _language(self) -> Language | None:
        """The language of the whole request; None if it must be detected."""
        if not self._engine.facts.multilingual:
            return Language("en")
        return None if self._options.language is None else Language(self._options.language)

    def _empty(self, coverage: float | None = None) -> Transcript:
        language = self._options.language or "en"
        return to_transcript([], language=language, clip=self._clip, speech_coverage=coverage)

    def _noted(self, coverage: Coverage | None) -> float | None:
        """Count the speech and what became of it. Returns the share that is covered, if known."""
        if coverage is None:
            return None
        sink, speech = self._engine.sink, coverage.speech_seconds
        covered = max(0.0, speech - coverage.missing_seconds)
        recovered = max(0.0, coverage.lost_seconds - coverage.missing_seconds)
        sink.count(metrics.SPEECH_SECONDS, speech)
        sink.count(metrics.SPEECH_COVERED_SECONDS, covered)
        sink.count(metrics.SPEECH_RECOVERED_SECONDS, recovered)
        return coverage.share


def _intervals(speech: Sequence[Stretch]) -> list[Interval]:
    return [(start / SAMPLE_RATE_HZ, end / SAMPLE_RATE_HZ) for start, end in speech]


def _spoken(segments: Sequence[Segment]) -> list[Interval]:
    """When something is said: the times of words if they are known, else those of segments."""
    return [
        (part.start, part.end)
        for segment in segments
        if segment.text.strip()
        for part in segment.words or [segment]
    ]
