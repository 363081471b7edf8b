"""One live session: a stream of audio in, events out.

It finds utterances (``endpointing``). Of the current one it has drafts heard, each of which may be
lost; what two of them agree on is certain (``agreement``). A finished utterance is heard with the
full policy: its text is final (``finals``).

Everything the session knows is here, in one process. The model is called as for any other request,
so it may die, be replaced or run as several replicas.
"""

import asyncio
import logging
import uuid
from collections import deque
from collections.abc import AsyncIterator

from serve_app import metrics
from serve_app.audio.clip import SAMPLE_RATE_HZ, Samples
from serve_app.caller import Caller
from serve_app.engine.vad import SpeechProbability
from serve_app.errors import DraftDropped, WhisperOxError
from serve_app.live.context import Context
from serve_app.live.current import CurrentUtterance
from serve_app.live.endpointing import Endpointer, Mark, SpeechBegan, SpeechStopped, Utterance
from serve_app.live.events import (
    Event,
    EventLog,
    Partial,
    SpeechEnded,
    SpeechStarted,
)
from serve_app.live.finals import Ended, Finals
from serve_app.live.hearing import Hearing, is_sound, words_from
from serve_app.live.options import LiveOptions
from serve_app.live.tape import Tape, in_seconds
from serve_app.service import LiveLoad, SpeechService
from serve_app.settings import LiveSettings

logger = logging.getLogger("whisper_ox.live")

BLOCK_SAMPLES = SAMPLE_RATE_HZ // 4
"""The most audio that is looked at in one turn on the event loop."""

ROUND_TRIPS_PER_STEP = 1.5
"""The time between drafts, in times that the latest one took: so they get rarer under load."""

MOST_STEP_SECONDS = 2.0
"""What is rarer is not live. Under more load drafts are dropped."""

LATEST_END_SECONDS = 12.0
"""How long it takes at most to notice where an utterance has ended: the longest silence and a
second, or what is left of the longest utterance after a cut within speech."""

MOST_KEPT_SECONDS = 150.0
"""Audio that is kept for final texts, with what is heard along with each utterance, before the
session takes no more. So much is kept only for many utterances that are short."""

MOST_UNREAD = 100
"""Events that a reader may be behind before the session takes no more audio."""


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
        self._untaken: deque[Samples] = deque()
        self._taking: asyncio.Task[None] | None = None
        self._is_closed = False
        self._finals = Finals(self._model, self.log, self._tape, sink)
        self._current: CurrentUtterance | None = None
        self._n_utterances = 0
        self._context = Context(settings.context_seconds)
        self._round_trip_seconds = 0.0

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
        return self._finals.unheard_samples / SAMPLE_RATE_HZ

    @property
    def step_seconds(self) -> float:
        """New audio that makes the next draft worth hearing; more while the server lags."""
        step = max(self._settings.step_seconds, ROUND_TRIPS_PER_STEP * self._round_trip_seconds)
        return min(step, MOST_STEP_SECONDS)

    async def feed(self, samples: Samples) -> None:
        """Take the next audio, int16 at 16 kHz.

        Waits while ``live.unheard_seconds`` of earlier audio or very many utterances wait for their
        text, or while nobody reads the events.
        """
        starts = range(0, len(samples), BLOCK_SAMPLES)
        self._untaken.extend(samples[start : start + BLOCK_SAMPLES] for start in starts)
        await self.wait_for_room()

    async def wait_for_room(self) -> None:
        """Wait for what :meth:`feed` waits for, also for audio whose feeder has been cancelled.

        A client that comes back after its connection has dropped does not send that audio again.
        """
        if self._is_closed:
            return
        if self._taking is None or self._taking.done():
            self._taking = asyncio.create_task(self._take_all())
        taking = self._taking
        await asyncio.wait([taking])  # which neither cancels it nor passes its cancelling on
        if not taking.cancelled():
            taking.result()

    def flush(self) -> int | None:
        """End the current utterance here. Returns its number, None if nobody has said anything."""
        utterance = self._endpointer.flush(self._tape.end)
        if utterance is None:
            return None
        return self._end(utterance, is_flushed=True)

    def clear(self) -> None:
        """Forget the current utterance. What was ended before is still heard."""
        self._endpointer.clear()
        self._context.clear()
        self._drop_current()

    async def load(self) -> LiveLoad:
        """How many sessions there are, and may be, at the model that hears this one."""
        return await self._model.service.live_load()

    async def finish(self) -> None:
        """Flush, wait for every final text, and end the events."""
        if self._untaken:
            await self.wait_for_room()
        self.flush()
        await self._finals.finish()
        self.log.close()

    async def close(self) -> None:
        """End at once; what has not been heard is lost."""
        self._is_closed = True
        self._untaken.clear()
        if self._taking is not None:
            self._taking.cancel()
        self._drop_current()
        await self._finals.close()
        self.log.close()

    async def events(self) -> AsyncIterator[Event]:
        """Every event from the first one on, until the session ends."""
        async for _, event in self.log.since(0):
            yield event

    async def _take_all(self) -> None:
        while True:
            while not self._has_room and not self._finals.is_over:
                await self._finals.wait(0.1)
            if not self._untaken:
                return
            self._take(self._untaken.popleft())
            await asyncio.sleep(0)

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
            self.log.add(SpeechStarted(in_seconds(mark.at), self._n_utterances))
        elif isinstance(mark, SpeechStopped):
            self.log.add(SpeechEnded(in_seconds(mark.at), self._n_utterances - 1))
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
        self._finals.add(Ended(number, utterance, start, clip, is_flushed, self._options))
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

    @property
    def _has_room(self) -> bool:
        return (
            self.unheard_seconds <= self._settings.unheard_seconds
            and in_seconds(self._finals.kept_samples) <= MOST_KEPT_SECONDS
            and self.log.n_unread <= MOST_UNREAD
        )

    # Drafts

    def _draft_if_due(self) -> None:
        current, now = self._current, self._tape.end
        # What was said before comes first.
        if current is None or not self._options.partials or self._finals.unheard_samples:
            return
        if current.is_due(now, self.step_seconds):
            current.begin(self._draft(current, current.draft_from(now), now), now)

    async def _draft(self, current: CurrentUtterance, start: int, end: int) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            transcript = await self._model.draft(
                self._tape.clip(start, end), self._options, self._finals.language
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
        lag = in_seconds(self._tape.end - current.heard_to)
        self._sink.observe(metrics.LIVE_LAG_SECONDS, lag, kind="partial")
        self.log.add(
            Partial(
                utterance=current.number,
                start=words[0].start,
                end=words[-1].end,
                words=words,
                n_certain=len(current.agreement.certain),
                language=language,
                heard_seconds=in_seconds(current.heard_to),
                lag_seconds=lag,
            )
        )
