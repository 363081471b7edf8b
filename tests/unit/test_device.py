"""What a failing batch costs, and what the device learns from it."""

import threading
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from serve_app.engine.device import Backend, Device
from serve_app.engine.engine import Engine
from serve_app.engine.largest_batch import try_largest_batches
from serve_app.engine.queue import Stage, Step
from serve_app.engine.steps import encode_step
from serve_app.engine.window import FULL_FRAMES
from serve_app.errors import DeviceFailed, NotReady
from serve_app.logs import configure_logging
from serve_app.options import TranscribeOptions
from serve_app.settings import LogSettings
from tests.unit.conftest import Printed
from tests.unit.scripted_model import ScriptedModel, scripted

NO_MEMORY = "CUDA failed with error out of memory"
FAULTS = [
    "CUDA failed with error an illegal memory access was encountered",
    "cuBLAS failed with status CUBLAS_STATUS_EXECUTION_FAILED",
]


class Card(Backend):
    """Returns its payloads if they fit; each takes ``weight``, and freeing leaves ``freed`` more.

    A payload that is an exception is raised.
    """

    def __init__(self, room: float, weight: float = 1.0, freed: float = 0.0) -> None:
        self.room, self.weight, self.freed = room, weight, freed
        self.sizes: list[int] = []
        self.n_freed = 0

    @override
    def run(
        self, stage: Stage, key: Hashable, payloads: Sequence[Any], *, alone: bool
    ) -> Sequence[Any]:
        self.sizes.append(len(payloads))
        if len(payloads) * self.weight > self.room:
            raise RuntimeError(NO_MEMORY)
        for payload in payloads:
            if isinstance(payload, Exception):
                raise payload
        return payloads

    @override
    def free_memory(self) -> None:
        self.n_freed += 1
        self.room += self.freed


def steps(n: int, weight: float = 1.0, stage: Stage = Stage.GENERATE) -> list[Step]:
    return [Step(stage, "k", number, weight=weight) for number in range(n)]


def test_a_size_that_the_device_has_no_memory_for_is_tried_once() -> None:
    card = Card(room=3)
    device = Device(card)
    for _ in range(3):
        assert device.run(steps(8), alone=False) == [*range(8)]
    assert card.sizes == [8, 4, 2, 2, 2, 2, *[2] * 8]
    assert device.most_windows(steps(1)[0]) == 2


def test_windows_that_take_less_memory_may_still_be_more_at_once() -> None:
    card = Card(room=40, weight=10)
    device = Device(card)
    device.run(steps(8, weight=10), alone=False)
    card.weight, card.sizes = 5, []
    assert device.run(steps(8, weight=5), alone=False) == [*range(8)]
    assert card.sizes == [8]


def test_what_one_stage_learns_says_nothing_about_another() -> None:
    device = Device(Card(room=3))
    device.run(steps(8), alone=False)
    assert device.most_windows(steps(1, stage=Stage.ENCODE)[0]) is None


def test_a_lone_window_without_memory_is_tried_again_after_memory_was_freed() -> None:
    card = Card(room=0, freed=1)
    assert Device(card).run(steps(1), alone=True) == [0]
    assert (card.sizes, card.n_freed) == ([1, 1], 1)


def test_the_second_try_waits_for_the_batches_beside_it() -> None:
    began, gate = threading.Event(), threading.Event()
    running: list[Any] = []

    class Shared(Card):
        @override
        def run(self, stage: Stage, key: Hashable, payloads: Sequence[Any], **_: Any) -> Any:
            running.append(payloads[0])
            if payloads[0] == "long":
                began.set()
                gate.wait(10)
                self.room = 1.0
            elif not self.room:
                gate.set()
                raise RuntimeError(NO_MEMORY)
            running.remove(payloads[0])
            return payloads

        @override
        def free_memory(self) -> None:
            assert running == ["short"]  # the try that failed

    device = Device(Shared(room=0))
    with ThreadPoolExecutor(1) as threads:
        long = threads.submit(device.run, [Step(Stage.ENCODE, "k", "long")], alone=False)
        assert began.wait(10)
        assert device.run([Step(Stage.ENCODE, "k", "short")], alone=False) == ["short"]
        assert long.result(10) == ["long"]


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError(NO_MEMORY)])
def test_a_window_heavier_than_any_before_is_refused_and_the_device_is_not_blamed(
    error: Exception,
) -> None:
    device = Device(Card(room=100))
    device.run(steps(1, weight=5), alone=False)
    [outcome] = device.run([Step(Stage.GENERATE, "k", error, weight=10)], alone=False)
    assert isinstance(outcome, NotReady) and not isinstance(outcome, DeviceFailed)
    assert "beam_size" in outcome.message


def test_a_window_that_has_had_memory_before_is_the_devices_fault() -> None:
    card = Card(room=1)
    device = Device(card)
    device.run(steps(1), alone=False)
    card.room = 0
    [outcome] = device.run(steps(1), alone=False)
    assert isinstance(outcome, DeviceFailed)


@pytest.mark.parametrize("message", FAULTS)
def test_an_error_of_the_device_is_told_from_one_of_a_window(message: str) -> None:
    device = Device(Card(room=100))
    window = ValueError("No position encodings are defined for positions >= 448")
    for error, kind in ((RuntimeError(message), DeviceFailed), (window, ValueError)):
        sound, failed = device.run([steps(1)[0], Step(Stage.GENERATE, "k", error)], alone=False)
        assert sound == 0
        assert isinstance(failed, kind)


def test_freeing_memory_leaves_the_model_as_it_was(tiny_en: Engine) -> None:
    silence = encode_step(np.zeros((1, 80, 800), np.float32))
    device = Device(tiny_en.backend)
    [before] = device.run([silence], alone=False)
    tiny_en.backend.free_memory()
    [after] = device.run([silence], alone=False)
    assert np.array_equal(before, after)


class CrampedCard(ScriptedModel):
    """Has memory for ``most`` texts at once."""

    most = 10

    @override
    def run(self, stage: Stage, key: Any, payloads: Sequence[Any], *, alone: bool) -> Sequence[Any]:
        if stage is Stage.GENERATE and len(payloads) * dict(key[0])["beam_size"] > self.most:
            raise RuntimeError(NO_MEMORY)
        return super().run(stage, key, payloads, alone=alone)


def test_a_replica_learns_at_its_start_how_many_windows_fit(
    tiny_en: Engine, printed: Printed
) -> None:
    configure_logging(LogSettings())
    model = CrampedCard(lambda window, prompt: [])
    with scripted(tiny_en, model) as engine:
        try_largest_batches(engine)
        assert model.of(Stage.GENERATE)[0].options["max_length"] == 448
        decoding = Step(Stage.GENERATE, weight=FULL_FRAMES * TranscribeOptions().beam_size)
        assert engine.scheduler.device.most_windows(decoding) == 2
    said = printed()
    assert "generate have at most 2 windows from now on" in said
    assert "1 windows fit an encoder call, 2 a decoder call" in said


def test_a_replica_on_which_no_window_fits_does_not_start(tiny_en: Engine) -> None:
    model = CrampedCard(lambda window, prompt: [])
    model.most = 4
    with scripted(tiny_en, model) as engine, pytest.raises(NotReady, match="no memory"):
        try_largest_batches(engine)
