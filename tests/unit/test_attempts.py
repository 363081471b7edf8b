"""Which windows are decoded again, and which attempt wins."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from serve_app.engine.attempts import Attempts, Key, SpecialTokens
from serve_app.engine.policy import Stage

from serve_app.engine.checks import Checks
from serve_app.metrics import catalogue as metrics
from tests.unit.ledger import Ledger

SOT, NO_TIMESTAMPS, EOT = 7, 8, 9
OPTIONS = {"length_penalty": 1.0, "beam_size": 5, "patience": 1.0, "max_length": 448}
CHECKS = Checks(compression_ratio=2.4, log_prob=-1.0, no_speech=0.6)


@dataclass
class Result:
    """As much of a ``WhisperGenerationResult`` as decides."""

    sequences_ids: list[list[str]]
    scores: list[float]
    no_speech_prob: float = 0.0


def heard(text: str, score: float = -0.1) -> Result:
    return Result([text.split()], [score])


def sampled(*hypotheses: tuple[str, float]) -> Result:
    return Result([text.split() for text, _ in hypotheses], [score for _, score in hypotheses])


class ScriptedWindow:
    """Yields its results in order and remembers what it was asked."""

    def __init__(self, *results: Result, is_partial: bool = False) -> None:
        self.results = list(results)
        self.is_partial = is_partial
        self.temperatures: list[float] = []
        self.lengths: list[object] = []

    def widen(self) -> None:
        self.is_partial = False

    def decode(self, stage: Stage, key: Key, payload: Any) -> "Future[Any]":
        self.lengths.append(dict(key)["max_length"])
        self.temperatures.append(float(str(dict(key).get("sampling_temperature", 0.0))))
        future: Future[Any] = Future()
        future.set_result(self.results.pop(0))
        return future


def texts(
    windows: Sequence[ScriptedWindow],
    temperatures: Sequence[float] = (0.2, 0.4),
    sink: metrics.Sink = metrics.NO_METRICS,
) -> list[str]:
    attempts = Attempts(
        SpecialTokens(SOT, NO_TIMESTAMPS, EOT),
        lambda tokens: " ".join(str(token) for token in tokens),
        CHECKS,
        temperatures,
        best_of=5,
        sink=sink,
    )
    results = attempts.generate(windows, [[SOT, 1, 2]] * len(windows), OPTIONS)
    return [" ".join(result.sequences_ids[0]) for result in results]


def test_a_good_window_is_decoded_once() -> None:
    window = ScriptedWindow(heard("all is well"))
    assert texts([window]) == ["all is well"]
    assert window.temperatures == [0.0]


def test_an_unsure_window_gets_the_next_temperature_alone() -> None:
    unsure, good = ScriptedWindow(heard("eh", -9), heard("yes")), ScriptedWindow(heard("fine"))
    assert texts([unsure, good]) == ["yes", "fine"]
    assert unsure.temperatures == [0.0, 0.2]
    assert good.temperatures == [0.0]


def test_attempts_above_temperature_0_are_counted() -> None:
    ledger = Ledger()
    texts([ScriptedWindow(heard("eh", -9), heard("em", -9), heard("yes"))], sink=ledger)
    assert ledger.total(metrics.FALLBACKS) == 2


def test_a_window_that_always_fails_keeps_its_most_probable_text() -> None:
    window = ScriptedWindow(heard("a", -9), heard("b", -5), heard("c", -7))
    assert texts([window]) == ["b"]


def test_a_repetitive_text_loses_to_a_less_probable_one() -> None:
    window = ScriptedWindow(heard("go " * 60, -9), heard("b", -99), heard("go " * 60, -9))
    assert texts([window]) == ["b"]


def test_without_temperatures_the_first_text_stands() -> None:
    assert texts([ScriptedWindow(heard("eh", -9))], temperatures=()) == ["eh"]


def test_silence_is_not_decoded_again() -> None:
    window = ScriptedWindow(Result([["eh"]], [-9.0], no_speech_prob=0.9))
    assert texts([window]) == ["eh"]


def test_a_partial_window_that_repeats_itself_is_decoded_in_full() -> None:
    window = ScriptedWindow(
        heard("turn off the light. Turn off the light."),
        heard("turn off the light"),
        is_partial=True,
    )
    assert texts([window]) == ["turn off the light"]
    assert not window.is_partial


def test_a_good_partial_window_stays_partial() -> None:
    window = ScriptedWindow(heard("turn off the light"), is_partial=True)
    assert texts([window]) == ["turn off the light"]
    assert window.is_partial


UNSURE = heard("eh", -9)
BABBLE = " ".join(str(n) for n in range(64))
REPETITION = "go " * 64


def test_samples_are_stopped_early_and_the_first_attempt_is_not() -> None:
    window = ScriptedWindow(UNSURE, heard("yes"))
    texts([window])
    assert window.lengths == [448, 128]


def test_a_sample_that_runs_away_loses_to_one_that_ends() -> None:
    window = ScriptedWindow(UNSURE, sampled((REPETITION, -0.1), ("yes", -0.2)))
    assert texts([window]) == ["yes"]
    assert window.temperatures == [0.0, 0.2]


def test_a_sound_sample_that_was_stopped_is_decoded_in_full() -> None:
    window = ScriptedWindow(UNSURE, sampled((BABBLE, -0.1), ("yes", -0.2)), heard("in full"))
    assert texts([window]) == ["in full"]
    assert window.lengths == [448, 128, 448]


def test_after_samples_that_all_run_away_comes_the_next_temperature() -> None:
    window = ScriptedWindow(UNSURE, sampled((REPETITION, -0.1), (BABBLE, -7)), heard("yes"))
    assert texts([window]) == ["yes"]
    assert window.temperatures == [0.0, 0.2, 0.4]


def test_a_longer_first_attempt_leaves_its_samples_more_tokens() -> None:
    window = ScriptedWindow(heard(BABBLE, -9), heard("yes"))
    texts([window])
    assert window.lengths == [448, 256]


def test_the_length_of_a_repetition_says_nothing() -> None:
    window = ScriptedWindow(heard(REPETITION * 3), heard("yes"))
    texts([window])
    assert window.lengths == [448, 128]


def test_temperature_0_is_not_tried_twice() -> None:
    window = ScriptedWindow(UNSURE)
    assert texts([window], temperatures=(0.0,)) == ["eh"]
    assert window.temperatures == [0.0]
