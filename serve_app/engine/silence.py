"""The silence after a short window, as the encoder would have written it.

Whisper was trained on windows of 30 s, and its decoder looks at the silence after the speech too. A
short window is encoded without most of that silence. What the encoder makes of it hardly depends on
the speech before it, so the decoder gets another window's silence from the same place, which costs
nothing. It must be silence after speech: 30 s of pure silence are encoded as something else, and
with their end the model mistakes one language for another.
"""

import wave
from typing import Any

import numpy as np
import numpy.typing as npt
from faster_whisper.audio import pad_or_trim
from faster_whisper.feature_extractor import FeatureExtractor

from serve_app.assets import GOLDEN_CLIP
from serve_app.audio.clip import as_float32
from serve_app.engine.window import FULL_FRAMES

FRAMES_PER_POSITION = 2
"""Mel frames that the encoder joins in one position of its output."""


class SilentTail:
    """Fills encoder outputs up with the end of ``encoded``, the output of a full window,
    [1, FULL_FRAMES / 2, d_model], in which somebody says a word or two at the start.
    """

    def __init__(self, encoded: npt.NDArray[Any]) -> None:
        self._encoded = encoded

    def after(self, output: npt.NDArray[Any], n_frames: int) -> npt.NDArray[Any]:
        """``output``, [1, n, d_model], as if ``n_frames`` mel frames had been encoded."""
        tail = self._encoded[:, output.shape[1] : n_frames // FRAMES_PER_POSITION]
        return np.concatenate([output, tail], axis=1) if tail.size else output


def golden_window(extract: FeatureExtractor) -> npt.NDArray[np.float32]:
    """A full window in which somebody says "Hello world": float32 [1, n_mels, FULL_FRAMES]."""
    with wave.open(str(GOLDEN_CLIP)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    return np.ascontiguousarray(
        pad_or_trim(extract(as_float32(samples))[..., :-1], FULL_FRAMES)[None]
    )
