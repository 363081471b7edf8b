"""A window, and how it is to be heard."""

from dataclasses import dataclass
from enum import Enum
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt
from faster_whisper.audio import pad_or_trim

from serve_app.engine.attempts import Checks
from serve_app.engine.coverage import Interval

MEL_FRAMES_PER_SECOND = 100
FULL_FRAMES = 3_000
"""Mel frames of a full window, 30 s, to which Whisper pads every window."""

CONTEXT_FRAMES = (800, 1_300, 1_800, 2_300, FULL_FRAMES)
"""How many mel frames the encoder may see. There are few lengths, so that windows still share
batches. They fit chunks of 5, 10, 15 and 20 s."""

MARGIN_FRAMES = 300
"""The padding that must follow the audio, or the decoder misses the end of the speech, in seconds.
Word error rates by margin are in ``loadtest/results/words-base-epyc-2c-2026-11-28.md``."""


def context_frames(seconds: float) -> int:
    """How many mel frames the encoder must see of a window with this much audio.

    Whisper pads every window to 30 s, and the encoder's time does not depend on the content. But it
    accepts shorter input: its positions are sinusoids of absolute time, so the first frames mean
    the same with less silence after them.
    """
    needed = ceil(seconds * MEL_FRAMES_PER_SECOND) + MARGIN_FRAMES
    return next((frames for frames in CONTEXT_FRAMES if frames >= needed), FULL_FRAMES)


def context_seconds(seconds: float) -> float:
    """:func:`context_frames` in seconds."""
    return context_frames(seconds) / MEL_FRAMES_PER_SECOND


@dataclass(frozen=True)
class Window:
    """Up to 30 s of speech.

    ``mel`` is its log-mel spectrogram, float32 [n_mels, n_frames <= 3000]. ``speech`` are the
    stretches that it consists of, from its start.
    """

    mel: npt.NDArray[np.float32]
    speech: tuple[Interval, ...]

    @property
    def seconds(self) -> float:
        """Seconds of audio in it."""
        return self.speech[-1][1]

    def padded(self, n_frames: int) -> npt.NDArray[np.float32]:
        """``mel`` with zeros after it: float32 [1, n_mels, n_frames]."""
        return np.ascontiguousarray(pad_or_trim(self.mel, n_frames)[None])


class Detection(Enum):
    """What happens with the language that the prompt names."""

    NEVER = "never"
    """It is believed."""
    IN_DOUBT = "in doubt"
    """It is believed unless a window gives clear evidence of another one."""
    ALWAYS = "always"
    """It is replaced by the language that each window is detected to be in."""


@dataclass(frozen=True)
class Policy:
    """How windows are to be heard.

    ``prompt`` holds the token ids before the text. ``options`` are the arguments of
    ``ctranslate2.models.Whisper.generate`` at temperature 0. ``temperatures`` are tried in turn
    while an attempt fails ``checks``. With ``partial_context`` a short window is encoded without
    most of its padding, see :func:`context_frames`; with ``widens`` one that decodes badly is then
    encoded in full. With ``aligns`` the words get times and probabilities.
    """

    prompt: tuple[int, ...]
    options: dict[str, Any]
    checks: Checks
    temperatures: tuple[float, ...] = ()
    best_of: int = 5
    detection: Detection = Detection.NEVER
    partial_context: bool = False
    widens: bool = True
    aligns: bool = False
