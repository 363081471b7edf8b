"""What faster-whisper's sequential pipeline is told, and what it asks of the shared scheduler."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from serve_app import metrics
from serve_app.engine.engine import Engine
from serve_app.engine.queue import BatchLimits, FairQueue, Job, Stage, Step
from serve_app.engine.request import WINDOW_SECONDS
from serve_app.engine.steps import DECODING_SHARE
from serve_app.engine.transcription import transcribe
from serve_app.options import TranscribeOptions
from serve_app.transcript import Transcript
from tests.unit.clips import noise
from tests.unit.ledger import Ledger
from tests.unit.scripted_model import ScriptedModel, scripted


def hear(engine: Engine, seconds: float, **given: Any) -> tuple[Transcript, ScriptedModel]:
    """Noise, in each window of which a scripted model hears the same."""
    said = engine.whisper.hf_tokenizer.encode(" Good day.", add_special_tokens=False).ids
    model = ScriptedModel(lambda window, prompt: said, languages=[("de", 0.9)] * 9)
    options = TranscribeOptions(**{"batch_size": 1, "vad_filter": False, "language": "en", **given})
    with scripted(engine, model) as view:
        return asyncio.run(transcribe(view, noise(seconds), options)), model


def decoded(model: ScriptedModel) -> dict[str, Any]:
    """The options with which the first window was decoded."""
    return model.of(Stage.GENERATE)[0].options


def test_windows_are_heard_one_after_the_other(tiny_en: Engine) -> None:
    transcript, model = hear(tiny_en, 70.0)
    assert [segment.start for segment in transcript.segments] == [0.0, 30.0, 60.0]
    assert [one.stage for one in model.asked] == [Stage.ENCODE, Stage.GENERATE] * 3


@pytest.mark.parametrize("conditions", [True, False])
def test_each_window_sees_the_text_before_it_unless_that_is_switched_off(
    tiny_en: Engine, conditions: bool
) -> None:
    _, model = hear(tiny_en, 70.0, condition_on_previous_text=conditions)
    lengths = [len(prompt) for prompt in model.prompts]
    assert (lengths[0] < lengths[1] < lengths[2]) is conditions
    assert (len(set(lengths)) == 1) is not conditions


@pytest.mark.parametrize("without_timestamps", [None, False, True])
def test_timestamps_are_decoded_unless_the_caller_wants_none(
    tiny_en: Engine, without_timestamps: bool | None
) -> None:
    _, model = hear(tiny_en, 5.0, without_timestamps=without_timestamps)
    has_none = tiny_en.vocabulary.no_timestamps in model.prompts[0]
    assert has_none is bool(without_timestamps)


def test_token_ids_may_be_the_initial_prompt(tiny_en: Engine) -> None:
    _, model = hear(tiny_en, 5.0, initial_prompt=(5, 6))
    assert model.prompts[0][1:3] == [5, 6]


@pytest.mark.parametrize(
    ("given", "name", "expected"),
    [
        ({"beam_size": 3}, "beam_size", 3),
        ({"patience": 2.0}, "patience", 2.0),
        ({"length_penalty": 0.5}, "length_penalty", 0.5),
        ({"repetition_penalty": 1.5}, "repetition_penalty", 1.5),
        ({"no_repeat_ngram_size": 3}, "no_repeat_ngram_size", 3),
        ({"suppress_blank": False}, "suppress_blank", False),
        ({"suppress_tokens": ()}, "suppress_tokens", ()),
        ({"temperature": (0.5, 0.7)}, "sampling_temperature", 0.5),
        ({"max_initial_timestamp": 2.0}, "max_initial_timestamp_index", 100),
    ],
)
def test_the_decoder_is_told_what_the_caller_wants(
    tiny_en: Engine, given: dict[str, Any], name: str, expected: object
) -> None:
    _, model = hear(tiny_en, 5.0, **given)
    assert decoded(model)[name] == expected


def test_only_the_clips_that_the_caller_selects_are_heard(tiny_en: Engine) -> None:
    clips = ((5.0, 10.0), (40.0, None))
    transcript, model = hear(tiny_en, 60.0, clip_timestamps=clips)
    assert [(s.start, s.end) for s in transcript.segments] == [(5.0, 10.0), (40.0, 60.0)]
    assert len(model.of(Stage.ENCODE)) == 2


@pytest.mark.parametrize("batch_size", [1, 8])
@pytest.mark.parametrize("language", [None, "en"])
def test_clips_beyond_the_end_of_the_audio_select_nothing(
    base: Engine, batch_size: int, language: str | None
) -> None:
    clips = ((100.0, 110.0),)
    given = {"clip_timestamps": clips, "batch_size": batch_size, "language": language}
    transcript, model = hear(base, 10.0, **given)
    assert transcript.segments == ()
    assert model.asked == []


def test_attempts_above_temperature_0_are_counted_and_charged(tiny_en: Engine) -> None:
    asked: list[Step] = []

    class Charged(FairQueue):
        def add(self, job: Job) -> None:
            asked.append(job.step)
            super().add(job)

    ledger = Ledger()
    model = ScriptedModel(lambda window, prompt: [])
    with scripted(tiny_en, model, ledger) as view:
        view.scheduler._queue = Charged(BatchLimits())
        options = TranscribeOptions(
            batch_size=1, vad_filter=False, log_prob_threshold=1.0, no_speech_threshold=None
        )
        asyncio.run(transcribe(view, noise(5.0), options))
    attempts = [step.seconds for step in asked if step.stage is Stage.GENERATE]
    assert attempts == [0.0] + [DECODING_SHARE * WINDOW_SECONDS] * 5
    assert ledger.total(metrics.FALLBACKS) == 5


def test_a_language_that_is_not_given_is_detected(base: Engine) -> None:
    transcript, model = hear(base, 5.0, language=None)
    assert (transcript.language, transcript.language_probability) == ("de", 0.9)
    german = base.vocabulary.language_token("de")
    assert all(german in prompt for prompt in model.prompts)


def test_a_long_clip_without_vad_is_heard_in_sequence_whatever_the_batch_size(
    tiny_en: Engine,
) -> None:
    transcript, model = hear(tiny_en, 70.0, batch_size=8)
    assert len(transcript.segments) == 3
    assert _no_two_windows_at_once([one.stage for one in model.asked])


def _no_two_windows_at_once(stages: Sequence[Stage]) -> bool:
    return all(stages[n] is not stages[n + 1] for n in range(len(stages) - 1))


def test_several_requests_do_not_share_what_they_were_asked(tiny_en: Engine) -> None:
    """faster-whisper keeps the last call's chunk length in its feature extractor."""
    short, _ = hear(tiny_en, 25.0, chunk_length=10)
    full, _ = hear(tiny_en, 25.0)
    assert len(short.segments) == 3
    assert len(full.segments) == 1
