"""The steps of a window: what it asks of the model, and which windows may share a batch."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from serve_app.engine.prompt import Vocabulary
from serve_app.engine.queue import Stage, Step
from serve_app.engine.window import MEL_FRAMES_PER_SECOND

DECODING_SHARE = 0.5
"""The charge for another decoding of a window. Decoding costs about as much as encoding."""


@dataclass(frozen=True)
class Encoded:
    """Encoder output, [1, n_frames / 2, d_model], of a window's first ``n_frames`` mel frames."""

    output: npt.NDArray[Any]
    n_frames: int


def encode_step(mel: npt.NDArray[np.float32]) -> Step:
    """Encode a padded window, float32 [1, n_mels, n_frames]. The result is [1, n_frames / 2,
    d_model].
    """
    n_frames = mel.shape[-1]
    return Step(Stage.ENCODE, mel.shape[1:], mel, n_frames / MEL_FRAMES_PER_SECOND, n_frames)


def detect_step(encoded: Encoded) -> Step:
    """Detect the language: (language token, probability) pairs, best first."""
    key = ((), encoded.n_frames)
    return Step(Stage.DETECT, key, (encoded.output, None), weight=encoded.n_frames)


def generate_step(
    encoded: Encoded,
    prompt: Sequence[int],
    options: Mapping[str, Any],
    vocabulary: Vocabulary,
    *,
    again: bool = False,
) -> Step:
    """Decode. The result is a ``WhisperGenerationResult``. ``again``: it was decoded before."""
    key = (hashable(options), vocabulary.prompt_shape(prompt), encoded.n_frames)
    seconds = DECODING_SHARE * encoded.n_frames / MEL_FRAMES_PER_SECOND if again else 0.0
    # A window is decoded as so many texts at once, each with a cache of its own.
    n_texts = max(options.get("beam_size", 1), options.get("num_hypotheses", 1))
    weight = encoded.n_frames * n_texts
    return Step(Stage.GENERATE, key, (encoded.output, list(prompt)), seconds, weight)


def align_step(
    encoded: Encoded,
    start_sequence: Sequence[int],
    text_tokens: Sequence[int],
    n_audio_frames: int,
    options: Mapping[str, Any],
) -> Step:
    """Align ``text_tokens`` with the first ``n_audio_frames``: a ``WhisperAlignmentResult``."""
    key = (hashable({**options, "start_sequence": start_sequence}), encoded.n_frames)
    payload = (encoded.output, (list(text_tokens), n_audio_frames))
    return Step(Stage.ALIGN, key, payload, weight=encoded.n_frames)


def hashable(options: Mapping[str, Any]) -> Hashable:
    """The options, sorted, with lists as tuples."""
    return tuple(
        sorted(
            (name, tuple(value) if isinstance(value, (list, tuple)) else value)
            for name, value in options.items()
        )
    )
