"""One live session: a stream of audio in, events out.

It finds utterances (``endpointing``). Of the current one it has drafts heard, each of which may be
lost; what two of them agree on is certain (``agreement``). A finished utterance is heard with the
full policy, and is asked for until there is an answer: its text is final.

Everything the session knows is here, in one process. The model is called as for any other request,
so it may die, be replaced or run as several replicas.
"""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace

from serve_app import metrics
from serve_app.audio.clip import SAMPLE_RATE_HZ, AudioClip, Samples
from serve_app.caller import Caller
from serve_app.engine.vad import SpeechProbability
from serve_app.errors import DraftDropped, WhisperOxError
from serve_app.live.agreement import n_known
from serve_app.live.context import Context
from serve_app.live.current import CurrentUtterance
from serve_app.live.endpointing import Endpointer, Mark, SpeechBegan, SpeechStopped, Utterance
from serve_app.live.events import (
    Event,
    EventLog,
    Failed,
    Final,
    Partial,
    SpeechEnded,
    SpeechStarted,
)
from serve_app.live.hearing import Hearing, is_sound, words_from
from serve_app.live.options import LiveOptions
from serve_app.live.tape import Tape
from serve_app.service import SpeechService
from serve_app.settings import LiveSettings
from serve_app.transcript import Transcript, Word

logger = logging.getLogger("whisper_ox.live")

BLOCK_SAMPLES = SAMPLE_RATE_HZ // 4
"""The most audio that is looked at in one turn on the event loop."""

ROUND_TRIPS_PER_STEP = 1.5
"""The time between drafts, in times that the latest one took: so they get rarer under load."""

MOST_STEP_SECONDS = 2.0
"""What is rarer is not live. Under more load drafts are dropped."""

TOLD_LANGUAGE_SECONDS = 3.0
"""A shorter utterance is taken to be in the language of the one before."""

LATEST_END_SECONDS = 11.0
"""How long after its end an utterance may be known to have ended: the longest silence, and a
second."""

LONGEST_GAP_SECONDS = 1.2
"""An utterance begins and ends with speech, so that a longer gap to its words is speech lost."""

MOST_UNREAD = 100
"""Events that a reader may be behind before the session takes no more audio."""


Words = tuple[Word, ...]


@dataclass(frozen=True)
class _Ended:
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
        return Failed(self.number, _seconds(place.start), _seconds(place.end), error)


class LiveSession:
    """A session, which works from its first audio until :meth:`finish` or :meth:`close`.

    ``caller`` is on whose behalf it works. ``session_id`` is given to sessions of one person that
    follow one another, so that they count as one. Not thread-safe: for one event loop.
    """

    def __init__(
        self,
        service: SpeechService,
        caller: Caller,
        options: LiveOptions,
        settings: LiveSettings,
        sink: metrics.Sink = metrics.NO_METRICS,
        *,
        session_id: str | None = None,
    ) -> None:
        self.id = session_id or uuid.uuid4().hex
        self.log = EventLog()
        self._model = Hearing(service, caller, settings, self.id)
        self._settings = settings
        self._sink = sink
        self._options = options
        self._voice = SpeechProbability()
        self._endpointer = Endpointer(options)
        self._tape = Tape()
        self._current: CurrentUtterance | None = None
        self._n_utterances = 0
        self._ended: asyncio.Queue[_Ended | None] = asyncio.Queue()
        self._unheard_samples = 0
        self._language: str | None = None
        self._last_word: Word | None = None
        self._context = Context(settings.context_seconds)
        self._round_trip_seconds = 0.0
        self._has_changed = asyncio.Event()
        self._hearing = asyncio.create_task(self._hear_ended())

    @property
    def options(self) -> LiveOptions:
        """What the caller has chosen. New options hold from the next audio on."""
        return self._options

    @options.setter
    def options(self, options: LiveOptions) -> None:
        self._options = self._endpointer.options = options

    def hear_with(self, service: SpeechService) -> None:
        """Have what is asked from now on heard by another model."""
        self._model.service = service

    @property
    def seconds(self) -> float:
        """How much audio has come."""
        return self._tape.end / SAMPLE_RATE_HZ

    @property
    def n_utterances(self) -> int:
        """How many utterances have begun, forgotten ones included."""
        return self._n_utterances

    @property
    def unheard_seconds(self) -> float:
        """How much of it is in utterances that have ended and have no text yet."""
        return self._unheard_samples / SAMPLE_RATE_HZ

    @property
    def step_seconds(self) -> float:
        """New audio that makes the next draft worth hearing; more while the server lags."""
        step = max(self._settings.step_seconds, ROUND_TRIPS_PER_STEP * self._round_trip_seconds)
        return min(step, MOST_STEP_SECONDS)

    async def feed(self, samples: Samples) -> None:
        """Take the next audio, int16 at 16 kHz.

        Waits while ``live.unheard_seconds`` of earlier audio wait for their text, or while nobody
        reads the events.
        """
        for start in range(0, len(samples), BLOCK_SAMPLES):
            self._take(samples[start : start + BLOCK_SAMPLES])
            await self._wait_for_room()

    def flush(self) -> int | None:
        """End the current utterance here. Returns its number, None if nobody has said anything."""
        utterance = self._endpointer.flush(self._tape.end)
        if utterance is None:
            return None
        return self._end(utterance, is_flushed=True)

    def clear(self) -> None:
        """Forget the current utterance. What was ended before is still heard."""
        self._endpointer.clear()
        self._drop_current()

    async def finish(self) -> None:
        """Flush, wait for every final text, and end the events."""
        self.flush()
        self._ended.put_nowait(None)
        await asyncio.shield(self._hearing)
        self.log.close()

    async def close(self) -> None:
        """End at once; what has not been heard is lost."""
        self._drop_current()
        self._hearing.cancel()
        with suppress(asyncio.CancelledError):
            await self._hearing
        self.log.close()

    async def events(self) -> AsyncIterator[Event]:
        """Every event from the first one on, until the session ends."""
        async for _, event in self.log.since(0):
            yield event

    def _take(self, samples: Samples) -> None:
        self._tape.add(samples)
        for probability in self._voice.feed(samples):
            for mark in self._endpointer.step(float(probability)):
                self._note(mark)
        start = self._endpointer.heard_from
        if start is not None and self._current is None:
            self._current = CurrentUtterance(self._n_utterances, start)
            self._n_utterances += 1
        self._draft_if_due()
        kept_seconds = self._settings.context_seconds + LATEST_END_SECONDS
        earliest = self._tape.end - int(kept_seconds * SAMPLE_RATE_HZ)
        self._tape.forget(min(self._endpointer.needed_from, earliest))

    def _note(self, mark: Mark) -> None:
        if isinstance(mark, SpeechBegan):
            self.log.add(SpeechStarted(_seconds(mark.at), self._n_utterances))
        elif isinstance(mark, SpeechStopped):
            self.log.add(SpeechEnded(_seconds(mark.at), self._n_utterances - 1))
        else:
            self._end(mark, is_flushed=False)

    def _end(self, utterance: Utterance, *, is_flushed: bool) -> int:
        """Have an utterance heard for its final text; returns its number."""
        number = self._n_utterances if self._current is None else self._current.number
        self._n_utterances = number + 1
        self._drop_current()
        start = self._context_start(utterance.start, utterance.end)
        clip = self._tape.clip(start, utterance.end)
        self._context.add(utterance)
        self._unheard_samples += utterance.end - utterance.start
        self._ended.put_nowait(_Ended(number, utterance, start, clip, is_flushed, self._options))
        return number

    def _context_start(self, start: int, end: int) -> int:
        """Where the audio begins that is heard along with an utterance.

        A language that has to be detected is that of the utterance alone.
        """
        return start if self._options.language is None else self._context.start(start, end)

    def _drop_current(self) -> None:
        if self._current is not None:
            self._current.drop()
            self._current = None

    async def _wait_for_room(self) -> None:
        while (
            self.unheard_seconds > self._settings.unheard_seconds or self.log.n_unread > MOST_UNREAD
        ) and not self._hearing.done():
            self._has_changed.clear()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._has_changed.wait(), 0.1)
        await asyncio.sleep(0)

    # Drafts

    def _draft_if_due(self) -> None:
        current, now = self._current, self._tape.end
        # What was said before comes first.
        if current is None or not self._options.partials or self._unheard_samples:
            return
        if current.is_due(now, self.step_seconds):
            current.begin(self._draft(current, current.draft_from(now), now), now)

    async def _draft(self, current: CurrentUtterance, start: int, end: int) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            transcript = await self._model.draft(
                self._tape.clip(start, end), self._options, self._language
            )
        except DraftDropped:
            self._round_trip_seconds = max(self._round_trip_seconds, loop.time() - began)
            return
        except WhisperOxError as error:
            logger.debug("a draft failed: %s", error.code)
            return
        except Exception:
            logger.exception("a draft failed")
            return
        self._round_trip_seconds = loop.time() - began
        is_wanted = current is self._current and is_sound(transcript)
        if is_wanted and current.take(words_from(transcript, start), end):
            self._tell(current, transcript.language)

    def _tell(self, current: CurrentUtterance, language: str) -> None:
        words = tuple(current.agreement.words)
        if not words:
            return
        lag = _seconds(self._tape.end - current.heard_to)
        self._sink.observe(metrics.LIVE_LAG_SECONDS, lag, kind="partial")
        self.log.add(
            Partial(
                utterance=current.number,
                start=words[0].start,
                end=words[-1].end,
                words=words,
                n_certain=len(current.agreement.certain),
                language=language,
                heard_seconds=_seconds(current.heard_to),
                lag_seconds=lag,
            )
        )

    # Final texts

    async def _hear_ended(self) -> None:
        """Hear the utterances that have ended, one after the other."""
        while (ended := await self._ended.get()) is not None:
            try:
                event: Event = self._final(ended, *await self._hear(ended))
            except WhisperOxError as error:
                logger.warning("an utterance of a live session was not heard: %s", error.code)
                event = ended.failed(error)
            except Exception:
                logger.exception("an utterance of a live session was not heard")
                event = ended.failed(WhisperOxError("The server failed on this utterance."))
            self.log.add(event)
            self._unheard_samples -= ended.utterance.end - ended.utterance.start
            self._has_changed.set()

    async def _hear(self, ended: _Ended) -> tuple[Transcript, Words]:
        """What is heard, and the words of it that have not been told yet."""
        known = self._language if ended.clip.seconds < TOLD_LANGUAGE_SECONDS else None
        transcript = await self._model.final(ended.clip, ended.options, known)
        words = words_from(transcript, ended.start)
        start = ended.utterance.start
        if ended.start == start:
            return transcript, words
        words = words[n_known(self._last_word, words, _seconds(start)) :]
        if _reach_over(words, ended.utterance):
            return transcript, words
        # Where one utterance ends and the next one begins, Whisper stops now and then.
        alone = AudioClip.of(ended.clip.samples[start - ended.start :])
        transcript = await self._model.final(alone, ended.options, known)
        return transcript, max(words, words_from(transcript, start), key=len)

    def _final(self, ended: _Ended, transcript: Transcript, words: Words) -> Final:
        place = ended.utterance
        # Alignment stretches a first word back over the silence before it.
        earliest = max(_seconds(place.start), self._last_word.end if self._last_word else 0.0)
        words = tuple(
            replace(word, start=max(word.start, earliest), end=max(word.end, earliest))
            for word in words
        )
        text = "".join(word.word for word in words).strip()
        if words:
            self._language, self._last_word = transcript.language, words[-1]
        lag = _seconds(self._tape.end - place.end)
        self._sink.observe(metrics.LIVE_LAG_SECONDS, lag, kind="final")
        return Final(
            utterance=ended.number,
            start=words[0].start if words else _seconds(place.start),
            end=words[-1].end if words else _seconds(place.end),
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
        words[0].start < _seconds(utterance.start) + LONGEST_GAP_SECONDS
        and words[-1].end > _seconds(utterance.end) - LONGEST_GAP_SECONDS
    )


def _seconds(n_samples: int) -> float:
    return n_samples / SAMPLE_RATE_HZ
