"""What faster-whisper takes for ``ctranslate2.models.Whisper``: a proxy onto the scheduler.

faster-whisper reaches the model through ``encode``, ``detect_language``, ``generate`` and ``align``
only. This object has those four; each queues its windows and blocks its caller until they are
done, so every request runs faster-whisper's own, unmodified pipeline in a thread of its own while
windows of different requests share batches.
"""

from collections.abc import Hashable, Sequence
from concurrent.futures import Future
from typing import Any

import ctranslate2
import numpy as np

from serve_app.engine.policy import Stage
from serve_app.engine.scheduler import Scheduler, Window

MEL_FRAMES_PER_SECOND = 100


class WindowModel:
    """The model as one request sees it."""

    def __init__(
        self,
        scheduler: Scheduler,
        request: int,
        model: ctranslate2.models.Whisper,
        special_tokens: "SpecialTokens",
    ) -> None:
        self._scheduler = scheduler
        self._request = request
        self._tokens = special_tokens
        self.is_multilingual: bool = model.is_multilingual
        self.n_mels: int = model.n_mels
        self.device: str = model.device
        self.device_index: list[int] = model.device_index

    def encode(self, features: ctranslate2.StorageView, to_cpu: bool = False) -> list[Window]:
        """Queue windows for encoding and return at once.

        ``features``: float32 [n_windows, n_mels, n_frames]. ``to_cpu`` is the backend's affair.
        """
        mel = np.asarray(features)
        seconds = mel.shape[2] / MEL_FRAMES_PER_SECOND
        return [
            self._scheduler.encode(self._request, mel.shape[1:], mel[n : n + 1], seconds)
            for n in range(mel.shape[0])
        ]

    def detect_language(self, windows: Sequence[Window]) -> list[Any]:
        """Per window, (language token, probability) pairs, best first."""
        return _gather(self._scheduler.decode(w, Stage.DETECT, None, None) for w in windows)

    def generate(
        self, windows: Sequence[Window], prompts: Sequence[Sequence[int]], **options: Any
    ) -> list[Any]:
        """One ``WhisperGenerationResult`` per window."""
        shared = _hashable(options)
        return _gather(
            self._scheduler.decode(
                window,
                Stage.GENERATE,
                (*shared, ("prompt_shape", self._tokens.shape(prompt))),
                list(prompt),
            )
            for window, prompt in zip(windows, prompts, strict=True)
        )

    def align(
        self,
        windows: Sequence[Window],
        start_sequence: Sequence[int],
        text_tokens: Sequence[Sequence[int]],
        num_frames: int | Sequence[int],
        **options: Any,
    ) -> list[Any]:
        """One ``WhisperAlignmentResult`` per window."""
        key = (*_hashable(options), ("start_sequence", tuple(start_sequence)))
        frames = [num_frames] * len(windows) if isinstance(num_frames, int) else num_frames
        return _gather(
            self._scheduler.decode(window, Stage.ALIGN, key, (list(tokens), n_frames))
            for window, tokens, n_frames in zip(windows, text_tokens, frames, strict=True)
        )


class SpecialTokens:
    """The token ids that decide which prompts CTranslate2 can decode in one batch."""

    def __init__(self, sot: int, no_timestamps: int) -> None:
        self._sot = sot
        self._no_timestamps = no_timestamps

    def shape(self, prompt: Sequence[int]) -> tuple[int, int, bool]:
        """What must be equal in a batch (ctranslate2 4.8 src/models/whisper.cc): position of
        ``<|startoftranscript|>``, prompt length, and whether timestamps are wanted, which is read
        off the batch's first prompt only.
        """
        return (prompt.index(self._sot), len(prompt), self._no_timestamps in prompt)


def _hashable(options: dict[str, Any]) -> tuple[tuple[str, Hashable], ...]:
    return tuple(
        sorted(
            (name, tuple(value) if isinstance(value, (list, tuple)) else value)
            for name, value in options.items()
        )
    )


def _gather(futures: "Any") -> list[Any]:
    """Results in order. Every window is queued before the first is waited for."""
    queued: list[Future[Any]] = list(futures)
    return [future.result() for future in queued]
