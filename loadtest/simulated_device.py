"""A device that takes as long as a GPU would and no core, for clusters on one small machine.

All else of a replica is real: HTTP, Ray, decoding of audio, voice activity detection, features, the
scheduler and its batches. What it says is the golden clip's transcript, whatever it hears.
"""

import threading
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

import serve_app.engine.engine
from loadtest.capacity.profile import CallCost, StageCosts
from serve_app.engine.backend import WhisperBackend
from serve_app.engine.queue import Stage
from serve_app.errors import WhisperOxError
from serve_app.serving.deployments import Transcriber
from serve_app.settings import AppSettings, EngineTunables

COSTS = StageCosts(encode=CallCost(window=0.1), generate=CallCost(call=4.4))
"""Seconds: with full batches of 8 a window takes 0.65 s, so 15 s chunks go 23 times real time: what
docs/deploy.md predicts for large-v3 on an A10G. Decoding is bound by the weights that each step
reads, so a call takes the same whatever its batch."""

TEXT_TOKENS = 50_256
"""The English-only models' text tokens have lower numbers, their special tokens higher ones."""

TUNABLES = EngineTunables(encode_batch=8, decode_batch=8, recover_speech=False)
"""It cannot tell where words are, so no speech is looked for that they leave out."""


@dataclass(frozen=True)
class Said:
    """What faster-whisper reads of a ``ctranslate2.models.WhisperGenerationResult``."""

    sequences_ids: list[list[int]]
    scores: list[float]
    no_speech_prob: float

    @classmethod
    def without_times(cls, result: Any) -> "Said":
        """``result`` without timestamp tokens, so that its text is that of a whole window, however
        long, and no speech seems lost.
        """
        words = [token for token in result.sequences_ids[0] if token < TEXT_TOKENS]
        return cls([words], list(result.scores), result.no_speech_prob)


class SimulatedDevice(WhisperBackend):
    """The real model for the golden clip of a replica's start; from then on a device of ``COSTS``
    that works on one batch at a time and repeats that clip's tokens.
    """

    _device = threading.Lock()
    _said: Said | None = None

    @override
    def run(
        self, stage: Stage, key: Hashable, payloads: Sequence[Any], *, alone: bool
    ) -> Sequence[Any]:
        if self._said is None:
            results = super().run(stage, key, payloads, alone=alone)
            if stage is Stage.GENERATE:
                self._said = Said.without_times(results[0])
            return results
        if stage is Stage.ENCODE:
            return self._after(COSTS.encode.seconds([0] * len(payloads)), [None] * len(payloads))
        if stage is Stage.GENERATE:
            n_tokens = len(self._said.sequences_ids[0])
            seconds = COSTS.generate.seconds([n_tokens] * len(payloads))
            return self._after(seconds, [self._said] * len(payloads))
        raise WhisperOxError(f"a simulated device knows no {stage.name}")

    def _after(self, seconds: float, results: Sequence[Any]) -> Sequence[Any]:
        with self._device:
            time.sleep(seconds)
        return results


class SimulatedTranscriber(Transcriber):
    """A model replica on a simulated device."""

    def __init__(self, settings: AppSettings) -> None:
        # The engine makes its backend itself, and nobody else should choose one.
        setattr(serve_app.engine.engine, "WhisperBackend", SimulatedDevice)  # noqa: B010
        super().__init__(settings)
