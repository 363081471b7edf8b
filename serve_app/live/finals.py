"""The final texts of a session: what has ended is heard in order, until there is an answer."""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, replace

from serve_app import metrics
from serve_app.audio.clip import AudioClip
from serve_app.errors import WhisperOxError
from serve_app.live.agreement import n_known
from serve_app.live.endpointing import Utterance
from serve_app.live.events import Event, EventLog, Failed, Final
from serve_app.live.hearing import Hearing, words_from
from serve_app.live.options import LiveOptions
from serve_app.live.tape import Tape, in_seconds
from serve_app.transcript import Transcript, Word

logger = logging.getLogger("whisper_ox.live")

TOLD_LANGUAGE_SECONDS = 3.0
"""A shorter utterance is taken to be in the language of the one before."""

LONGEST_GAP_SECONDS = 1.2
"""An utterance begins and ends with speech, so that a longer gap to its words is speech lost."""

Words = tuple[Word, ...]


@dataclass(frozen=True)
class Ended:
    """An utterance to be heard in ``clip``, which ends with it and begins at sample ``start``."""

    number: int
    utterance: Utterance
    start: int
    clip: AudioClip
    is_flushed: bool
    options: LiveOptions

    def failed(self, error: WhisperOxError) -> Failed:
        """What is told if it cannot be heard."""
        place = self.utterance
        return Failed(self.number, in_seconds(place.start), in_seconds(place.end), error)


class Finals:
    """Hears what has ended with ``model`` and adds the events to ``log``.

    ``tape`` tells how much audio has come meanwhile. ``language`` is that of the latest text,
    ``unheard_samples`` how much of what has ended has no text yet, and ``kept_samples`` how much is
    kept to hear it, context included.
    """

    def __init__(self, model: Hearing, log: EventLog, tape: Tape, sink: metrics.Sink) -> None:
        self.language: str | None = None
        self.unheard_samples = self.kept_samples = 0
        self._model = model
        self._log = log
        self._tape = tape
        self._sink = sink
        self._last_word: Word | None = None
        self._ended: asyncio.Queue[Ended | None] = asyncio.Queue()
        self._has_changed = asyncio.Event()
        self._hearing = asyncio.create_task(self._hear_all())

    def add(self, ended: Ended) -> None:
        """Have an utterance heard after those before it."""
        self.unheard_samples += ended.utterance.end - ended.utterance.start
        self.kept_samples += len(ended.clip.samples)
        self._ended.put_nowait(ended)

    async def finish(self) -> None:
        """Wait for every text. Nothing may be added any more."""
        self._ended.put_nowait(None)
        await asyncio.shield(self._hearing)

    async def close(self) -> None:
        """Stop at once; what has not been heard is lost."""
        self._hearing.cancel()
        with suppress(asyncio.CancelledError):
            await self._hearing

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be heard."""
        return self._hearing.done()

    async def wait(self, seconds: float) -> None:
        """Wait for the next text, but no longer than this."""
        self._has_changed.clear()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._has_changed.wait(), seconds)

    async def _hear_all(self) -> None:
        while (ended := await self._ended.get()) is not None:
            try:
                event: Event = self._final(ended, *await self._hear(ended))
            except WhisperOxError as error:
                logger.warning("an utterance of a live session was not heard: %s", error.code)
                event = ended.failed(error)
            except Exception:
                logger.exception("an utterance of a live session was not heard")
                event = ended.failed(WhisperOxError("The server failed on this utterance."))
            self._log.add(event)
            self.unheard_samples -= ended.utterance.end - ended.utterance.start
            self.kept_samples -= len(ended.clip.samples)
            self._has_changed.set()

    async def _hear(self, ended: Ended) -> tuple[Transcript, Words]:
        """What is heard, and the words of it that have not been told yet."""
        known = self.language if ended.clip.seconds < TOLD_LANGUAGE_SECONDS else None
        new_seconds = in_seconds(ended.utterance.end - ended.utterance.start)
        transcript = await self._model.final(ended.clip, ended.options, known, new_seconds)
        words = words_from(transcript, ended.start)
        start = ended.utterance.start
        if ended.start == start:
            return transcript, words
        words = words[n_known(self._last_word, words, in_seconds(start)) :]
        if _reach_over(words, ended.utterance):
            return transcript, words
        # Where one utterance ends and the next one begins, Whisper stops now and then.
        alone = AudioClip.of(ended.clip.samples[start - ended.start :])
        try:
            second = await self._model.final(alone, ended.options, known, 0.0)
        except WhisperOxError:
            if not words:
                raise
            return transcript, words
        return second, max(words, words_from(second, start), key=len)

    def _final(self, ended: Ended, transcript: Transcript, words: Words) -> Final:
        place = ended.utterance
        # Alignment stretches a first word back over the silence before it.
        earliest = max(in_seconds(place.start), self._last_word.end if self._last_word else 0.0)
        words = tuple(
            replace(word, start=max(word.start, earliest), end=max(word.end, earliest))
            for word in words
        )
        text = "".join(word.word for word in words).strip()
        if words:
            self.language, self._last_word = transcript.language, words[-1]
        lag = in_seconds(self._tape.end - place.end)
        self._sink.observe(metrics.LIVE_LAG_SECONDS, lag, kind="final")
        return Final(
            utterance=ended.number,
            start=words[0].start if words else in_seconds(place.start),
            end=words[-1].end if words else in_seconds(place.end),
            text=text,
            words=words,
            language=transcript.language,
            language_probability=transcript.language_probability,
            is_cut=place.is_cut,
            is_flushed=ended.is_flushed,
            lag_seconds=lag,
        )


def _reach_over(words: Words, utterance: Utterance) -> bool:
    """Whether words are said from the beginning of an utterance to its end."""
    return bool(words) and (
        words[0].start < in_seconds(utterance.start) + LONGEST_GAP_SECONDS
        and words[-1].end > in_seconds(utterance.end) - LONGEST_GAP_SECONDS
    )
