"""What a session asks of the model: drafts, each of which may be lost, and final texts."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from serve_app.audio.clip import SAMPLE_RATE_HZ, AudioClip
from serve_app.caller import Caller, Live, Priority
from serve_app.errors import NotReady, Overloaded
from serve_app.live.options import LiveOptions
from serve_app.options import TranscribeOptions, VadParameters
from serve_app.service import SpeechService
from serve_app.settings import LiveSettings
from serve_app.transcript import Transcript, Word

LONGEST_REPEATED = 4
"""Tokens in a row that a draft may not hold twice. What ends within speech is easily heard as a
loop, which would take ten times as long to decode."""

MOST_COMPRESSION, LEAST_LOGPROB = 1.7, -1.0
"""Of a draft. Whisper's own threshold of repetition is for longer texts: a short one without any
repetition hardly compresses. The least probability is Whisper's."""

DEFAULT_THRESHOLD, SILENCE_MS = 0.5, 160
"""VAD's defaults in a transcription: the least probability of speech, and the silence that ends a
stretch of it."""

RETRY_SECONDS = 2.0
"""The longest wait before an utterance is asked for again."""


class Hearing:
    """The calls of one session on behalf of ``caller``."""

    def __init__(
        self, service: SpeechService, caller: Caller, settings: LiveSettings, session_id: str
    ) -> None:
        self.service = service
        self._caller = caller
        self._settings = settings
        self._session_id = session_id

    async def draft(
        self, clip: AudioClip, options: LiveOptions, language: str | None
    ) -> Transcript:
        """Hear speech that goes on: once, greedily, without looking for lost words.

        Raises ``DraftDropped`` and whatever ``SpeechService.transcribe`` raises.
        """
        asked = TranscribeOptions(
            language=options.language or language,
            hotwords=options.prompt,
            beam_size=1,
            temperature=(0.0,),
            no_repeat_ngram_size=LONGEST_REPEATED,
            word_timestamps=True,
            vad_filter=False,
        )
        return await self._transcribe(clip, asked, Priority.AUTO, self._settings.draft_seconds)

    async def final(
        self, clip: AudioClip, options: LiveOptions, language: str | None, new_seconds: float
    ) -> Transcript:
        """Hear an utterance as any file, with words; asks again while no replica can answer.

        ``new_seconds`` of the clip have had no final text yet.

        Raises what ``SpeechService.transcribe`` raises, ``NotReady`` and ``Overloaded`` only after
        ``live.final_seconds``.
        """
        asked = TranscribeOptions(
            language=options.language or language,
            hotwords=options.prompt,
            word_timestamps=True,
            vad_parameters=_as_sensitive(options.threshold),
        )
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.final_seconds
        while True:
            try:
                return await self._transcribe(
                    clip, asked, Priority.INTERACTIVE, new_seconds=new_seconds
                )
            except (NotReady, Overloaded) as error:
                wait = min(error.retry_after_seconds or RETRY_SECONDS, RETRY_SECONDS)
                if loop.time() + wait > deadline:
                    raise
            await asyncio.sleep(wait)

    async def _transcribe(
        self,
        clip: AudioClip,
        options: TranscribeOptions,
        priority: Priority,
        draft_seconds: float | None = None,
        new_seconds: float = 0.0,
    ) -> Transcript:
        live = Live(self._session_id, draft_seconds, new_seconds)
        caller = replace(self._caller, priority=priority, live=live)
        # A task of its own, so that it shows who was cancelled: the call, by a process that is
        # stopping, or the caller.
        call = asyncio.ensure_future(self.service.transcribe(clip, options, caller))
        try:
            await asyncio.wait([call])
        finally:
            call.cancel()
        if call.cancelled():
            raise NotReady("The model process that heard this is stopping.")
        return call.result()


def _as_sensitive(threshold: float) -> VadParameters | None:
    """VAD that finds again what the session took for speech; None if its own defaults do."""
    if threshold >= DEFAULT_THRESHOLD:
        return None
    return VadParameters(threshold=threshold, min_silence_duration_ms=SILENCE_MS)


def is_sound(draft: Transcript) -> bool:
    """Whether a draft is probable and does not repeat itself."""
    return all(
        segment.compression_ratio <= MOST_COMPRESSION and segment.avg_logprob >= LEAST_LOGPROB
        for segment in draft.segments
    )


def words_from(transcript: Transcript, start: int) -> tuple[Word, ...]:
    """The words of a clip that begins at the sample ``start``, with times in the stream."""
    offset = start / SAMPLE_RATE_HZ
    words: Sequence[Word] = [w for segment in transcript.segments for w in segment.words or ()]
    return tuple(replace(w, start=w.start + offset, end=w.end + offset) for w in words)
