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
import numpy.typing as npt

from serve_app.engine.attempts import Attempts, gather, hashable
from serve_app.engine.audio_context import MEL_FRAMES_PER_SECOND, AudioContext
from serve_app.engine.policy import Stage
from serve_app.engine.scheduler import Scheduler, Window


class EncodedWindow:
    """One window of a request: ``mel`` float32 [n_mels, n_frames], encoded whole or in part."""

    def __init__(
        self, scheduler: Scheduler, request: int, mel: npt.NDArray[np.float32], n_frames: int
    ) -> None:
        self._scheduler = scheduler
        self._request = request
        self._mel = mel
        self._full: int = mel.shape[-1]
        self._encode(n_frames)

    @property
    def is_partial(self) -> bool:
        """Whether padding was left out."""
        return self._n_frames < self._full

    def widen(self) -> None:
        """Encode the whole window; whatever is decoded from now on uses that."""
        self._encode(self._full)

    def decode(
        self, stage: Stage, key: tuple[tuple[str, Hashable], ...], payload: Any
    ) -> "Future[Any]":
        """Queue a later stage. Only windows encoded to one length can share its batch."""
        return self._scheduler.decode(
            self._window, stage, (*key, ("n_frames", self._n_frames)), payload
        )

    def _encode(self, n_frames: int) -> None:
        part = np.ascontiguousarray(self._mel[None, :, :n_frames])
        self._n_frames = n_frames
        self._window: Window = self._scheduler.encode(
            self._request, part.shape[1:], part, n_frames / MEL_FRAMES_PER_SECOND
        )


class WindowModel:
    """The model as one request sees it."""

    def __init__(
        self,
        scheduler: Scheduler,
        request: int,
        model: ctranslate2.models.Whisper,
        attempts: Attempts,
        context: AudioContext | None,
    ) -> None:
        self._scheduler = scheduler
        self._request = request
        self._attempts = attempts
        self._context = context
        self.is_multilingual: bool = model.is_multilingual
        self.n_mels: int = model.n_mels
        self.device: str = model.device
        self.device_index: list[int] = model.device_index

    def encode(
        self, features: ctranslate2.StorageView, to_cpu: bool = False
    ) -> list[EncodedWindow]:
        """Queue windows for encoding and return at once.

        ``features``: float32 [n_windows, n_mels, n_frames]. ``to_cpu`` is the backend's affair.
        """
        mel = np.asarray(features)
        return [
            EncodedWindow(
                self._scheduler,
                self._request,
                window,
                self._context.frames(window) if self._context else window.shape[-1],
            )
            for window in mel
        ]

    def detect_language(self, windows: Sequence[EncodedWindow]) -> list[Any]:
        """Per window, (language token, probability) pairs, best first."""
        return gather(window.decode(Stage.DETECT, (), None) for window in windows)

    def generate(
        self, windows: Sequence[EncodedWindow], prompts: Sequence[Sequence[int]], **options: Any
    ) -> list[Any]:
        """One ``WhisperGenerationResult`` per window, the best of the attempts at it."""
        return self._attempts.generate(windows, prompts, options)

    def align(
        self,
        windows: Sequence[EncodedWindow],
        start_sequence: Sequence[int],
        text_tokens: Sequence[Sequence[int]],
        num_frames: int | Sequence[int],
        **options: Any,
    ) -> list[Any]:
        """One ``WhisperAlignmentResult`` per window."""
        key = (*hashable(options), ("start_sequence", tuple(start_sequence)))
        frames = [num_frames] * len(windows) if isinstance(num_frames, int) else num_frames
        return gather(
            window.decode(Stage.ALIGN, key, (list(tokens), n_frames))
            for window, tokens, n_frames in zip(windows, text_tokens, frames, strict=True)
        )
