"""Silence after a short window, as the encoder writes it.

The decoder may see a few lengths only, so that windows share batches. What the encoder sees can be
shorter by some seconds: the decoder gets the encoding of pure silence in their place, which costs
nothing. This works for some seconds only. Whisper encodes silence after speech differently, and
with 20 s of pure silence it mistakes one language for another.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

FRAMES_PER_POSITION = 2
"""Mel frames that the encoder joins in one position of its output."""


class SilentTail:
    """Fills encoder outputs up with ``silence``, the output of a full window without a sound,
    [1, FULL_FRAMES / 2, d_model].
    """

    def __init__(self, silence: npt.NDArray[Any]) -> None:
        self._silence = silence

    def after(self, output: npt.NDArray[Any], n_frames: int) -> npt.NDArray[Any]:
        """``output``, [1, n, d_model], as if ``n_frames`` mel frames had been encoded."""
        tail = self._silence[:, output.shape[1] : n_frames // FRAMES_PER_POSITION]
        return np.concatenate([output, tail], axis=1) if tail.size else output
