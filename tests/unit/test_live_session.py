"""What a session does when the model is slow, busy or gone. Speech detection is the real one."""

import asyncio
import io
import wave
from collections.abc import Awaitable, Callable
from itertools import pairwise

import numpy as np
import pytest

from serve_app.assets import GOLDEN_CLIP
from serve_app.audio.clip import AudioClip, Samples
from serve_app.caller import Caller
from serve_app.errors import InvalidOption, NotReady, Overloaded, WhisperOxError
from serve_app.live.current import CurrentUtterance
from serve_app.live.events import Event, Failed, Final, Partial
from serve_app.live.options import LiveOptions
from serve_app.live.session import LiveSession
from serve_app.options import TranscribeOptions
from serve_app.settings import LiveSettings
from serve_app.transcript import Segment, Tell, Transcript, Word
from tests.unit.deaf_service import DeafService
from tests.unit.virtual_time import run_at_once

Answer = Callable[[], Awaitable[object]]


class SlowService(DeafService):
    """Hears one word in the middle of each clip, after ``answer`` has let it."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.clips: list[AudioClip] = []
        self.asked: list[TranscribeOptions] = []
        self._answer = answer

    async def transcribe(
        self,
        clip: AudioClip,
        options: TranscribeOptions,
        caller: Caller,
        tell: Tell | None = None,
    ) -> Transcript:
        self.callers.append(caller)
        self.clips.append(clip)
        self.asked.append(options)
        await self._answer()
        start, end = self.place(clip)
        word = Word(start, end, " hello", 0.9)
        segment = Segment(word.start, word.end, " hello", -0.1, 0.0, 1.0, 0.0, 0, (1,), (word,))
        return Transcript((segment,), "en", 1.0, clip.seconds, clip.seconds)

    def place(self, clip: AudioClip) -> tuple[float, float]:
        """Where the word begins and ends."""
        return clip.seconds / 2 - 0.1, clip.seconds / 2 + 0.1


class StretchingService(SlowService):
    """Its word begins before the utterance, as alignment may have it."""

    def place(self, clip: AudioClip) -> tuple[float, float]:
        return max(0.0, clip.seconds - 2.0), clip.seconds


@pytest.fixture(scope="module")
def utterance() -> Samples:
    """ "Hello world" and a second of silence."""
    with wave.open(io.BytesIO(GOLDEN_CLIP.read_bytes())) as file:
        said = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    return np.concatenate([said, np.zeros(16_000, np.int16)])


def errors(*raised: BaseException) -> Answer:
    left = list(raised)

    async def answer() -> None:
        if left:
            raise left.pop(0)

    return answer


def heard(
    service: DeafService, samples: Samples, settings: LiveSettings | None = None
) -> list[Event]:
    """Every event of a session that is fed ``samples`` and finished, without partials."""

    async def run() -> list[Event]:
        options = LiveOptions(language="en", partials=False)
        session = LiveSession(service, Caller("1"), options, settings or LiveSettings())
        await session.feed(samples)
        await session.finish()
        return [event async for event in session.events()]

    return run_at_once(run())


def finals(events: list[Event]) -> list[Final]:
    return [event for event in events if isinstance(event, Final)]


@pytest.mark.parametrize(
    "raised",
    [
        [NotReady("Died.")] * 5,
        [Overloaded("Busy.", retry_after_seconds=60)] * 5,
        [asyncio.CancelledError()],  # the process that heard it is stopping
    ],
)
def test_no_final_text_is_lost_while_the_model_is_away(
    utterance: Samples, raised: list[BaseException]
) -> None:
    service = SlowService(errors(*raised))
    (final,) = finals(heard(service, utterance))
    assert final.text == "hello"
    assert len(service.clips) == len(raised) + 1


@pytest.mark.parametrize("error", [InvalidOption("prompt: too long"), NotReady("Gone.")])
def test_an_utterance_that_cannot_be_heard_is_told_and_the_next_one_is_heard(
    utterance: Samples, error: WhisperOxError
) -> None:
    n_errors = 1 if isinstance(error, InvalidOption) else 60
    service = SlowService(errors(*[error] * n_errors))
    settings = LiveSettings(final_seconds=100.0)
    events = heard(service, np.tile(utterance, 2), settings)
    (failed,) = (event for event in events if isinstance(event, Failed))
    assert (failed.utterance, failed.error.code) == (0, error.code)
    assert [final.utterance for final in finals(events)] == [1]


def test_finals_come_in_order_and_a_word_of_the_context_is_not_told_again(
    utterance: Samples,
) -> None:
    service = SlowService(errors())
    events = finals(heard(service, np.tile(utterance, 15)))
    assert [final.utterance for final in events] == [*range(15)]
    assert max(clip.seconds for clip in service.clips) > 12  # nothing of the context is missing
    # The second clip holds the first utterance as well; its only word is before the second one.
    assert service.clips[1].seconds > service.clips[0].seconds
    starts = [word.start for final in events for word in final.words]
    assert starts == sorted(set(starts))


def test_what_was_cleared_is_not_heard_with_what_follows(utterance: Samples) -> None:
    service = SlowService(errors())

    async def run() -> None:
        options = LiveOptions(language="en", partials=False)
        session = LiveSession(service, Caller("1"), options, LiveSettings())
        await session.feed(utterance)
        await session.feed(utterance[:-16_000])
        session.clear()
        await session.feed(utterance)
        await session.finish()

    run_at_once(run())
    first, last = service.clips
    assert last.seconds == pytest.approx(first.seconds, abs=0.3)


def test_only_new_audio_counts_however_much_is_heard_with_it(utterance: Samples) -> None:
    service = SlowService(errors())
    ended = finals(heard(service, np.tile(utterance, 4)))
    new = [caller.live.new_seconds for caller in service.callers if caller.live is not None]
    assert sum(clip.seconds for clip in service.clips) > 2 * sum(new)
    assert sum(new) == pytest.approx(len(ended) * service.clips[0].seconds, abs=1.0)


async def read(session: LiveSession) -> list[Event]:
    return [event async for event in session.events()]


async def flush_often(session: LiveSession, said: Samples, seconds: float) -> None:
    """Speak without a pause, and flush after each piece of so many ``seconds``."""
    n_samples = int(seconds * 16_000)
    speech = np.tile(said[4_000:16_000], 30)
    for start in range(0, len(speech), n_samples):
        await session.feed(speech[start : start + n_samples])
        session.flush()


@pytest.mark.parametrize("seconds", [0.04, 0.25])
def test_what_flushes_have_heard_is_in_proportion_to_what_is_said(
    utterance: Samples, seconds: float
) -> None:
    service = SlowService(errors())

    async def run() -> float:
        options = LiveOptions(language="en", partials=False)
        session = LiveSession(service, Caller("1"), options, LiveSettings())
        reading = asyncio.create_task(read(session))
        await flush_often(session, utterance, seconds)
        await session.finish()
        await reading
        return session.seconds

    said_seconds = run_at_once(run())
    assert sum(clip.seconds for clip in service.clips) <= 21 * said_seconds


def test_a_client_that_flushes_often_is_held_back(utterance: Samples) -> None:
    async def run() -> float:
        service = SlowService(asyncio.Event().wait)  # it never answers
        options = LiveOptions(language="en", partials=False)
        session = LiveSession(service, Caller("1"), options, LiveSettings(unheard_seconds=100.0))
        flushing = asyncio.create_task(flush_often(session, utterance, 0.5))
        await asyncio.sleep(100)
        assert not flushing.done()
        flushing.cancel()
        await session.close()
        return session.unheard_seconds

    assert run_at_once(run()) < 15


@pytest.mark.parametrize(("threshold", "heard_with"), [(0.2, 0.2), (0.5, None), (0.8, None)])
def test_a_final_text_is_looked_for_in_all_that_the_session_took_for_speech(
    utterance: Samples, threshold: float, heard_with: float | None
) -> None:
    service = SlowService(errors())

    async def run() -> None:
        options = LiveOptions(language="en", partials=False, threshold=threshold)
        session = LiveSession(service, Caller("1"), options, LiveSettings())
        await session.feed(utterance)
        await session.finish()

    run_at_once(run())
    (asked,) = service.asked
    given = asked.vad_parameters.threshold if asked.vad_parameters else None
    assert given == heard_with


def test_a_draft_begins_with_its_utterance_to_the_sample() -> None:
    starts = range(1_000, 3_000)
    late = 20 * 16_000
    assert all(CurrentUtterance(0, start).draft_from(late) == start for start in starts)


def test_words_begin_in_their_utterance(utterance: Samples) -> None:
    said = np.concatenate([utterance, utterance, utterance])
    finals = [one for one in heard(StretchingService(errors()), said) if isinstance(one, Final)]
    assert len(finals) == 3
    for before, after in pairwise(finals):
        pause_seconds = after.start - before.end
        assert pause_seconds > 0.5  # a second, less what is kept around speech
        assert after.start == after.words[0].start


def test_a_client_faster_than_the_model_is_held_back_until_it_leaves(utterance: Samples) -> None:
    said = np.tile(utterance, 100)

    async def run() -> tuple[float, float, float]:
        may_answer = asyncio.Event()
        service = SlowService(may_answer.wait)
        options = LiveOptions(language="en", partials=False)
        session = LiveSession(service, Caller("1"), options, LiveSettings(unheard_seconds=5.0))
        reading = asyncio.create_task(read(session))
        feeding = asyncio.create_task(session.feed(said))
        await asyncio.sleep(1_000)
        held_back = session.seconds
        feeding.cancel()
        await asyncio.wait([feeding])
        at_once = session.seconds
        may_answer.set()
        await session.finish()
        await reading
        return held_back, at_once, session.seconds

    held_back, at_once, taken = run_at_once(run())
    assert 5.0 < held_back < 15.0
    assert at_once == held_back  # the event loop is not held either
    assert taken == len(said) / 16_000  # it could not know how much of it to send again


def test_who_comes_back_waits_for_what_was_sent_before(utterance: Samples) -> None:
    async def run() -> None:
        service = SlowService(asyncio.Event().wait)  # it never answers
        options = LiveOptions(language="en", partials=False)
        session = LiveSession(service, Caller("1"), options, LiveSettings(unheard_seconds=5.0))
        feeding = asyncio.create_task(session.feed(np.tile(utterance, 10)))
        await asyncio.sleep(1)
        feeding.cancel()
        coming_back = asyncio.create_task(session.wait_for_room())
        await asyncio.sleep(60)
        assert not coming_back.done()
        await session.close()
        await asyncio.wait([coming_back])

    run_at_once(run())


def test_whoever_feeds_a_session_goes_on_when_another_task_closes_it(utterance: Samples) -> None:
    async def run() -> None:
        service = SlowService(asyncio.Event().wait)  # it never answers
        options = LiveOptions(language="en", partials=False)
        session = LiveSession(service, Caller("1"), options, LiveSettings(unheard_seconds=5.0))
        feeding = asyncio.create_task(session.feed(np.tile(utterance, 10)))
        await asyncio.sleep(60)
        taken = session.seconds
        await session.close()
        await feeding  # an Azure client ends a turn so, and its connection goes on
        await session.feed(utterance)
        assert session.seconds == taken

    run_at_once(run())


def test_partials_get_rarer_while_the_model_lags(utterance: Samples) -> None:
    async def partials(round_trip_seconds: float) -> int:
        service = SlowService(lambda: asyncio.sleep(round_trip_seconds))
        options = LiveOptions(language="en", silence_seconds=None)
        session = LiveSession(service, Caller("1"), options, LiveSettings())
        speech = np.tile(utterance[:16_000], 9)
        for start in range(0, len(speech), 1_600):
            await session.feed(speech[start : start + 1_600])
            await asyncio.sleep(0.1)
        await session.close()
        return sum(caller.live is not None and caller.live.is_draft for caller in service.callers)

    quick, slow = (run_at_once(partials(seconds)) for seconds in (0.05, 1.0))
    assert quick > 1.5 * slow > 0


def test_a_partial_that_comes_after_its_utterance_has_ended_is_not_told(utterance: Samples) -> None:
    async def run() -> list[Event]:
        service = SlowService(lambda: asyncio.sleep(1.0))
        session = LiveSession(service, Caller("1"), LiveOptions(language="en"), LiveSettings())
        await session.feed(utterance)
        await session.finish()
        return [event async for event in session.events()]

    assert not [event for event in run_at_once(run()) if isinstance(event, Partial)]
