"""One request from samples to transcript."""

import asyncio
import copy
import itertools
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from serve_app import metrics
from serve_app.audio.clip import AudioClip
from serve_app.caller import Live
from serve_app.cpus import available_cpus
from serve_app.engine.device import Backend
from serve_app.engine.engine import Engine
from serve_app.engine.queue import BatchLimits, Hearing, Stage
from serve_app.engine.recovery import BEFORE_SECONDS, MOST_ROUNDS
from serve_app.engine.scheduler import RequestClosed
from serve_app.engine.sequential import hear_in_sequence
from serve_app.engine.speech import find_speech
from serve_app.engine.steps import encode_step
from serve_app.engine.transcription import transcribe
from serve_app.engine.window import FULL_FRAMES, MEL_FRAMES_PER_SECOND, short_context
from serve_app.options import TranscribeOptions, VadParameters
from serve_app.settings import EngineTunables
from serve_app.transcript import Segment, Transcript
from tests.conditions import eventually
from tests.unit.clips import clip_of, noise, sentences
from tests.unit.ledger import Ledger
from tests.unit.scripted_model import WORKERS, Detected, ScriptedModel, scripted

WINDOW_SECONDS = 5.0


def real_speech(language: str, times: int = 1) -> AudioClip:
    """A read sentence, so many times in a row."""
    return clip_of(np.tile(max(sentences([language]), key=len), times))


def windows(count: int, **given: Any) -> TranscribeOptions:
    """Options that cut ``noise`` into so many windows."""
    edges = [WINDOW_SECONDS * n for n in range(count + 1)]
    clips = tuple(itertools.pairwise(edges))
    return TranscribeOptions(**{"clip_timestamps": clips, "language": "en", **given})


def tokens(engine: Engine, text: str) -> list[int]:
    found: list[int] = engine.whisper.hf_tokenizer.encode(text, add_special_tokens=False).ids
    return found


def saying(engine: Engine, text: str = " Good day.") -> Callable[[int, Sequence[int]], list[int]]:
    said = tokens(engine, text)
    return lambda window, prompt: said


def texts(transcript: Transcript) -> list[str]:
    return [segment.text.strip() for segment in transcript.segments]


def run(engine: Engine, clip: AudioClip, options: TranscribeOptions) -> Transcript:
    return asyncio.run(transcribe(engine, clip, options))


def test_every_window_is_heard_and_told_in_the_order_of_the_audio(tiny_en: Engine) -> None:
    said = [tokens(tiny_en, f" Number {n}.") for n in range(10)]
    model = ScriptedModel(lambda window, prompt: said[window])
    with scripted(tiny_en, model) as engine:
        transcript = run(engine, noise(50.0), windows(10))
    assert sorted(texts(transcript)) == [f"Number {n}." for n in range(10)]
    assert [segment.start for segment in transcript.segments] == [5.0 * n for n in range(10)]


@pytest.mark.parametrize("batch_size", [2, 3])
def test_no_more_than_batch_size_windows_of_a_request_are_in_service(
    tiny_en: Engine, batch_size: int
) -> None:
    said = tokens(tiny_en, " Yes.")
    in_service: list[int] = []
    done: list[int] = []

    def says(window: int, prompt: Sequence[int]) -> list[int]:
        in_service.append(len(model.of(Stage.ENCODE)) - len(done))
        done.append(window)
        return said

    model = ScriptedModel(says)
    with scripted(tiny_en, model) as engine:
        run(engine, noise(60.0), windows(12, batch_size=batch_size))
    assert len(done) == 12
    assert max(in_service) <= batch_size


def test_a_window_that_takes_long_does_not_hold_up_the_next_ones(tiny_en: Engine) -> None:
    said, stuck = tokens(tiny_en, " Yes."), threading.Event()

    def says(window: int, prompt: Sequence[int]) -> list[int]:
        assert window > 0 or stuck.wait(timeout=60)
        return said

    model = ScriptedModel(says)

    async def others_go_on(engine: Engine) -> Transcript:
        call = asyncio.ensure_future(transcribe(engine, noise(40.0), windows(8, batch_size=2)))
        try:
            await asyncio.to_thread(eventually, lambda: len(model.of(Stage.GENERATE)) == 8)
        finally:
            stuck.set()
        return await call

    with scripted(tiny_en, model, limits=BatchLimits(decode=1)) as engine:
        assert texts(asyncio.run(others_go_on(engine))) == ["Yes."] * 8


@pytest.mark.parametrize("vad", [True, False])
def test_segments_are_told_in_order_while_later_windows_are_being_heard(
    tiny_en: Engine, vad: bool
) -> None:
    said, first_told = tokens(tiny_en, " one two three four five" * 3), threading.Event()
    told: list[Segment] = []

    def says(window: int, prompt: Sequence[int]) -> list[int]:
        assert window < 2 or first_told.wait(timeout=60)
        return said

    def tell(segment: Segment) -> None:
        told.append(segment)
        first_told.set()

    clip = real_speech("en", times=16) if vad else noise(40.0)
    options = TranscribeOptions(language="en", chunk_length=10) if vad else windows(8)
    with scripted(tiny_en, ScriptedModel(says, token_seconds=0.7)) as engine:
        transcript = asyncio.run(transcribe(engine, clip, options, tell=tell))
    assert len(told) > 3
    assert tuple(told) == transcript.segments


def test_the_sequential_pipeline_tells_its_segments_as_well(tiny_en: Engine) -> None:
    told: list[Segment] = []
    options = TranscribeOptions(language="en", batch_size=1)
    with scripted(tiny_en, ScriptedModel(saying(tiny_en))) as engine:
        transcript = asyncio.run(transcribe(engine, real_speech("en"), options, tell=told.append))
    assert tuple(told) == transcript.segments != ()


def test_silence_is_not_asked_of_the_model(tiny_en: Engine) -> None:
    model = ScriptedModel(saying(tiny_en))
    with scripted(tiny_en, model) as engine:
        transcript = run(engine, AudioClip(np.zeros(80_000, np.int16), 5.0), windows(1))
        assert engine.scheduler.load().open_requests == 0
    assert (transcript.segments, model.asked) == ((), [])


@pytest.mark.parametrize("batch_size", [1, 8])
def test_without_speech_nothing_is_asked_of_the_model(tiny_en: Engine, batch_size: int) -> None:
    model = ScriptedModel(saying(tiny_en))
    hum = clip_of(0.01 * np.sin(np.arange(80_000) / 50))
    with scripted(tiny_en, model) as engine:
        transcript = run(engine, hum, TranscribeOptions(batch_size=batch_size))
    assert (transcript.segments, transcript.speech_coverage, model.asked) == ((), 1.0, [])


# Languages


GREETINGS = {"de": " Guten Tag.", "en": " Good day."}


def greeting(engine: Engine) -> Callable[[int, Sequence[int]], list[int]]:
    """In the language of the prompt."""

    def says(window: int, prompt: Sequence[int]) -> list[int]:
        [code] = [c for c in GREETINGS if engine.vocabulary.language_token(c) in prompt]
        return tokens(engine, GREETINGS[code])

    return says


def hear_languages(
    base: Engine, languages: Sequence[Detected], **given: Any
) -> tuple[Transcript, ScriptedModel]:
    """A request in whose windows these languages are detected, one window at a time."""
    model = ScriptedModel(greeting(base), [*languages, *languages])
    options = windows(len(languages), language=None, batch_size=2, **given)
    with scripted(base, model) as engine:
        return run(engine, noise(WINDOW_SECONDS * len(languages)), options), model


@pytest.mark.parametrize("language", ["en", "es"])
def test_an_unknown_language_takes_no_second_encoding(base: Engine, language: str) -> None:
    stages: list[Stage] = []

    class Counting(Backend):
        """Notes the batches of the real model."""

        def run(self, stage: Stage, *arguments: Any, **options: Any) -> Sequence[Any]:
            stages.append(stage)
            return base.backend.run(stage, *arguments, **options)

    with scripted(base, Counting()) as engine:
        engine.tunables = EngineTunables(partial_context=False)  # nothing to be widened
        transcript = run(engine, real_speech(language), TranscribeOptions(language=None))
    assert transcript.language == language
    assert transcript.segments
    assert stages[:3] == [Stage.ENCODE, Stage.DETECT, Stage.GENERATE]
    assert stages.count(Stage.ENCODE) == stages.count(Stage.DETECT) == 1


def test_a_language_that_is_sure_is_settled_by_the_first_window(base: Engine) -> None:
    transcript, model = hear_languages(
        base, [("de", 0.9), ("en", 0.9), ("en", 0.9)], language_detection_segments=3
    )
    assert (transcript.language, transcript.language_probability) == ("de", 0.9)
    assert texts(transcript) == ["Guten Tag."] * 3
    assert len(model.of(Stage.DETECT)) == 1
    assert len(model.of(Stage.ENCODE)) == 3


def test_of_unsure_windows_the_majority_decides_and_the_others_are_heard_again(
    base: Engine,
) -> None:
    transcript, model = hear_languages(
        base, [("de", 0.4), ("en", 0.45), ("de", 0.3)], language_detection_segments=3
    )
    assert (transcript.language, transcript.language_probability) == ("de", 0.4)
    assert texts(transcript) == ["Guten Tag."] * 3
    assert len(model.of(Stage.DETECT)) == 3
    assert len(model.of(Stage.ENCODE)) == 4  # only the English one is heard again


def test_no_more_windows_are_listened_to_than_the_caller_allows(base: Engine) -> None:
    transcript, model = hear_languages(
        base, [("en", 0.4), ("de", 0.9), ("de", 0.9)], language_detection_segments=1
    )
    assert transcript.language == "en"
    assert len(model.of(Stage.DETECT)) == 1


def test_a_sure_window_after_unsure_ones_settles_the_language(base: Engine) -> None:
    transcript, model = hear_languages(
        base, [("en", 0.4), ("en", 0.4), ("de", 0.9)], language_detection_segments=3
    )
    assert (transcript.language, transcript.language_probability) == ("de", 0.9)
    assert texts(transcript) == ["Guten Tag."] * 3
    assert len(model.of(Stage.ENCODE)) == 5


def test_with_multilingual_every_window_keeps_its_own_language(base: Engine) -> None:
    transcript, model = hear_languages(base, [("de", 0.9), ("en", 0.9)], multilingual=True)
    assert (transcript.language, texts(transcript)) == ("de", ["Guten Tag.", "Good day."])
    assert len(model.of(Stage.ENCODE)) == len(model.of(Stage.DETECT)) == 2


@pytest.mark.parametrize("multilingual", [False, True])
def test_a_language_that_is_given_is_believed(base: Engine, multilingual: bool) -> None:
    model = ScriptedModel(greeting(base), [("en", 0.99)] * 2)
    with scripted(base, model) as engine:
        options = windows(2, language="de", multilingual=multilingual)
        transcript = run(engine, noise(10.0), options)
    assert (transcript.language, transcript.language_probability) == ("de", 1.0)
    assert texts(transcript) == ["Guten Tag."] * 2
    assert model.of(Stage.DETECT) == []


@pytest.mark.parametrize("multilingual", [False, True])
def test_without_recovery_multilingual_means_what_it_means_in_faster_whisper(
    base: Engine, multilingual: bool
) -> None:
    model = ScriptedModel(greeting(base), [("en", 0.99)] * 2)
    with scripted(base, model) as engine:
        options = windows(2, language="de", multilingual=multilingual, recover=False)
        transcript = run(engine, noise(10.0), options)
    assert texts(transcript) == ["Good day." if multilingual else "Guten Tag."] * 2
    assert len(model.of(Stage.DETECT)) == (2 if multilingual else 0)


# Words


@pytest.mark.parametrize("batch_size", [1, 8])
@pytest.mark.parametrize("word_timestamps", [False, True])
def test_words_are_aligned_only_for_callers_who_ask_for_them(
    tiny_en: Engine, batch_size: int, word_timestamps: bool
) -> None:
    model = ScriptedModel(saying(tiny_en))
    options = windows(1, batch_size=batch_size, word_timestamps=word_timestamps)
    with scripted(tiny_en, model) as engine:
        segment, *_ = run(engine, noise(5.0), options).segments
    n_aligned, n_decoded = (len(model.of(stage)) for stage in (Stage.ALIGN, Stage.GENERATE))
    assert n_aligned == (n_decoded if word_timestamps else 0)
    words = None if segment.words is None else [word.word for word in segment.words]
    assert words == ([" Good", " day."] if word_timestamps else None)


# Failures and callers who leave


def test_a_window_that_fails_fails_its_own_request_only(tiny_en: Engine) -> None:
    poison, sound = tokens(tiny_en, " poison sound")
    said = tokens(tiny_en, " Yes.")

    def says(window: int, prompt: Sequence[int]) -> list[int]:
        if poison in prompt:
            raise ValueError("poison")
        return said

    async def both(engine: Engine) -> Sequence[Transcript | BaseException]:
        options = [windows(8, initial_prompt=(token,)) for token in (poison, sound)]
        calls = [transcribe(engine, noise(40.0), one) for one in options]
        return await asyncio.gather(*calls, return_exceptions=True)

    with scripted(tiny_en, ScriptedModel(says)) as engine:
        failed, heard = asyncio.run(both(engine))
        assert engine.scheduler.load().open_requests == engine.scheduler.queued_windows == 0
    assert isinstance(failed, ValueError)
    assert isinstance(heard, Transcript)
    assert texts(heard) == ["Yes."] * 8


@pytest.mark.parametrize(("batch_size", "queued"), [(1, 1), (4, 4)])
def test_a_caller_who_leaves_takes_the_queued_windows_along(
    tiny_en: Engine, batch_size: int, queued: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequence_ended = _watch_sequences(monkeypatch)
    model = ScriptedModel(saying(tiny_en))
    model.gate.clear()

    def encoding() -> Hearing:
        return (yield encode_step(np.zeros((1, 80, FULL_FRAMES), np.float32)))

    async def leave(engine: Engine) -> None:
        scheduler, other = engine.scheduler, engine.scheduler.open_request()
        held = [scheduler.hear(other, encoding()) for _ in range(WORKERS)]
        await asyncio.to_thread(eventually, lambda: scheduler.queued_windows == 0)
        clip = noise(40.0)
        audio = weakref.ref(clip.samples)
        call = asyncio.ensure_future(transcribe(engine, clip, windows(8, batch_size=batch_size)))
        del clip
        await asyncio.to_thread(eventually, lambda: scheduler.queued_windows == queued)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert (scheduler.queued_windows, scheduler.load().open_requests) == (0, 1)
        model.gate.set()
        for job in held:
            await asyncio.wrap_future(job.heard)
        await asyncio.to_thread(eventually, lambda: audio() is None)

    with scripted(tiny_en, model) as engine:
        asyncio.run(leave(engine))
        assert engine.scheduler.queued_windows == 0
    assert len(model.asked) == WORKERS
    assert batch_size > 1 or sequence_ended.wait(timeout=10)


def _watch_sequences(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set once a sequential pipeline has left its thread because its request was closed."""
    ended = threading.Event()

    def watched(*arguments: Any) -> Any:
        try:
            return hear_in_sequence(*arguments)
        except RequestClosed:
            ended.set()
            raise

    monkeypatch.setattr("serve_app.engine.transcription.hear_in_sequence", watched)
    return ended


def test_a_caller_who_leaves_ends_the_search_for_speech(
    tiny_en: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, has_left, ended = threading.Event(), threading.Event(), threading.Event()

    def watched(*arguments: Any, go_on: Callable[[], None], **options: Any) -> Any:
        def going_on() -> None:
            began.set()
            has_left.wait()
            go_on()

        try:
            return find_speech(*arguments, go_on=going_on, **options)
        except RequestClosed:
            ended.set()
            raise

    async def leave() -> None:
        clip = noise(70.0)
        audio = weakref.ref(clip.samples)
        call = asyncio.ensure_future(transcribe(tiny_en, clip, TranscribeOptions()))
        del clip
        await asyncio.to_thread(began.wait)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        has_left.set()
        await asyncio.to_thread(eventually, lambda: ended.is_set() and audio() is None)

    monkeypatch.setattr("serve_app.engine.transcription.find_speech", watched)
    asyncio.run(leave())


def test_work_that_is_cancelled_while_it_waits_for_a_thread_holds_nothing(tiny_en: Engine) -> None:
    release = threading.Event()

    async def leave() -> None:
        others = [tiny_en.prepare(release.wait, bulk=True) for _ in range(available_cpus())]
        running = [asyncio.ensure_future(other) for other in others]
        samples = noise(1.0).samples
        audio = weakref.ref(samples)
        waiting = asyncio.ensure_future(tiny_en.prepare(np.sum, samples, bulk=True))
        del samples
        await asyncio.sleep(0)  # each has come to its turn
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.to_thread(eventually, lambda: audio() is None)
        release.set()
        await asyncio.gather(*running)

    try:
        asyncio.run(leave())
    finally:
        release.set()


# How much of a window is encoded


def encoded_seconds(model: ScriptedModel) -> list[float]:
    return [one.key[-1] / MEL_FRAMES_PER_SECOND for one in model.of(Stage.ENCODE)]


@pytest.mark.parametrize(
    ("partial_context", "given", "expected"),
    [
        (True, {}, short_context(WINDOW_SECONDS).seconds),
        (False, {}, 30.0),
        (True, {"recover": False}, 30.0),
        (True, {"batch_size": 1}, 30.0),
    ],
)
def test_a_short_window_is_encoded_in_part_unless_that_is_switched_off(
    tiny_en: Engine, partial_context: bool, given: dict[str, Any], expected: float
) -> None:
    model = ScriptedModel(saying(tiny_en))
    with scripted(tiny_en, model) as engine:
        engine.tunables = EngineTunables(partial_context=partial_context)
        run(engine, noise(WINDOW_SECONDS), windows(1, **given))
    assert encoded_seconds(model) == [expected]


def test_the_lengths_that_are_encoded_follow_the_size_of_a_batch(tiny_en: Engine) -> None:
    lengths = []
    for encode_batch in (1, 8):
        model = ScriptedModel(saying(tiny_en))
        with scripted(tiny_en, model) as engine:
            engine.tune(EngineTunables(encode_batch=encode_batch))
            run(engine, noise(2 * WINDOW_SECONDS), TranscribeOptions(vad_filter=False))
        lengths += encoded_seconds(model)
    exact, shared = lengths
    assert exact == short_context(2 * WINDOW_SECONDS).seconds < shared


# Speech that was not heard, and what is measured


ONE_STRETCH = {"vad_parameters": VadParameters(min_silence_duration_ms=2000)}
WORD_SECONDS = 0.9
START = " one two"
REST = " three four five six seven eight nine ten"


def hear_speech(
    engine: Engine, says: Callable[[int, Sequence[int]], str], sink: Ledger, **given: Any
) -> tuple[Transcript, ScriptedModel]:
    """Nine seconds of speech in one window, in which ``says`` puts words of ``WORD_SECONDS``.

    ``says`` is told the number of the window and its prompt.
    """
    model = ScriptedModel(
        lambda window, prompt: tokens(engine, says(window, prompt)), token_seconds=WORD_SECONDS
    )
    with scripted(engine, model, sink) as view:
        options = TranscribeOptions(**{**ONE_STRETCH, **given})
        return run(view, real_speech("en", times=3), options), model


def first_words_only(window: int, prompt: Sequence[int]) -> str:
    """The first window ends early; the next one is cut from what it left out."""
    return START if window == 0 else REST


def test_speech_that_no_word_covers_is_heard_again(tiny_en: Engine) -> None:
    ledger = Ledger()
    transcript, _ = hear_speech(tiny_en, first_words_only, ledger)
    assert texts(transcript) == [START.strip(), REST.strip()]
    assert transcript.speech_coverage is not None
    assert transcript.speech_coverage > 0.95
    assert ledger.total(metrics.RECOVERY_WINDOWS) == 1
    recovered, covered, spoken = (
        ledger.total(one)
        for one in (
            metrics.SPEECH_RECOVERED_SECONDS,
            metrics.SPEECH_COVERED_SECONDS,
            metrics.SPEECH_SECONDS,
        )
    )
    assert spoken / 2 < recovered < spoken - len(START.split()) * WORD_SECONDS + 0.1
    assert covered / spoken == pytest.approx(transcript.speech_coverage)


def test_words_found_again_have_their_times_in_the_audio(tiny_en: Engine) -> None:
    transcript, _ = hear_speech(tiny_en, first_words_only, Ledger(), word_timestamps=True)
    first, second = transcript.segments
    assert second.words is not None
    assert [word.word.strip() for word in second.words] == REST.split()
    assert first.end == pytest.approx(len(START.split()) * WORD_SECONDS, abs=0.1)
    assert second.start == pytest.approx(first.end - BEFORE_SECONDS, abs=0.1)
    lengths = [word.end - word.start for word in second.words]
    assert lengths == pytest.approx([WORD_SECONDS] * len(lengths), abs=0.02)


def test_lost_speech_is_heard_again_in_one_attempt(tiny_en: Engine) -> None:
    doubtful = f"{REST} eight nine ten"
    transcript, model = hear_speech(
        tiny_en, lambda window, _: doubtful if window else START, Ledger()
    )
    assert len(texts(transcript)) > 1
    assert len(model.of(Stage.ENCODE)) == len(model.of(Stage.GENERATE)) == 2


def in_parts(size: int) -> Callable[[int, Sequence[int]], str]:
    """Every window holds the next ``size`` words."""
    words = (START + REST).split()

    def says(window: int, prompt: Sequence[int]) -> str:
        return "".join(f" {one}" for one in words[window * size : (window + 1) * size])

    return says


def test_speech_is_heard_again_until_nothing_is_left(tiny_en: Engine) -> None:
    ledger = Ledger()
    transcript, model = hear_speech(tiny_en, in_parts(4), ledger)
    assert ledger.total(metrics.RECOVERY_WINDOWS) == len(model.of(Stage.ENCODE)) - 1 > 1
    assert transcript.speech_coverage == 1.0
    assert " ".join(texts(transcript)) == (START + REST).strip()
    starts = [segment.start for segment in transcript.segments]
    assert starts == sorted(starts)


def test_speech_is_not_heard_again_for_ever(tiny_en: Engine) -> None:
    ledger = Ledger()
    transcript, model = hear_speech(tiny_en, in_parts(1), ledger)
    assert ledger.total(metrics.RECOVERY_WINDOWS) == len(model.of(Stage.ENCODE)) - 1 == MOST_ROUNDS
    assert transcript.speech_coverage is not None
    assert transcript.speech_coverage < 0.9


def test_speech_in_which_nothing_is_heard_is_tried_once(tiny_en: Engine) -> None:
    ledger = Ledger()
    transcript, _ = hear_speech(tiny_en, lambda window, _: "" if window else START, ledger)
    assert texts(transcript) == [START.strip()]
    assert ledger.total(metrics.RECOVERY_WINDOWS) == 1
    assert transcript.speech_coverage is not None
    assert transcript.speech_coverage < 0.5
    assert ledger.total(metrics.SPEECH_RECOVERED_SECONDS) == 0.0


@pytest.mark.parametrize(
    ("setting", "option", "recovers"),
    [
        (True, None, True),
        (False, None, False),
        (True, False, False),
        (False, True, True),
    ],
)
def test_a_request_may_differ_from_the_server_in_whether_speech_is_heard_again(
    tiny_en: Engine, setting: bool, option: bool | None, recovers: bool
) -> None:
    view = copy.copy(tiny_en)
    view.tunables = EngineTunables(recover_speech=setting)
    transcript, model = hear_speech(view, first_words_only, Ledger(), recover=option)
    assert texts(transcript) == ([START.strip(), REST.strip()] if recovers else [START.strip()])
    assert (transcript.speech_coverage is not None) is recovers
    assert bool(model.of(Stage.ALIGN)) is recovers


def test_without_recovery_a_first_word_keeps_the_silence_before_it(tiny_en: Engine) -> None:
    said = np.concatenate([np.zeros(48_000), max(sentences(["en"]), key=len)])
    starts = []
    for recover in (False, True):
        model = ScriptedModel(saying(tiny_en, START), token_seconds=WORD_SECONDS)
        with scripted(tiny_en, model) as engine:
            options = TranscribeOptions(recover=recover, word_timestamps=True)
            starts.append(run(engine, clip_of(said), options).segments[0].start)
    assert starts[1] - starts[0] == pytest.approx(0.3)


def test_no_more_than_batch_size_windows_are_heard_again_at_once(tiny_en: Engine) -> None:
    running, most, n_again = 0, 0, 0
    said = min(sentences(["en"]), key=len)
    clip = clip_of(np.tile(np.concatenate([said, np.zeros(32_000)]), 6))
    with scripted(tiny_en, ScriptedModel(lambda window, _: [])) as engine:
        hear = engine.hear

        async def counted(*arguments: Any, again: bool = False) -> Any:
            nonlocal running, most, n_again
            running, n_again = running + again, n_again + again
            most = max(most, running)
            await asyncio.sleep(0.2 * again)
            try:
                return await hear(*arguments, again=again)
            finally:
                running -= again

        engine.hear = counted  # type: ignore[method-assign,assignment]  # of a copy
        run(engine, clip, TranscribeOptions(batch_size=2))
    assert n_again > 2
    assert most == 2


def test_of_live_audio_only_what_is_new_counts(tiny_en: Engine) -> None:
    ledger, live = Ledger(), Live("session", new_seconds=2.0)
    with scripted(tiny_en, ScriptedModel(saying(tiny_en)), ledger) as engine:
        asyncio.run(transcribe(engine, noise(5.0), windows(1), live=live))
    assert ledger.total(metrics.AUDIO_TRANSCRIBED_SECONDS) == 2.0


def test_a_translation_is_not_asked_which_speech_it_covers(base: Engine) -> None:
    transcript, model = hear_speech(
        base, first_words_only, Ledger(), language="de", task="translate"
    )
    assert texts(transcript) == [START.strip()]
    assert transcript.speech_coverage is None
    assert model.of(Stage.ALIGN) == []


def test_without_vad_nobody_knows_how_much_is_covered(tiny_en: Engine) -> None:
    model = ScriptedModel(saying(tiny_en))
    with scripted(tiny_en, model) as engine:
        assert run(engine, noise(10.0), windows(2)).speech_coverage is None


def half_heard(tiny_en: Engine) -> Callable[[int, Sequence[int]], list[int]]:
    """The first window has text in its first second only; later ones are heard whole."""
    said, zero = tokens(tiny_en, " One"), tiny_en.vocabulary.no_timestamps + 1

    def says(window: int, prompt: Sequence[int]) -> list[int]:
        return [zero, *said, zero + 50] if window == 0 else [zero, *said]

    return says


def test_the_sequential_pipeline_only_tells_of_speech_without_text(tiny_en: Engine) -> None:
    ledger, model = Ledger(), ScriptedModel(half_heard(tiny_en))
    with scripted(tiny_en, model, ledger) as engine:
        clip = real_speech("en", times=3)
        transcript = run(engine, clip, TranscribeOptions(batch_size=1))
    assert texts(transcript)[0] == "One"
    assert transcript.speech_coverage is not None
    assert ledger.total(metrics.SPEECH_SECONDS) > 5.0
    assert ledger.total(metrics.SPEECH_RECOVERED_SECONDS) == 0.0


@pytest.mark.parametrize("batch_size", [1, 8])
@pytest.mark.parametrize("vad_filter", [True, False])
def test_vad_is_timed_where_it_is_used(tiny_en: Engine, batch_size: int, vad_filter: bool) -> None:
    ledger = Ledger()
    options = TranscribeOptions(batch_size=batch_size, vad_filter=vad_filter)
    with scripted(tiny_en, ScriptedModel(saying(tiny_en)), ledger) as engine:
        transcript = run(engine, real_speech("en"), options)
    assert len(ledger.observed(metrics.VAD_SECONDS)) == vad_filter
    assert all(seconds > 0 for seconds in ledger.observed(metrics.VAD_SECONDS))
    assert ledger.observed(metrics.ENGINE_SECONDS) == [transcript.engine_seconds]
    assert ledger.total(metrics.AUDIO_TRANSCRIBED_SECONDS) == transcript.duration_seconds
