"""A device whose memory is full, or that acts as if it were."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import ctranslate2
import numpy as np
from typing_extensions import override

from serve_app.engine.backend import WhisperBackend
from serve_app.engine.device import Backend
from serve_app.engine.queue import Stage

ONE_GIB = 1 << 30


@dataclass
class FailingBackend(Backend):
    """Runs batches and records the sizes of those that fail. More than ``most`` windows fail."""

    backend: WhisperBackend
    most: int
    failed: list[int] = field(default_factory=list)

    def run(self, stage: Stage, key: Any, payloads: Sequence[Any], *, alone: bool) -> Sequence[Any]:
        """See :class:`serve_app.engine.device.Backend`."""
        try:
            if len(payloads) > self.most:
                raise RuntimeError("out of memory")
            return self.backend.run(stage, key, payloads, alone=alone)
        except RuntimeError:
            self.failed.append(len(payloads))
            raise

    @override
    def free_memory(self) -> None:
        self.backend.free_memory()


def fill_memory() -> list[ctranslate2.StorageView]:
    """Take all of the GPU's memory but 1 GiB; clear the list to give it back."""
    block = ctranslate2.StorageView.from_array(np.zeros(ONE_GIB, np.int8))
    taken: list[ctranslate2.StorageView] = []
    while True:
        try:
            taken.append(block.to_device(ctranslate2.Device.cuda))
        except RuntimeError:
            return taken[1:]
