"""Which steps a window takes, which windows are decoded again, and which attempt wins."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from serve_app import metrics
from serve_app.engine import hearing
from serve_app.engine.attempts import BOUND_STEP, MOST_SAMPLINGS, Checks, length_bound
from serve_app.engine.engine import Engine
from serve_app.engine.hearing import Ear
from serve_app.engine.queue import Stage, Step
from serve_app.engine.silence import SilentTail
from serve_app.engine.steps import DECODING_SHARE
from serve_app.engine.window import (
    FULL_FRAMES,
    MEL_FRAMES_PER_SECOND,
    Detection,
    Policy,
    Window,
    short_context,
    wide_context,
)
from serve_app.engine.words import Heard
from tests.unit.heard_words import texts, times
from tests.unit.ledger import Ledger
from tests.unit.scripted_model import TIME_STEPS_PER_SECOND

SOT, EN, DE, JA, NO_TIMESTAMPS = 50258, 50259, 50261, 50266, 50363
TRANSLATE, TASK = 50358, 50359
"""Of Whisper's multilingual vocabulary."""

SILENCE = np.full((1, FULL_FRAMES // 2, 4), 7.0, np.float32)
FULL_SECONDS = FULL_FRAMES / MEL_FRAMES_PER_SECOND
SHORT, WIDE = short_context(4.0), wide_context(4.0)


@dataclass(frozen=True)
class Said:
    """What the model makes of one decoding: (text, average log-probability) pairs, most probable
    first. If they are aligned, their tokens are spoken evenly from the start of the window
    ``until`` then.
    """

    hypotheses: Sequence[tuple[str, float]]
    no_speech_prob: float = 0.0
    until: float = 1.0


def said(text: str, logprob: float = -0.1, until: float = 1.0) -> Said:
    return Said([(text, logprob)], until=until)


def sampled(*hypotheses: tuple[str, float]) -> Said:
    return Said(hypotheses)


@dataclass
class Script:
    """Answers the steps of one hearing in place of the model, and keeps them.

    ``results`` are those of its GENERATE steps in order. As the model does, it stops a text where
    the step says so.
    """

    engine: Engine
    results: Sequence[Said]
    languages: Sequence[tuple[str, float]] = (("<|de|>", 0.95), ("<|en|>", 0.05))
    encodes_batches: bool = False
    steps: list[Step] = field(default_factory=list)
    _until: dict[tuple[int, ...], float] = field(default_factory=dict)

    def hear(self, window: Window, policy: Policy, sink: metrics.Sink = metrics.NO_METRICS) -> str:
        return self.heard(window, policy, sink).best.text

    def heard(
        self, window: Window, policy: Policy, sink: metrics.Sink = metrics.NO_METRICS
    ) -> Heard:
        self._left = list(self.results)
        ear = Ear(
            self.engine.whisper,
            self.engine.vocabulary,
            SilentTail(SILENCE),
            sink,
        )
        ear.encodes_batches = self.encodes_batches
        steps = ear.hearing(window, policy)
        answer = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as returned:
                assert not self._left, "not every result was asked for"
                heard: Heard = returned.value
                return heard
            self.steps.append(step)
            answer = self._answer(step)

    def _answer(self, step: Step) -> Any:
        if step.stage is Stage.ENCODE:
            return np.zeros((1, step.payload.shape[-1] // 2, 4), np.float32)
        if step.stage is Stage.DETECT:
            return self.languages
        if step.stage is Stage.ALIGN:
            return self._alignment(step)
        return self._generation(step, self._left.pop(0))

    def _generation(self, step: Step, result: Said) -> Any:
        prompt, options = step.payload[1], options_of(step)
        length = options["max_length"]
        room = min(length // 2, length - len(prompt))
        sequences, scores = [], []
        for text, logprob in result.hypotheses:
            spelt = self.engine.whisper.hf_tokenizer.encode(f" {text}", add_special_tokens=False)
            tokens = spelt.ids[:room] if text else []
            sequences.append(tokens)
            scores.append(logprob * (len(tokens) + 1) / max(1, len(tokens)))
            self._until[tuple(tokens)] = result.until
        return SimpleNamespace(
            sequences_ids=sequences, scores=scores, no_speech_prob=result.no_speech_prob
        )

    def _alignment(self, step: Step) -> Any:
        tokens, _ = step.payload[1]
        ends = self._until[tuple(tokens)] * TIME_STEPS_PER_SECOND
        return SimpleNamespace(
            alignments=[(n, round(ends * n / len(tokens))) for n in range(len(tokens) + 1)],
            text_token_probs=[0.5] * len(tokens),
        )

    @property
    def stages(self) -> list[Stage]:
        return [step.stage for step in self.steps]

    def of(self, stage: Stage) -> list[Step]:
        return [step for step in self.steps if step.stage is stage]

    def option(self, name: str) -> list[Any]:
        """An option of every GENERATE step."""
        return [options_of(step)[name] for step in self.of(Stage.GENERATE)]

    @property
    def temperatures(self) -> list[float]:
        return self.option("sampling_temperature")

    @property
    def rooms(self) -> list[int]:
        """How many tokens each attempt may have."""
        return [length // 2 for length in self.option("max_length")]

    @property
    def prompts(self) -> list[list[int]]:
        return [step.payload[1] for step in self.of(Stage.GENERATE)]

    @property
    def encoded_seconds(self) -> list[float]:
        return [step.seconds for step in self.of(Stage.ENCODE)]


def options_of(step: Step) -> dict[str, Any]:
    key: Any = step.key
    return dict(key[0])


Scripts = Callable[..., Script]


@pytest.fixture
def script(base: Engine) -> Scripts:
    """What makes a script from what is said in it."""
    return lambda *results, **given: Script(base, results, **given)


ENGLISH = Policy(
    prompt=(SOT, EN, TASK, NO_TIMESTAMPS),
    options={
        "length_penalty": 1.0,
        "beam_size": 5,
        "patience": 1.0,
        "max_length": 448,
        "sampling_temperature": 0.0,
    },
    checks=Checks(compression_ratio=2.4, log_prob=-1.0, no_speech=0.6),
    temperatures=(0.0, 0.2, 0.4),
)
PARTIAL = replace(ENGLISH, partial_context=True)

UNSURE = said("eh", -9)
CHANCE = random.Random(5)
BABBLE = " ".join("".join(CHANCE.choices("abcdefghijklmnopqrstuvwxyz", k=4)) for _ in range(400))
"""A text that neither ends nor repeats itself."""
REPETITION = "go " * 400


def speech(seconds: float = 4.0) -> Window:
    mel = np.ones((80, round(seconds * MEL_FRAMES_PER_SECOND)), np.float32)
    return Window(mel, seconds)


# One attempt


def test_a_good_window_is_encoded_and_decoded_once(script: Scripts) -> None:
    told = script(said("all is well"))
    assert told.hear(speech(), ENGLISH) == "all is well"
    assert told.stages == [Stage.ENCODE, Stage.GENERATE]
    assert told.temperatures == [0.0]


def test_a_window_is_padded_to_thirty_seconds(script: Scripts) -> None:
    told = script(said("yes"))
    told.hear(speech(4.0), ENGLISH)
    mel = told.steps[0].payload
    assert mel.shape == (1, 80, FULL_FRAMES)
    assert (mel[..., :400] == 1).all()
    assert not mel[..., 400:].any()
    assert told.encoded_seconds == [FULL_SECONDS]


def test_the_end_of_the_text_counts_in_its_probability(base: Engine) -> None:
    class Fixed(Script):
        def _generation(self, step: Step, result: Said) -> Any:
            return SimpleNamespace(sequences_ids=[[1, 2, 3]], scores=[-0.4], no_speech_prob=0.0)

    heard = Fixed(base, [said("")]).heard(speech(), ENGLISH)
    assert heard.best.avg_logprob == pytest.approx(-0.4 * 3 / 4)


# Higher temperatures


def test_an_unsure_window_gets_the_next_temperature(script: Scripts) -> None:
    told = script(UNSURE, said("yes"))
    assert told.hear(speech(), ENGLISH) == "yes"
    assert told.stages == [Stage.ENCODE, Stage.GENERATE, Stage.GENERATE]
    assert told.temperatures == [0.0, 0.2]


def test_the_temperature_of_the_attempt_that_won_is_told(script: Scripts) -> None:
    assert script(UNSURE, said("yes")).heard(speech(), ENGLISH).best.temperature == 0.2


def test_samples_are_drawn_as_faster_whisper_draws_them(script: Scripts) -> None:
    told = script(UNSURE, said("yes"))
    told.hear(speech(), replace(ENGLISH, best_of=3))
    options = options_of(told.steps[-1])
    asked = {name: options[name] for name in ("beam_size", "num_hypotheses", "sampling_topk")}
    assert asked == {"beam_size": 1, "num_hypotheses": 3, "sampling_topk": 0}
    assert "patience" not in options


def test_attempts_above_temperature_0_are_counted(script: Scripts) -> None:
    ledger = Ledger()
    script(UNSURE, said("em", -9), said("yes")).hear(speech(), ENGLISH, ledger)
    assert ledger.total(metrics.FALLBACKS) == 2


def test_a_ladder_ends_after_a_few_attempts_however_long_it_is(script: Scripts) -> None:
    ladder = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
    told = script(UNSURE, *[said("em", -8)] * MOST_SAMPLINGS)
    assert told.hear(speech(), replace(ENGLISH, temperatures=ladder)) == "em"
    assert len(set(told.temperatures)) == 1 + MOST_SAMPLINGS


def test_a_window_that_always_fails_keeps_its_most_probable_text(script: Scripts) -> None:
    assert script(said("a", -9), said("b", -5), said("c", -7)).hear(speech(), ENGLISH) == "b"


def test_a_repetitive_text_loses_to_a_less_probable_one(script: Scripts) -> None:
    told = script(said(REPETITION, -9), said("b", -99), said(REPETITION, -9))
    assert told.hear(speech(), ENGLISH) == "b"


@pytest.mark.parametrize("temperatures", [(), (0.0,), (0.0, 0.0)])
def test_without_a_higher_temperature_the_first_text_stands(
    script: Scripts, temperatures: tuple[float, ...]
) -> None:
    told = script(UNSURE)
    assert told.hear(speech(), replace(ENGLISH, temperatures=temperatures)) == "eh"
    assert told.temperatures == [0.0]


def test_silence_is_not_decoded_again(script: Scripts) -> None:
    silence = Said([("eh", -9.0)], no_speech_prob=0.9)
    assert script(silence).hear(speech(), ENGLISH) == "eh"


# Where attempts end


def test_a_text_that_ends_at_the_callers_own_limit_is_accepted(script: Scripts) -> None:
    limited = replace(ENGLISH, options={**ENGLISH.options, "max_length": 40})
    told = script(said(BABBLE))
    assert not told.heard(speech(), limited).best.is_cut
    assert told.temperatures == [0.0]


def test_a_short_context_has_room_for_all_that_can_be_said_in_it(script: Scripts) -> None:
    told = script(said("yes"))
    told.hear(speech(), PARTIAL)
    assert told.rooms == [length_bound(SHORT.most_seconds)]


def test_samples_have_less_room_than_the_first_attempt(script: Scripts) -> None:
    told = script(UNSURE, said("yes"))
    told.hear(speech(), ENGLISH)
    first, sample = told.rooms
    assert sample == BOUND_STEP < first


def test_a_longer_first_attempt_leaves_its_samples_more_tokens(script: Scripts) -> None:
    told = script(said(BABBLE, -9), said("yes"))
    told.hear(speech(), ENGLISH)
    first, sample = told.rooms
    assert BOUND_STEP < sample <= first


def test_the_length_of_a_repetition_says_nothing(script: Scripts) -> None:
    told = script(said(REPETITION), said("yes"))
    told.hear(speech(), ENGLISH)
    assert told.rooms[1] == BOUND_STEP


@pytest.mark.parametrize("runaway", [REPETITION, BABBLE])
def test_a_sample_that_runs_away_loses_to_one_that_ends(script: Scripts, runaway: str) -> None:
    told = script(UNSURE, sampled((runaway, -0.1), ("yes", -0.2)))
    assert told.hear(speech(), ENGLISH) == "yes"
    assert told.temperatures == [0.0, 0.2]


def test_a_sample_that_was_stopped_is_not_decoded_in_full(script: Scripts) -> None:
    told = script(UNSURE, sampled((BABBLE, -0.1)), said("yes"))
    assert told.hear(speech(), ENGLISH) == "yes"
    assert told.temperatures == [0.0, 0.2, 0.4]
    assert max(told.rooms[1:]) == BOUND_STEP


# Encoded in part


def test_a_good_partial_window_stays_partial(script: Scripts) -> None:
    told = script(said("turn off the light"))
    assert told.hear(speech(), PARTIAL) == "turn off the light"
    assert told.encoded_seconds == [SHORT.seconds]
    assert SHORT.seconds < FULL_SECONDS


@pytest.mark.parametrize(
    "doubtful",
    [said("Turn off the light. Turn off the light."), UNSURE, said(REPETITION), said(BABBLE)],
    ids=["repeats-its-end", "unsure", "repetitive", "cut"],
)
def test_a_doubtful_partial_window_is_encoded_with_a_wider_context(
    script: Scripts, doubtful: Said
) -> None:
    told = script(doubtful, said("turn off the light"))
    assert told.hear(speech(), PARTIAL) == "turn off the light"
    assert told.encoded_seconds == [SHORT.seconds, WIDE.seconds]
    assert told.temperatures == [0.0, 0.0]


@pytest.mark.parametrize(("logprob", "is_doubtful"), [(-0.55, False), (-0.65, True)])
def test_a_text_is_doubtful_below_a_fixed_probability(
    script: Scripts, logprob: float, is_doubtful: bool
) -> None:
    told = script(said("turn off the light", logprob), *[said("yes")] * is_doubtful)
    told.hear(speech(), PARTIAL)
    assert told.encoded_seconds == [SHORT.seconds, *[WIDE.seconds] * is_doubtful]


def test_a_longer_window_in_doubt_is_encoded_in_full(script: Scripts) -> None:
    told = script(UNSURE, said("yes"))
    told.hear(speech(10.0), PARTIAL)
    assert told.encoded_seconds == [short_context(10.0).seconds, FULL_SECONDS]


def test_a_partial_window_is_widened_whatever_the_callers_thresholds(script: Scripts) -> None:
    unchecked = replace(PARTIAL, checks=Checks(None, None, None))
    told = script(UNSURE, said("ah", -9))
    assert told.hear(speech(), unchecked) == "ah"
    assert told.encoded_seconds == [SHORT.seconds, WIDE.seconds]


def test_a_widened_window_that_still_fails_gets_the_next_temperature(
    script: Scripts,
) -> None:
    told = script(UNSURE, UNSURE, said("yes"))
    assert told.hear(speech(), PARTIAL) == "yes"
    assert told.encoded_seconds == [SHORT.seconds, WIDE.seconds]
    assert told.temperatures == [0.0, 0.0, 0.2]
    assert told.steps[-1].payload[0].shape[1] == WIDE.encoded // 2


def test_a_window_that_is_heard_again_is_attempted_once(script: Scripts) -> None:
    once = replace(PARTIAL, widens=False, temperatures=())
    told = script(UNSURE)
    assert told.hear(speech(), once) == "eh"
    assert told.encoded_seconds == [SHORT.seconds]
    assert told.temperatures == [0.0]


def test_a_widened_window_has_twice_the_room_for_its_text(script: Scripts) -> None:
    told = script(said(BABBLE), said("yes"))
    told.hear(speech(), PARTIAL)
    assert told.rooms == [length_bound(SHORT.most_seconds), 2 * length_bound(SHORT.most_seconds)]


def test_what_is_decoded_only_once_has_twice_the_room_at_once(script: Scripts) -> None:
    told = script(said("yes"))
    told.hear(speech(), replace(PARTIAL, widens=False))
    assert told.rooms == [2 * length_bound(SHORT.most_seconds)]


@pytest.mark.parametrize("seconds", [0.5, 4.0, 9.0, 16.0, 25.0])
def test_the_decoder_sees_silence_after_what_was_encoded(script: Scripts, seconds: float) -> None:
    told = script(said("yes"))
    told.hear(speech(seconds), PARTIAL)
    decoded, context = told.of(Stage.GENERATE)[0].payload[0], short_context(seconds)
    assert decoded.shape == (1, context.decoded // 2, 4)
    assert not decoded[:, : context.encoded // 2].any()
    assert (decoded[:, context.encoded // 2 :] == 7.0).all()


def test_windows_that_are_encoded_in_batches_have_few_lengths(script: Scripts) -> None:
    told = script(said("yes"), encodes_batches=True)
    told.hear(speech(), PARTIAL)
    assert told.encoded_seconds == [SHORT.decoded / MEL_FRAMES_PER_SECOND]


def test_a_full_window_in_doubt_is_not_encoded_again(script: Scripts) -> None:
    told = script(UNSURE, said("yes"))
    told.hear(speech(29.0), PARTIAL)
    assert told.encoded_seconds == [FULL_SECONDS]


# What is charged


def test_the_first_decoding_of_an_encoding_is_free(script: Scripts) -> None:
    told = script(UNSURE, said("yes"))
    told.hear(speech(), PARTIAL)
    assert [(step.stage, step.seconds) for step in told.steps] == [
        (Stage.ENCODE, SHORT.seconds),
        (Stage.GENERATE, 0.0),
        (Stage.ENCODE, WIDE.seconds),
        (Stage.GENERATE, 0.0),
    ]


def test_every_further_decoding_is_charged_a_share_of_its_encoding(script: Scripts) -> None:
    told = script(UNSURE, UNSURE, said("yes"))
    told.hear(speech(), ENGLISH)
    charged = [step.seconds for step in told.of(Stage.GENERATE)]
    assert charged == [0.0, DECODING_SHARE * FULL_SECONDS, DECODING_SHARE * FULL_SECONDS]


# Languages


ALWAYS = replace(ENGLISH, detection=Detection.ALWAYS)
IN_DOUBT = replace(ENGLISH, detection=Detection.IN_DOUBT)
GERMAN_PROMPT = [SOT, DE, TASK, NO_TIMESTAMPS]
SURE = hearing.SURE_LOGPROB + 0.05
IN_SOME_DOUBT = hearing.SURE_LOGPROB - 0.05
CLEARLY_BETTER = IN_SOME_DOUBT + hearing.OTHER_LANGUAGE_GAIN + 0.05
BARELY_BETTER = IN_SOME_DOUBT + hearing.OTHER_LANGUAGE_GAIN - 0.05
CERTAIN = (hearing.OTHER_LANGUAGE_PROBABILITY + 1) / 2
UNCERTAIN = hearing.OTHER_LANGUAGE_PROBABILITY - 0.05


def test_the_language_is_detected_from_the_one_encoding_of_the_window(script: Scripts) -> None:
    told = script(said("ja"))
    heard = told.heard(speech(), ALWAYS)
    assert told.stages == [Stage.ENCODE, Stage.DETECT, Stage.GENERATE]
    assert (heard.language, heard.language_probability) == (DE, 0.95)


def test_a_window_is_decoded_in_the_language_that_was_detected(script: Scripts) -> None:
    told = script(UNSURE, said("ja"))
    told.hear(speech(), ALWAYS)
    assert told.prompts == [GERMAN_PROMPT] * 2


def test_the_language_of_a_window_in_doubt_is_detected_again_with_the_wider_context(
    script: Scripts,
) -> None:
    class Widened(Script):
        def _answer(self, step: Step) -> Any:
            if step.stage is Stage.DETECT:
                is_wide = step.payload[0].shape[1] == WIDE.decoded // 2
                return [("<|de|>" if is_wide else "<|nl|>", 0.9)]
            return super()._answer(step)

    told = Widened(script().engine, [UNSURE, said("ja")])
    heard = told.heard(speech(), replace(ALWAYS, partial_context=True))
    assert told.stages == [Stage.ENCODE, Stage.DETECT, Stage.GENERATE] * 2
    assert told.prompts[-1][1] == heard.language == DE


def test_without_detection_no_language_is_told(script: Scripts) -> None:
    told = script(said("yes", IN_SOME_DOUBT))
    heard = told.heard(speech(), ENGLISH)
    assert (heard.language, heard.language_probability) == (None, 0.0)
    assert Stage.DETECT not in told.stages


def test_the_callers_language_is_not_asked_about_where_the_text_is_sure(script: Scripts) -> None:
    told = script(said("yes", SURE))
    assert told.hear(speech(), IN_DOUBT) == "yes"
    assert told.stages == [Stage.ENCODE, Stage.GENERATE]


def test_another_language_is_taken_if_it_is_certain_and_its_text_clearly_better(
    script: Scripts,
) -> None:
    told = script(
        said("yah", IN_SOME_DOUBT), said("ja", CLEARLY_BETTER), languages=[("<|de|>", CERTAIN)]
    )
    assert told.hear(speech(), IN_DOUBT) == "ja"
    assert told.stages == [Stage.ENCODE, Stage.GENERATE, Stage.DETECT, Stage.GENERATE]
    assert told.prompts == [list(ENGLISH.prompt), GERMAN_PROMPT]


def test_a_doubtful_text_gives_way_to_a_sound_one_in_a_language_that_is_certain(
    script: Scripts,
) -> None:
    told = script(
        said("ja so was ja so was", BARELY_BETTER),
        said("das war so", BARELY_BETTER),
        languages=[("<|de|>", CERTAIN)],
    )
    assert told.hear(speech(), IN_DOUBT) == "das war so"


def test_a_doubtful_text_does_not_give_way_to_another_doubtful_one(script: Scripts) -> None:
    told = script(
        said("ja so was ja so was", IN_SOME_DOUBT),
        said("das war so das war so", BARELY_BETTER),
        languages=[("<|de|>", CERTAIN)],
    )
    assert told.hear(speech(), IN_DOUBT) == "ja so was ja so was"


def test_another_language_is_not_tried_unless_it_is_certain(script: Scripts) -> None:
    told = script(said("yah", IN_SOME_DOUBT), languages=[("<|de|>", UNCERTAIN)])
    assert told.hear(speech(), IN_DOUBT) == "yah"


def test_another_language_is_not_taken_unless_its_text_is_clearly_better(script: Scripts) -> None:
    told = script(
        said("yah", IN_SOME_DOUBT), said("ja", BARELY_BETTER), languages=[("<|de|>", CERTAIN)]
    )
    assert told.hear(speech(), IN_DOUBT) == "yah"


def test_the_callers_own_language_is_not_decoded_again(script: Scripts) -> None:
    told = script(said("yes", IN_SOME_DOUBT), languages=[("<|en|>", CERTAIN)])
    assert told.hear(speech(), IN_DOUBT) == "yes"


@pytest.mark.parametrize(
    ("other", "prompt"),
    [(said("ja", -8), GERMAN_PROMPT), (said("ja", -9), list(ENGLISH.prompt))],
    ids=["other", "callers"],
)
def test_samples_are_drawn_in_the_language_that_was_settled(
    script: Scripts, other: Said, prompt: list[int]
) -> None:
    told = script(UNSURE, other, said("yes"), languages=[("<|de|>", CERTAIN)])
    assert told.hear(speech(), IN_DOUBT) == "yes"
    assert told.prompts[-1] == prompt
    assert told.temperatures == [0.0, 0.0, 0.2]


# Words


ALIGNED = replace(ENGLISH, aligns=True)


def test_words_are_aligned_only_when_asked_for(script: Scripts) -> None:
    told = script(said("yes"))
    assert told.heard(speech(), ENGLISH).words is None
    assert Stage.ALIGN not in told.stages


def test_the_text_of_the_attempt_that_won_is_aligned_once(script: Scripts) -> None:
    told = script(UNSURE, said("oh yes", until=0.8))
    heard = told.heard(speech(4.2), ALIGNED)
    assert heard.words is not None
    assert texts(heard.words) == [" oh", " yes"]
    assert times(heard.words) == [(0.0, 0.4), (0.4, 0.8)]
    assert all(word.attempt is heard.best for word in heard.words)
    assert told.stages[-2:] == [Stage.GENERATE, Stage.ALIGN]
    assert told.stages.count(Stage.ALIGN) == 1


def test_an_alignment_is_told_the_audio_in_whole_seconds_and_the_start_of_the_prompt(
    script: Scripts,
) -> None:
    told = script(said("yes"))
    heard = told.heard(speech(4.2), ALIGNED)
    step = told.steps[-1]
    assert step.payload[1] == (list(heard.best.tokens), 500)
    assert options_of(step)["start_sequence"] == (SOT, EN, TASK)


def test_an_alignment_is_told_no_more_audio_than_was_encoded(script: Scripts) -> None:
    told = script(said("yes"))
    told.heard(speech(30.0 + 1 / 16_000), ALIGNED)
    assert told.steps[-1].payload[1][1] == FULL_FRAMES


def test_a_translation_has_whole_english_words_whatever_is_spoken(script: Scripts) -> None:
    def words_of(task: int) -> list[str]:
        japanese = replace(ENGLISH, prompt=(SOT, JA, task, NO_TIMESTAMPS), aligns=True)
        words = script(said("unbelievable straightforwardness")).heard(speech(), japanese).words
        return texts(words or ())

    assert words_of(TRANSLATE) == [" unbelievable", " straightforwardness"]
    assert len(words_of(TASK)) > 2  # Japanese is split into tokens


def test_a_window_without_words_is_not_aligned(script: Scripts) -> None:
    told = script(said(""))
    assert told.heard(speech(), ALIGNED).words == ()
    assert Stage.ALIGN not in told.stages


# Batches


def test_windows_share_a_batch_only_if_ctranslate2_can_decode_them_together(
    script: Scripts,
) -> None:
    def key(policy: Policy) -> object:
        told = script(said("yes"))
        told.hear(speech(), policy)
        return told.steps[-1].key

    german = replace(ENGLISH, prompt=tuple(GERMAN_PROMPT))
    assert key(ENGLISH) == key(german)
    for other in (
        replace(ENGLISH, prompt=(SOT, EN, TASK)),  # with timestamps
        replace(ENGLISH, prompt=(7, SOT, EN, TASK)),  # a start token elsewhere
        replace(ENGLISH, options={**ENGLISH.options, "beam_size": 1}),
        PARTIAL,
    ):
        assert key(ENGLISH) != key(other)
