"""How much of a padded window the encoder needs to see.

Whisper pads every window to 30 s, and the encoder's time does not depend on what is in it. It also
accepts shorter input: its positions are sinusoids of absolute time, so the first n frames mean the
same with less silence after them. A margin of silence must stay, or the decoder misses the end.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MEL_FRAMES_PER_SECOND = 100


@dataclass(frozen=True)
class AudioContext:
    """``margin_seconds`` of padding stay after the audio; lengths are whole ``step_seconds``, so
    that windows of different requests still share batches.
    """

    margin_seconds: float
    step_seconds: float = 2.5
    least_seconds: float = 15.0

    def frames(self, mel: npt.NDArray[np.float32]) -> int:
        """Mel frames to encode of ``mel``, float32 [n_mels, n_frames], zero-padded at its end."""
        n_frames: int = mel.shape[-1]
        step = round(self.step_seconds * MEL_FRAMES_PER_SECOND)
        needed = audio_frames(mel) + round(self.margin_seconds * MEL_FRAMES_PER_SECOND)
        least = round(self.least_seconds * MEL_FRAMES_PER_SECOND)
        return min(n_frames, max(least, -(-needed // step) * step))


def audio_frames(mel: npt.NDArray[np.float32]) -> int:
    """Frames before the zeros of faster-whisper's ``pad_or_trim``."""
    filled = np.flatnonzero(mel.any(axis=0))
    return int(filled[-1]) + 1 if filled.size else 0
