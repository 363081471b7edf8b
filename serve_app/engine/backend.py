"""Executes batches on CTranslate2: the only place that calls the model."""

import time
from collections.abc import Hashable, Sequence
from typing import Any

import ctranslate2
import numpy as np
import numpy.typing as npt

from serve_app.engine.lone_decoding import LoneDecoding
from serve_app.engine.policy import Stage


class WhisperBackend:
    """Batches of window stages on CTranslate2 models.

    ``shared`` has one worker per scheduler thread. ``whole`` is a second instance whose only worker
    owns every core: on a CPU a lone window is encoded sooner there and may be decoded sooner, while
    under load one thread per worker yields more (no barriers). CTranslate2 fixes threads at load,
    hence two instances.
    """

    def __init__(
        self,
        shared: ctranslate2.models.Whisper,
        whole: ctranslate2.models.Whisper | None = None,
    ) -> None:
        self._shared = shared
        self._whole = whole
        self.lone_decoding = LoneDecoding()

    def run(
        self, stage: Stage, key: Hashable, payloads: Sequence[Any], *, alone: bool
    ) -> Sequence[Any]:
        """Run one batch; see :class:`serve_app.engine.window_model.WindowModel` for payloads."""
        model = self._whole if alone and self._whole is not None else self._shared
        if stage is Stage.ENCODE:
            return _encode(model, payloads)
        features = _stack([encoded for encoded, _ in payloads])
        arguments = [argument for _, argument in payloads]
        if stage is Stage.DETECT:
            return list(model.detect_language(features))
        options = _options(key)
        if stage is Stage.GENERATE:
            if alone and self._whole is not None:
                return self._generate_alone(self._whole, features, arguments, options)
            return list(model.generate(features, arguments, **options))
        tokens = [text_tokens for text_tokens, _ in arguments]
        frames = [n_frames for _, n_frames in arguments]
        start = options.pop("start_sequence")
        return list(model.align(features, start, tokens, frames, **options))

    def _generate_alone(
        self,
        whole: ctranslate2.models.Whisper,
        features: ctranslate2.StorageView,
        prompts: Sequence[Sequence[int]],
        options: dict[str, Any],
    ) -> list[Any]:
        rows = len(prompts) * max(options.get("beam_size", 5), options.get("num_hypotheses", 1))
        every_core = self.lone_decoding.uses_every_core(rows)
        model = whole if every_core else self._shared
        began = time.perf_counter()
        results = list(model.generate(features, prompts, **options))
        seconds = time.perf_counter() - began
        self.lone_decoding.has_taken(rows, every_core, max(map(decoding_steps, results)), seconds)
        return results


def _encode(
    model: ctranslate2.models.Whisper, features: Sequence[npt.NDArray[np.float32]]
) -> list[npt.NDArray[Any]]:
    """Encoder outputs, one array [1, n_frames / 2, d_model] per window [1, n_mels, n_frames]."""
    batch = features[0] if len(features) == 1 else np.concatenate(features)
    view = ctranslate2.StorageView.from_array(np.ascontiguousarray(batch))
    output = model.encode(view, to_cpu=True)
    if output.dtype == ctranslate2.DataType.bfloat16:
        output = output.to(ctranslate2.DataType.float32)  # numpy has no bfloat16
    host = np.asarray(output)
    return [host[n : n + 1] for n in range(len(features))]


def _stack(encoded: Sequence[npt.NDArray[Any]]) -> ctranslate2.StorageView:
    batch = encoded[0] if len(encoded) == 1 else np.concatenate(encoded)
    return ctranslate2.StorageView.from_array(np.ascontiguousarray(batch))


def _options(key: Hashable) -> dict[str, Any]:
    """The call's options: a key without what only tells batches apart, its tuples as lists."""
    pairs: Sequence[tuple[str, Any]] = key  # type: ignore[assignment]  # WindowModel made it
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in pairs
        if name not in ("prompt_shape", "n_frames")
    }


def decoding_steps(result: Any) -> int:
    """Of one window's generation result: the tokens of its longest hypothesis and their end."""
    return max(len(ids) for ids in result.sequences_ids) + 1
