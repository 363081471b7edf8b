"""An engine whose model says what a test tells it to, without taking time."""

import copy
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from serve_app import metrics
from serve_app.engine.device import Backend
from serve_app.engine.engine import Engine
from serve_app.engine.hearing import Ear
from serve_app.engine.queue import BatchLimits, Stage
from serve_app.engine.scheduler import Scheduler
from serve_app.engine.silence import SilentTail
from serve_app.engine.window import FULL_FRAMES

WORKERS = 2

TIME_STEPS_PER_SECOND = 50
"""Seconds of one unit of time in CTranslate2's alignments."""

Detected = tuple[str, float]
"""A language's code and its probability."""


@dataclass(frozen=True)
class Asked:
    """What one window asked for: ``window`` counts the encodings, ``argument`` is the stage's."""

    stage: Stage
    key: Any
    window: int
    argument: Any = None

    @property
    def options(self) -> dict[str, Any]:
        """Of a GENERATE or ALIGN step."""
        return dict(self.key[0])


@dataclass
class ScriptedModel(Backend):
    """A backend. ``says`` gives the tokens of a window that is decoded with a prompt.

    ``languages`` are detected in the windows in the order in which they are encoded. Tokens are
    aligned one after the other, ``token_seconds`` each, from the start of their window. Batches
    wait for ``gate``; ``entered`` counts those that have begun.
    """

    says: Callable[[int, Sequence[int]], Sequence[int]]
    languages: Sequence[Detected] = ()
    token_seconds: float = 0.2
    asked: list[Asked] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    entered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _n_encoded: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    def run(
        self, stage: Stage, key: Hashable, payloads: Sequence[Any], *, alone: bool
    ) -> Sequence[Any]:
        self.entered.release()
        self.gate.wait()
        if stage is Stage.ENCODE:
            return [self._encode(key, mel.shape[-1] // 2) for mel in payloads]
        steps = [Asked(stage, key, int(output[0, 0, 0]), told) for output, told in payloads]
        self.asked += steps
        if stage is Stage.DETECT:
            found = [self.languages[step.window] for step in steps]
            return [[(f"<|{code}|>", probability)] for code, probability in found]
        if stage is Stage.GENERATE:
            return [self._generate(step) for step in steps]
        return [self._align(step) for step in steps]

    def of(self, stage: Stage) -> list[Asked]:
        """The calls of one stage, in order."""
        return [one for one in self.asked if one.stage is stage]

    @property
    def prompts(self) -> list[list[int]]:
        """Of the windows that were decoded."""
        return [one.argument for one in self.of(Stage.GENERATE)]

    def _encode(self, key: Any, n_positions: int) -> npt.NDArray[np.float32]:
        """What stands for the encoder's output: the number of the window everywhere."""
        with self._lock:
            window = self._n_encoded
            self._n_encoded += 1
            self.asked.append(Asked(Stage.ENCODE, key, window))
        return np.full((1, n_positions, 1), window, np.float32)

    def _generate(self, step: Asked) -> Any:
        tokens = list(self.says(step.window, step.argument))
        return SimpleNamespace(sequences_ids=[tokens], scores=[-0.1], no_speech_prob=0.01)

    def _align(self, step: Asked) -> Any:
        tokens, _ = step.argument
        return SimpleNamespace(
            alignments=[
                (n, round(n * self.token_seconds * TIME_STEPS_PER_SECOND))
                for n in range(len(tokens) + 1)
            ],
            text_token_probs=[0.5] * len(tokens),
        )


@contextmanager
def scripted(
    engine: Engine,
    model: Backend,
    sink: metrics.Sink = metrics.NO_METRICS,
    limits: BatchLimits | None = None,
) -> Iterator[Engine]:
    """``engine``, with ``model`` as its model."""
    view = copy.copy(engine)
    view.sink = sink
    tail = SilentTail(np.zeros((1, FULL_FRAMES // 2, 1), np.float32))
    view._ear = Ear(engine.whisper, engine.vocabulary, tail, sink)
    view.scheduler = Scheduler(model, limits or BatchLimits(), WORKERS, sink)
    try:
        yield view
    finally:
        if isinstance(model, ScriptedModel):
            model.gate.set()
        view.scheduler.stop()
