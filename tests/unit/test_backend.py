"""Which instance of the model runs a batch."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import ctranslate2
import numpy as np
import pytest

from serve_app.engine import backend
from serve_app.engine.backend import TIMED_TOKENS, TRIES, WhisperBackend
from serve_app.engine.queue import Stage

MEL = np.zeros((1, 80, 3_000), np.float32)
ENCODED = np.zeros((1, 4, 2), np.float32)
EOT = 9


class Clock:
    """A clock that moves only when somebody works."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


class Model:
    """Stands in for ``ctranslate2.models.Whisper``; each decoding takes the next of ``seconds``."""

    def __init__(self, clock: Clock, seconds: Sequence[float] = ()) -> None:
        self._clock = clock
        self._seconds = iter(seconds)
        self.n_encoded = 0
        self.asked: list[dict[str, Any]] = []

    def encode(
        self, features: ctranslate2.StorageView, to_cpu: bool = False
    ) -> ctranslate2.StorageView:
        self.n_encoded += 1
        return ctranslate2.StorageView.from_array(np.zeros((features.shape[0], 4, 2), np.float32))

    def generate(
        self, features: ctranslate2.StorageView, prompts: Sequence[Any], **options: Any
    ) -> list[Any]:
        self._clock.now += next(self._seconds, 0.0)
        self.asked.append(options)
        return list(prompts)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(backend, "time", SimpleNamespace(perf_counter=clock.perf_counter))
    return clock


@pytest.mark.parametrize(
    ("one_worker", "every_core", "wins"),
    [
        ([0.5, 0.6, 0.7], [1.0, 1.1, 1.2], False),
        ([1.0, 1.1, 1.2], [0.5, 0.6, 0.7], True),
        ([0.6, 0.6, 0.6], [9.0, 0.5, 9.0], True),
    ],
)
def test_a_lone_window_is_decoded_where_the_fastest_of_some_tries_was(
    clock: Clock, one_worker: list[float], every_core: list[float], wins: bool
) -> None:
    shared, whole = Model(clock, one_worker), Model(clock, every_core)
    tested = WhisperBackend(shared, whole)
    tested.choose_lone_decoding(ENCODED, [1, 2, 3], EOT)
    assert tested.decodes_alone_on_every_core is wins
    assert len(shared.asked) == len(whole.asked) == TRIES


def test_every_try_decodes_as_many_tokens(clock: Clock) -> None:
    shared = Model(clock)
    WhisperBackend(shared, Model(clock)).choose_lone_decoding(ENCODED, [1, 2, 3], EOT)
    for options in shared.asked:
        assert options["suppress_tokens"] == [EOT]
        assert min(options["max_length"] // 2, options["max_length"] - 3) == TIMED_TOKENS


def test_without_a_second_instance_nothing_is_measured(clock: Clock) -> None:
    shared = Model(clock)
    WhisperBackend(shared).choose_lone_decoding(ENCODED, [1, 2, 3], EOT)
    assert not shared.asked


def generate(tested: WhisperBackend, *, alone: bool) -> None:
    key = ((("beam_size", 5),), (0, 3, True), 3_000)
    tested.run(Stage.GENERATE, key, [(ENCODED, [1, 2, 3])], alone=alone)


@pytest.mark.parametrize("on_every_core", [False, True])
def test_a_lone_window_is_encoded_on_every_core_and_decoded_where_that_is_faster(
    clock: Clock, on_every_core: bool
) -> None:
    shared, whole = Model(clock), Model(clock)
    tested = WhisperBackend(shared, whole)
    tested.decodes_alone_on_every_core = on_every_core
    tested.run(Stage.ENCODE, (80, 3_000), [MEL], alone=True)
    generate(tested, alone=True)
    assert (shared.n_encoded, whole.n_encoded) == (0, 1)
    assert (len(shared.asked), len(whole.asked)) == ((0, 1) if on_every_core else (1, 0))


@pytest.mark.parametrize("has_whole", [False, True])
def test_what_is_not_alone_leaves_the_other_cores_to_others(clock: Clock, has_whole: bool) -> None:
    shared, whole = Model(clock), Model(clock)
    tested = WhisperBackend(shared, whole if has_whole else None)
    tested.decodes_alone_on_every_core = True
    tested.run(Stage.ENCODE, (80, 3_000), [MEL], alone=not has_whole)
    generate(tested, alone=not has_whole)
    assert (shared.n_encoded, len(shared.asked)) == (1, 1)
    assert (whole.n_encoded, whole.asked) == (0, [])
