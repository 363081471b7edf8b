"""A window to be heard, how it is to be heard, and what was heard."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from faster_whisper.audio import pad_or_trim

from serve_app.engine.attempts import Attempt, Checks

MEL_FRAMES_PER_SECOND = 100
FULL_FRAMES = 3_000
"""Mel frames of a full window, 30 s, to which Whisper pads every window."""

CONTEXT_STEP_FRAMES = 250
LEAST_CONTEXT_FRAMES = 1_500


@dataclass(frozen=True)
class Window:
    """Up to 30 s of speech. ``mel``: log-mel spectrogram, float32 [n_mels, n_frames <= 3000]."""

    mel: npt.NDArray[np.float32]
    seconds: float

    def padded(self, n_frames: int) -> npt.NDArray[np.float32]:
        """``mel`` with zeros behind it: float32 [1, n_mels, n_frames]."""
        return np.ascontiguousarray(pad_or_trim(self.mel, n_frames)[None])

    def context_frames(self, margin_seconds: float | None) -> int:
        """How many mel frames the encoder needs to see if so much of the padding stays.

        Whisper pads every window to 30 s, and the encoder's time does not depend on what is in it.
        It accepts shorter input as well: its positions are sinusoids of absolute time, so the first
        frames mean the same with less silence after them. Some silence must stay, or the decoder
        misses the end. None asks for all of it. The result is a multiple of 2.5 s, so that windows
        of different requests can still share batches.
        """
        if margin_seconds is None:
            return FULL_FRAMES
        needed: int = self.mel.shape[-1] + round(margin_seconds * MEL_FRAMES_PER_SECOND)
        rounded = -(-needed // CONTEXT_STEP_FRAMES) * CONTEXT_STEP_FRAMES
        return min(FULL_FRAMES, max(LEAST_CONTEXT_FRAMES, rounded))


@dataclass(frozen=True)
class Policy:
    """How windows are to be heard.

    ``prompt`` holds the token ids before the text, for the language that the request is in; with
    ``detects_language`` each window's own language replaces that. ``options`` are the arguments of
    ``ctranslate2.models.Whisper.generate`` at temperature 0. ``temperatures`` are tried in turn
    while an attempt fails ``checks``. ``context_margin_seconds`` is described at
    :meth:`Window.context_frames`. With ``aligns``, the words get times and probabilities.
    """

    prompt: tuple[int, ...]
    options: dict[str, Any]
    checks: Checks
    temperatures: tuple[float, ...] = (0.0,)
    best_of: int = 5
    detects_language: bool = False
    context_margin_seconds: float | None = None
    aligns: bool = False


@dataclass(frozen=True)
class Heard:
    """What was heard in a window.

    ``language`` is the token id of the window's language with its probability, if it was detected.
    ``alignment`` is CTranslate2's ``WhisperAlignmentResult`` of the text tokens, if asked for.
    """

    best: Attempt
    language: int | None = None
    language_probability: float = 0.0
    alignment: Any = None
