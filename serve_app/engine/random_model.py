"""A Whisper model of any size with random weights, to measure speed when words do not matter."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ctranslate2.specs import WhisperSpec
from ctranslate2.specs.model_spec import visit_spec

ENCODER_POSITIONS, DECODER_POSITIONS = 1500, 448
SPREAD = 0.02
"""Standard deviation of the weights, about that with which a transformer is initialised."""


@dataclass(frozen=True)
class Shape:
    """The sizes of a Whisper model, named as in OpenAI's ``ModelDimensions``."""

    d_model: int
    heads: int
    encoder_layers: int
    decoder_layers: int
    n_mels: int = 80


def write_random_model(folder: Path, shape: Shape, tokens: Sequence[str]) -> None:
    """Write a model that CTranslate2 can load into ``folder``. ``tokens`` are its vocabulary."""
    spec = WhisperSpec(shape.encoder_layers, shape.heads, shape.decoder_layers, shape.heads)
    numbers = np.random.default_rng(0).normal(0, SPREAD, 1 << 20).astype(np.float16)

    def fill(part: Any, path: str, _: Any) -> None:
        *_, layer, name = path.split("/")
        size = _sizes(shape, len(tokens), path).get(layer)
        if name in ("gamma", "beta"):
            setattr(part, name, np.full(shape.d_model, name == "gamma", np.float16))
        elif name in ("weight", "encodings") and size:
            setattr(part, name, np.resize(numbers, size))
        elif name == "bias" and layer != "projection" and size:
            part.bias = np.zeros(size[0], np.float16)

    visit_spec(spec, fill)
    spec.register_vocabulary(tokens)
    spec.validate()
    # From here on a name in place of a weight makes both share it, as in every real Whisper.
    spec.decoder.projection.weight = "decoder/embeddings/weight"
    spec.save(str(folder))


def _sizes(shape: Shape, n_tokens: int, path: str) -> dict[str, tuple[int, ...]]:
    """The weights of each layer in the part of the model at ``path``, outputs first."""
    d = shape.d_model
    if "/ffn/" in path:
        return {"linear_0": (4 * d, d), "linear_1": (d, 4 * d)}
    if "/self_attention/" in path:
        return {"linear_0": (3 * d, d), "linear_1": (d, d)}
    if "/attention/" in path:
        return {"linear_0": (d, d), "linear_1": (2 * d, d), "linear_2": (d, d)}
    positions = ENCODER_POSITIONS if path.startswith("encoder/") else DECODER_POSITIONS
    return {
        "conv1": (d, shape.n_mels, 3),
        "conv2": (d, d, 3),
        "position_encodings": (positions, d),
        "embeddings": (n_tokens, d),
        "projection": (n_tokens, d),
    }
