"""Runs batches on a backend, so that a failing batch costs as few windows as possible.

- A batch that fails is halved until the culprit is alone. Then only the culprit fails.
- A batch that does not fit into memory is halved as well, and the size that fits is remembered: no
  later batch of that stage is larger, as long as the process lives.
- A lone window that does not fit is tried once more, while no other batch runs and after the
  backend has freed what it can.
"""

import logging
import math
import re
import threading
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from serve_app.engine.queue import Stage, Step
from serve_app.errors import DeviceFailed, NotReady

logger = logging.getLogger("whisper_ox.engine")

_NO_MEMORY = re.compile(r"out of memory|ALLOC_FAILED|failed to allocate", re.IGNORECASE)
_FAULT = re.compile(r"CUDA failed|cuBLAS failed|cuDNN failed|No model replica")
"""What CTranslate2 4.8 writes into its ``RuntimeError``: "CUDA failed with error out of memory",
"cuBLAS failed with status CUBLAS_STATUS_ALLOC_FAILED", "mkl_malloc: failed to allocate memory"; the
last one if a model could not be moved back to its device."""


class Backend(Protocol):
    """What executes a batch: CTranslate2 in production."""

    def run(
        self, stage: Stage, key: Hashable, payloads: Sequence[Any], *, alone: bool
    ) -> Sequence[Any]:
        """Run one batch and return one result per payload, in order.

        ``alone`` means that nothing else waits or runs, so this batch may use every core.
        """

    def free_memory(self) -> None:
        """Free memory that is kept for later batches, if any. No batch runs meanwhile."""
        return


class Device:
    """A backend, and what is known about its memory."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._turns = _Turns()
        self._most: dict[Stage, float] = {}
        self._heaviest: dict[Stage, float] = {}

    def run(self, steps: Sequence[Step], *, alone: bool) -> list[Any]:
        """One result or exception for each of ``steps``, which are of one kind.

        An exception is a ``DeviceFailed`` if the device is at fault and not the window.
        """
        most = self.most_windows(steps[0])
        if most is not None and most < len(steps):
            parts = [steps[n : n + most] for n in range(0, len(steps), most)]
            return [outcome for part in parts for outcome in self.run(part, alone=alone)]
        try:
            with self._turns.beside_others():
                return self._attempt(steps, alone)
        except Exception as error:
            has_no_memory = is_out_of_memory(error)
            if len(steps) == 1:
                return [self._once_more(steps[0]) if has_no_memory else _outcome(error)]
        middle = (len(steps) + 1) // 2
        if has_no_memory:
            self._learn(steps[0], middle)
        return self.run(steps[:middle], alone=alone) + self.run(steps[middle:], alone=alone)

    def most_windows(self, step: Step) -> int | None:
        """Most windows in a batch of such steps; None until a limit is met."""
        if step.stage not in self._most:
            return None
        return max(1, int(self._most[step.stage] / step.weight))

    def _attempt(self, steps: Sequence[Step], alone: bool) -> list[Any]:
        stage, weight = steps[0].stage, steps[0].weight
        payloads = [step.payload for step in steps]
        results = list(self._backend.run(stage, steps[0].key, payloads, alone=alone))
        self._heaviest[stage] = max(weight, self._heaviest.get(stage, 0.0))
        return results

    def _learn(self, step: Step, n_windows: int) -> None:
        self._most[step.stage] = min(n_windows * step.weight, self._most.get(step.stage, math.inf))
        logger.warning(
            "out of memory: such batches of the stage %s have at most %d windows from now on",
            step.stage.name.lower(),
            n_windows,
        )

    def _once_more(self, step: Step) -> Any:
        """The outcome of a lone window for which there was no memory."""
        try:
            with self._turns.without_others():
                self._backend.free_memory()
                [result] = self._attempt([step], alone=False)
                return result
        except Exception as error:
            is_heavy = step.weight > self._heaviest.get(step.stage, 0.0)
            if is_heavy and is_out_of_memory(error):
                return NotReady(
                    "The model's device has no memory for a window with these options. Lower "
                    "beam_size or best_of; the operator finds out more in the log."
                )
            return _outcome(error, is_fault=is_out_of_memory(error))


def is_out_of_memory(error: Exception) -> bool:
    """Whether a backend raised ``error`` because memory ran out."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error)) is not None


def _outcome(error: Exception, *, is_fault: bool = False) -> Exception:
    """``error``, or a ``DeviceFailed`` if the device is at fault.

    CTranslate2 also raises ``RuntimeError`` for other reasons, such as a prompt that is too long.
    """
    if not (is_fault or (isinstance(error, RuntimeError) and _FAULT.search(str(error)))):
        return error
    logger.error("the device failed: %s", error)
    return DeviceFailed("The model's device failed under this request. Send it again in a moment.")


class _Turns:
    """Lets batches run together, or one of them alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._n_running = 0
        self._is_claimed = False

    @contextmanager
    def beside_others(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._is_claimed)
            self._n_running += 1
        try:
            yield
        finally:
            with self._changed:
                self._n_running -= 1
                self._changed.notify_all()

    @contextmanager
    def without_others(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._is_claimed)
            self._is_claimed = True
            self._changed.wait_for(lambda: not self._n_running)
        try:
            yield
        finally:
            with self._changed:
                self._is_claimed = False
                self._changed.notify_all()
