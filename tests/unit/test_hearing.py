"""Which steps a window takes, which windows are decoded again, and which attempt wins."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from serve_app import metrics
from serve_app.engine.attempts import Checks
from serve_app.engine.hearing import Ear
from serve_app.engine.prompt import Vocabulary
from serve_app.engine.queue import Stage, Step
from serve_app.engine.window import FULL_FRAMES, Heard, Policy, Window
from tests.unit.ledger import Ledger

SOT, EN, DE, TASK, NO_TIMESTAMPS, EOT = 1001, 1002, 1003, 1004, 1005, 1000
CONTROL_TOKENS = {"<|startoftranscript|>": SOT, "<|en|>": EN, "<|de|>": DE, "<|endoftext|>": EOT}


class Words:
    """As much of a ``tokenizers.Tokenizer`` as a hearing needs; each new word gets the next id."""

    def __init__(self) -> None:
        self.known: list[str] = []

    def ids(self, text: str) -> list[int]:
        words = text.split()
        self.known += [word for word in dict.fromkeys(words) if word not in self.known]
        return [self.known.index(word) for word in words]

    def decode(self, tokens: Sequence[int]) -> str:
        return " ".join(self.known[token] for token in tokens)

    def token_to_id(self, token: str) -> int:
        return CONTROL_TOKENS[token]


@dataclass
class Said:
    """As much of a ``WhisperGenerationResult`` as a hearing reads, from (text, score) pairs."""

    hypotheses: Sequence[tuple[str, float]]
    no_speech_prob: float = 0.0


def said(text: str, score: float = -0.1) -> Said:
    return Said([(text, score)])


def sampled(*hypotheses: tuple[str, float]) -> Said:
    return Said(hypotheses)


@dataclass
class Script:
    """Answers the steps of one hearing in place of the model, and keeps them.

    ``results`` are those of its GENERATE steps in order.
    """

    results: Sequence[Said]
    languages: Sequence[tuple[str, float]] = (("<|de|>", 0.9), ("<|en|>", 0.1))
    steps: list[Step] = field(default_factory=list)

    def hear(self, window: Window, policy: Policy, sink: metrics.Sink = metrics.NO_METRICS) -> str:
        return self.heard(window, policy, sink).best.text

    def heard(
        self, window: Window, policy: Policy, sink: metrics.Sink = metrics.NO_METRICS
    ) -> Heard:
        self._words, self._left = Words(), list(self.results)
        hearing = Ear(Vocabulary(self._words, SOT, EOT, NO_TIMESTAMPS), sink).hearing(
            window, policy
        )
        answer = None
        while True:
            try:
                step = hearing.send(answer)
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
            return "an alignment"
        return self._generation(self._left.pop(0))

    def _generation(self, result: Said) -> Any:
        @dataclass
        class Generation:
            sequences_ids: list[list[int]]
            scores: list[float]
            no_speech_prob: float

        texts, scores = zip(*result.hypotheses, strict=True)
        return Generation([*map(self._words.ids, texts)], [*scores], result.no_speech_prob)

    @property
    def stages(self) -> list[Stage]:
        return [step.stage for step in self.steps]

    def option(self, name: str) -> list[Any]:
        """An option of every GENERATE step."""
        keys: list[Any] = [step.key for step in self.steps if step.stage is Stage.GENERATE]
        return [dict(key[0])[name] for key in keys]

    @property
    def temperatures(self) -> list[float]:
        return self.option("sampling_temperature")

    @property
    def lengths(self) -> list[int]:
        return self.option("max_length")

    @property
    def encoded_seconds(self) -> list[float]:
        return [step.seconds for step in self.steps if step.stage is Stage.ENCODE]


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
PARTIAL = replace(ENGLISH, context_margin_seconds=5.0)


def speech(seconds: float = 4.0) -> Window:
    return Window(np.ones((80, round(seconds * 100)), np.float32), seconds)


def test_a_good_window_is_encoded_and_decoded_once() -> None:
    script = Script([said("all is well")])
    assert script.hear(speech(), ENGLISH) == "all is well"
    assert script.stages == [Stage.ENCODE, Stage.GENERATE]
    assert script.temperatures == [0.0]


def test_a_window_is_padded_to_thirty_seconds() -> None:
    script = Script([said("yes")])
    script.hear(speech(4.0), ENGLISH)
    mel = script.steps[0].payload
    assert mel.shape == (1, 80, FULL_FRAMES)
    assert (mel[..., :400] == 1).all()
    assert not mel[..., 400:].any()
    assert script.encoded_seconds == [30.0]


def test_an_unsure_window_gets_the_next_temperature() -> None:
    script = Script([said("eh", -9), said("yes")])
    assert script.hear(speech(), ENGLISH) == "yes"
    assert script.stages == [Stage.ENCODE, Stage.GENERATE, Stage.GENERATE]
    assert script.temperatures == [0.0, 0.2]


def test_the_temperature_of_the_attempt_that_won_is_told() -> None:
    heard = Script([said("eh", -9), said("yes")]).heard(speech(), ENGLISH)
    assert heard.best.temperature == 0.2


def test_samples_are_drawn_as_faster_whisper_draws_them() -> None:
    script = Script([said("eh", -9), said("yes")])
    script.hear(speech(), replace(ENGLISH, best_of=3))
    options = dict(script.steps[-1].key[0])  # type: ignore[index]
    asked = {name: options[name] for name in ("beam_size", "num_hypotheses", "sampling_topk")}
    assert asked == {"beam_size": 1, "num_hypotheses": 3, "sampling_topk": 0}
    assert "patience" not in options


def test_attempts_above_temperature_0_are_counted() -> None:
    ledger = Ledger()
    Script([said("eh", -9), said("em", -9), said("yes")]).hear(speech(), ENGLISH, ledger)
    assert ledger.total(metrics.FALLBACKS) == 2


def test_a_window_that_always_fails_keeps_its_most_probable_text() -> None:
    assert Script([said("a", -9), said("b", -5), said("c", -7)]).hear(speech(), ENGLISH) == "b"


def test_a_repetitive_text_loses_to_a_less_probable_one() -> None:
    results = [said("go " * 60, -9), said("b", -99), said("go " * 60, -9)]
    assert Script(results).hear(speech(), ENGLISH) == "b"


@pytest.mark.parametrize("temperatures", [(), (0.0,), (0.0, 0.0)])
def test_without_a_higher_temperature_the_first_text_stands(
    temperatures: tuple[float, ...],
) -> None:
    script = Script([said("eh", -9)])
    assert script.hear(speech(), replace(ENGLISH, temperatures=temperatures)) == "eh"
    assert script.temperatures == [0.0]


def test_silence_is_not_decoded_again() -> None:
    silence = Said([("eh", -9.0)], no_speech_prob=0.9)
    assert Script([silence]).hear(speech(), ENGLISH) == "eh"


def test_the_end_of_the_text_counts_in_its_probability() -> None:
    heard = Script([said("one two three", -0.4)]).heard(speech(), ENGLISH)
    assert heard.best.avg_logprob == pytest.approx(-0.4 * 3 / 4)


def test_a_partial_window_that_repeats_itself_is_decoded_in_full() -> None:
    script = Script(
        [said("turn off the light. Turn off the light."), said("turn off the light")],
    )
    assert script.hear(speech(), PARTIAL) == "turn off the light"
    assert script.encoded_seconds == [15.0, 30.0]
    assert script.temperatures == [0.0, 0.0]


def test_a_good_partial_window_stays_partial() -> None:
    script = Script([said("turn off the light")])
    assert script.hear(speech(), PARTIAL) == "turn off the light"
    assert script.encoded_seconds == [15.0]


def test_a_partial_window_is_widened_whatever_the_callers_thresholds() -> None:
    unchecked = replace(PARTIAL, checks=Checks(None, None, None))
    script = Script([said("eh", -9), said("ah", -9)])
    assert script.hear(speech(), unchecked) == "ah"
    assert script.encoded_seconds == [15.0, 30.0]


def test_a_widened_window_that_still_fails_gets_the_next_temperature_in_full() -> None:
    script = Script([said("eh", -9), said("eh", -9), said("yes")])
    assert script.hear(speech(), PARTIAL) == "yes"
    assert script.encoded_seconds == [15.0, 30.0]
    assert script.temperatures == [0.0, 0.0, 0.2]
    assert script.steps[-1].payload[0].shape[1] == FULL_FRAMES // 2


UNSURE = said("eh", -9)
BABBLE = " ".join(str(n) for n in range(64))
REPETITION = "go " * 64


def test_samples_are_stopped_early_and_the_first_attempt_is_not() -> None:
    script = Script([UNSURE, said("yes")])
    script.hear(speech(), ENGLISH)
    assert script.lengths == [448, 128]


def test_a_sample_that_runs_away_loses_to_one_that_ends() -> None:
    script = Script([UNSURE, sampled((REPETITION, -0.1), ("yes", -0.2))])
    assert script.hear(speech(), ENGLISH) == "yes"
    assert script.temperatures == [0.0, 0.2]


def test_a_sound_sample_that_was_stopped_is_decoded_in_full() -> None:
    script = Script([UNSURE, sampled((BABBLE, -0.1), ("yes", -0.2)), said("in full")])
    assert script.hear(speech(), ENGLISH) == "in full"
    assert script.lengths == [448, 128, 448]


def test_after_samples_that_all_run_away_comes_the_next_temperature() -> None:
    script = Script([UNSURE, sampled((REPETITION, -0.1), (BABBLE, -7)), said("yes")])
    assert script.hear(speech(), ENGLISH) == "yes"
    assert script.temperatures == [0.0, 0.2, 0.4]


def test_a_longer_first_attempt_leaves_its_samples_more_tokens() -> None:
    script = Script([said(BABBLE, -9), said("yes")])
    script.hear(speech(), ENGLISH)
    assert script.lengths == [448, 256]


def test_the_length_of_a_repetition_says_nothing() -> None:
    script = Script([said(REPETITION * 3), said("yes")])
    script.hear(speech(), ENGLISH)
    assert script.lengths == [448, 128]


DETECTING = replace(ENGLISH, detects_language=True)


def test_the_language_is_detected_from_the_one_encoding_of_the_window() -> None:
    script = Script([said("ja")])
    heard = script.heard(speech(), DETECTING)
    assert script.stages == [Stage.ENCODE, Stage.DETECT, Stage.GENERATE]
    assert (heard.language, heard.language_probability) == (DE, 0.9)


def test_a_window_is_decoded_in_the_language_that_was_detected() -> None:
    script = Script([said("eh", -9), said("ja")])
    script.hear(speech(), DETECTING)
    prompts = [step.payload[1] for step in script.steps if step.stage is Stage.GENERATE]
    assert prompts == [[SOT, DE, TASK, NO_TIMESTAMPS]] * 2


def test_without_detection_no_language_is_told() -> None:
    heard = Script([said("yes")]).heard(speech(), ENGLISH)
    assert (heard.language, heard.language_probability) == (None, 0.0)


def test_words_are_aligned_only_when_asked_for() -> None:
    script = Script([said("yes")])
    assert script.heard(speech(), ENGLISH).alignment is None
    assert Stage.ALIGN not in script.stages


def test_the_text_of_the_attempt_that_won_is_aligned_once() -> None:
    script = Script([said("eh", -9), said("oh yes")])
    heard = script.heard(speech(4.2), replace(ENGLISH, aligns=True))
    assert heard.alignment == "an alignment"
    assert script.stages[-2:] == [Stage.GENERATE, Stage.ALIGN]
    (tokens, n_frames), key = script.steps[-1].payload[1], script.steps[-1].key
    assert (tokens, n_frames) == (list(heard.best.tokens), 500)
    assert dict(key[0])["start_sequence"] == (SOT, EN, TASK)  # type: ignore[index]


def test_a_window_without_words_is_not_aligned() -> None:
    script = Script([said("")])
    assert script.heard(speech(), replace(ENGLISH, aligns=True)).alignment is None


def test_windows_share_a_batch_only_if_ctranslate2_can_decode_them_together() -> None:
    def key(policy: Policy) -> object:
        script = Script([said("yes")])
        script.hear(speech(), policy)
        return script.steps[-1].key

    german = replace(ENGLISH, prompt=(SOT, DE, TASK, NO_TIMESTAMPS))
    assert key(ENGLISH) == key(german)
    for other in (
        replace(ENGLISH, prompt=(SOT, EN, TASK)),  # with timestamps
        replace(ENGLISH, prompt=(7, SOT, EN, TASK)),  # a start token elsewhere
        replace(ENGLISH, options={**ENGLISH.options, "beam_size": 1}),
        PARTIAL,
    ):
        assert key(ENGLISH) != key(other)
