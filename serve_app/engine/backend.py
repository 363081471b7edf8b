"""Executes batches on CTranslate2: the only place that calls the model."""

import time
from collections.abc import Hashable, Sequence
from typing import Any

import ctranslate2
import numpy as np
import numpy.typing as npt

from serve_app.engine.queue import Stage


class WhisperBackend:
    """Batches of window stages on CTranslate2 models.

    ``shared`` has one worker per scheduler thread. ``whole`` is a second instance whose only worker
    uses every core. On a CPU it encodes a lone window sooner. Under load, one thread per worker
    does more, because there are no barriers. There are two instances because CTranslate2 fixes its
    threads when it loads a model.
    """

    def __init__(
        self,
        shared: ctranslate2.models.Whisper,
        whole: ctranslate2.models.Whisper | None = None,
    ) -> None:
        self._shared = shared
        self._whole = whole
        self.decodes_alone_on_every_core = False
        """Whether a lone window is decoded on every core; :meth:`choose_lone_decoding` sets it."""

    def run(
        self, stage: Stage, key: Hashable, payloads: Sequence[Any], *, alone: bool
    ) -> Sequence[Any]:
        """Run one batch. :mod:`serve_app.engine.steps` makes the keys and payloads."""
        model = self._model(stage, alone=alone)
        if stage is Stage.ENCODE:
            return _encode(model, payloads)
        features = _stack([encoded for encoded, _ in payloads])
        arguments = [argument for _, argument in payloads]
        if stage is Stage.DETECT:
            return list(model.detect_language(features))
        options = _options(key)
        if stage is Stage.GENERATE:
            return list(model.generate(features, arguments, **options))
        tokens = [text_tokens for text_tokens, _ in arguments]
        frames = [n_frames for _, n_frames in arguments]
        start = options.pop("start_sequence")
        return list(model.align(features, start, tokens, frames, **options))

    def free_memory(self) -> None:
        """Free what CTranslate2's allocators keep on a GPU. No batch may be running.

        CTranslate2 has no call for this, but frees it when a model leaves the device. So the model
        leaves and comes back, which takes a second or two. On a CPU nothing happens.
        """
        for model in (self._shared, self._whole):
            if model is not None:
                model.unload_model(to_cpu=True)
                model.load_model()

    def choose_lone_decoding(
        self, encoded: npt.NDArray[Any], prompt: Sequence[int], eot: int
    ) -> None:
        """Measure whether one worker's threads or every core decode a lone window sooner.

        Encoding consists of a few large products and gains from every core. Decoding consists of
        thousands of small ones, each of which ends at a barrier. With few cores or a small model
        the barriers cost more than the cores bring: for base in int8, one window takes 0.8 s with
        one thread and 1.0 to 1.8 s with two. With a large model or many cores they do not.

        ``encoded`` is a window's encoder output, [1, n_frames / 2, d_model], and ``eot`` the token
        that would end its text early.
        """
        if self._whole is None:
            return
        seconds = {
            every_core: min(_decoding_seconds(model, encoded, prompt, eot) for _ in range(TRIES))
            for every_core, model in ((False, self._shared), (True, self._whole))
        }
        self.decodes_alone_on_every_core = seconds[True] < seconds[False]

    def _model(self, stage: Stage, *, alone: bool) -> ctranslate2.models.Whisper:
        every_core = alone and (stage is not Stage.GENERATE or self.decodes_alone_on_every_core)
        return self._whole if every_core and self._whole is not None else self._shared


TRIES = 3
"""Timed decodings of each kind. The fastest counts, because other programs may slow the rest."""

TIMED_TOKENS = 16


def _decoding_seconds(
    model: ctranslate2.models.Whisper, encoded: npt.NDArray[Any], prompt: Sequence[int], eot: int
) -> float:
    began = time.perf_counter()
    # CTranslate2 decodes at most half of max_length.
    length = max(2 * TIMED_TOKENS, len(prompt) + TIMED_TOKENS)
    features, prompts = _stack([encoded]), [list(prompt)]
    model.generate(features, prompts, beam_size=5, max_length=length, suppress_tokens=[eot])
    return time.perf_counter() - began


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
    """The call's options, with which a key begins; its tuples become lists."""
    pairs: Sequence[tuple[str, Any]] = key[0]  # type: ignore[index]  # steps.py made it
    return {name: list(value) if isinstance(value, tuple) else value for name, value in pairs}
