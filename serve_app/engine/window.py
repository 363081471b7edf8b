"""A window, and how it is to be heard."""

from dataclasses import dataclass
from enum import Enum
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt
from faster_whisper.audio import pad_or_trim

from serve_app.engine.attempts import Checks

MEL_FRAMES_PER_SECOND = 100
FULL_FRAMES = 3_000
"""Mel frames of a full window, 30 s, to which Whisper pads every window."""

DECODED_FRAMES = (900, 1_300, 1_900, 2_400, FULL_FRAMES)
"""The lengths that the decoder may see, in mel frames. There are few of them, because windows of
one length share batches. What was encoded is filled up with a silent tail
(:mod:`serve_app.engine.silence`)."""

ENCODED_STEP, LEAST_ENCODED = 100, 900
"""The encoder sees a multiple of the first number of mel frames, if windows are encoded one by one,
and at least the second number. With less, short windows lose words or change their language."""

MARGIN_SECONDS, WIDE_MARGIN_SECONDS = 2.0, 10.0
"""Silence that is encoded after the audio, or else the decoder misses the end of the speech. Word
error rates by margin are in ``loadtest/results/words-base-epyc-2c-2026-11-29.md``."""


@dataclass(frozen=True)
class Context:
    """How many mel frames of a window are encoded, and how many the decoder sees."""

    encoded: int
    decoded: int

    @property
    def seconds(self) -> float:
        """Seconds of it that are encoded."""
        return self.encoded / MEL_FRAMES_PER_SECOND

    @property
    def most_seconds(self) -> float:
        """The longest audio of all windows with this decoded length, in seconds."""
        if self.decoded == FULL_FRAMES:
            return FULL_FRAMES / MEL_FRAMES_PER_SECOND
        return self.decoded / MEL_FRAMES_PER_SECOND - MARGIN_SECONDS


FULL = Context(FULL_FRAMES, FULL_FRAMES)
WIDE = Context(1_900, 1_900)


def short_context(seconds: float) -> Context:
    """The context of a window with this much audio.

    Whisper pads every window to 30 s, and the encoder's time does not depend on the content. But it
    accepts shorter input: its positions are sinusoids of absolute time, so the first frames mean
    the same with less silence after them.
    """
    steps = ceil((seconds + MARGIN_SECONDS) * MEL_FRAMES_PER_SECOND / ENCODED_STEP)
    encoded = min(FULL_FRAMES, max(LEAST_ENCODED, steps * ENCODED_STEP))
    decoded = next(frames for frames in DECODED_FRAMES if frames >= encoded)
    return Context(encoded, decoded)


def wide_context(seconds: float) -> Context:
    """The context of a window with this much audio whose text is in doubt.

    With ten seconds of margin, 19 s are as good as 30 s, and take a third of the time.
    """
    return WIDE if seconds + WIDE_MARGIN_SECONDS <= WIDE.seconds else FULL


@dataclass(frozen=True)
class Window:
    """Up to 30 s of speech.

    ``mel`` is its log-mel spectrogram, float32 [n_mels, n_frames <= 3000], ``seconds`` the length
    of its audio.
    """

    mel: npt.NDArray[np.float32]
    seconds: float

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
    most of its padding, see :func:`short_context`; with ``widens`` one that decodes badly is then
    encoded again, see :func:`wide_context`. With ``aligns`` the words get times and probabilities.
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
