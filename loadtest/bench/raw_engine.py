"""Raw CTranslate2: records the calls that plain faster-whisper makes, and makes them again."""

import io
import itertools
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ctranslate2
import numpy as np
import numpy.typing as npt
from faster_whisper import BatchedInferencePipeline, WhisperModel, decode_audio

from loadtest.chunks import Chunk
from loadtest.load import Span
from loadtest.options import COMPUTE_TYPE, contract_options
from models import resolve
from serve_app.errors import WhisperOxError


@dataclass(frozen=True)
class Window:
    """The input of one call: mel float32 [1, n_mels, n_frames], prompt tokens,
    ``audio_seconds``.
    """

    mel: npt.NDArray[np.float32]
    prompt: tuple[int, ...]
    audio_seconds: float


@dataclass(frozen=True)
class Workload:
    """Windows that fit into one ``generate`` call in any number, and its arguments."""

    windows: tuple[Window, ...]
    options: dict[str, Any]
    detects: bool


@dataclass(frozen=True)
class Combination:
    """How the model is called."""

    workers: int
    threads: int
    decode_batch: int


class _Recorder:
    """Passes faster-whisper's calls on to the model and keeps their arguments."""

    def __init__(self, model: ctranslate2.models.Whisper) -> None:
        self._model = model
        self._mels: npt.NDArray[np.float32] = np.zeros(0, dtype=np.float32)
        self.recorded: list[tuple[npt.NDArray[np.float32], tuple[int, ...]]] = []
        self.options: list[dict[str, Any]] = []
        self.detects = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def encode(self, features: ctranslate2.StorageView, to_cpu: bool = False) -> Any:
        self._mels = np.array(features)
        return self._model.encode(features, to_cpu=to_cpu)

    def detect_language(self, encoded: ctranslate2.StorageView) -> Any:
        self.detects = True
        return self._model.detect_language(encoded)

    def generate(
        self, encoded: ctranslate2.StorageView, prompts: Sequence[Sequence[int]], **options: Any
    ) -> Any:
        for n, prompt in enumerate(prompts):
            self.recorded.append((self._mels[n : n + 1], tuple(prompt)))
        self.options.append(options)
        return self._model.generate(encoded, prompts, **options)


def record(model: str, chunks: Sequence[Chunk]) -> Workload:
    """What plain faster-whisper asks of the model for ``chunks`` under the contract's options.

    A chunk's seconds are shared out among its windows. Raises ``WhisperOxError`` if the windows
    cannot share a batch, which options that are the same for all rule out.
    """
    whisper = WhisperModel(str(resolve(model).path), device="cpu", compute_type=COMPUTE_TYPE)
    recorder = whisper.model = _Recorder(whisper.model)
    windows = []
    for chunk in chunks:
        recorder.recorded.clear()
        segments, _ = BatchedInferencePipeline(whisper).transcribe(
            decode_audio(io.BytesIO(chunk.audio)), **contract_options(model, "en", batch_size=8)
        )
        list(segments)  # faster-whisper decodes as the generator is consumed
        found = recorder.recorded
        windows += [Window(mel, prompt, chunk.seconds / len(found)) for mel, prompt in found]
    options = recorder.options[0] if recorder.options else {}
    if any(other != options for other in recorder.options) or not windows:
        raise WhisperOxError("the chunks hold no speech, or windows that cannot share a batch")
    return Workload(tuple(windows), options, recorder.detects)


def replay(
    model: ctranslate2.models.Whisper, workload: Workload, combination: Combination, count: int
) -> list[Span]:
    """Decode ``count`` windows with a thread per worker; raises what a worker raises."""
    windows = itertools.islice(itertools.cycle(workload.windows), count)
    lock = threading.Lock()
    spans: list[Span] = []
    failures: list[BaseException] = []

    def work(worker: int) -> None:
        try:
            while True:
                with lock:
                    group = list(itertools.islice(windows, combination.decode_batch))
                if not group:
                    return
                began = time.perf_counter()
                _decode(model, workload, group)
                seconds = sum(window.audio_seconds for window in group)
                spans.append(Span(worker, began, time.perf_counter(), seconds))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(combination.workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return spans


def _decode(model: ctranslate2.models.Whisper, workload: Workload, group: Sequence[Window]) -> None:
    """Encode one by one, which is quickest on a CPU, then decode all at once."""
    encoded = [np.asarray(model.encode(_view(window.mel), to_cpu=True)) for window in group]
    features = _view(np.concatenate(encoded))
    if workload.detects:
        model.detect_language(features)
    model.generate(features, [list(window.prompt) for window in group], **workload.options)


def _view(array: npt.NDArray[Any]) -> ctranslate2.StorageView:
    return ctranslate2.StorageView.from_array(np.ascontiguousarray(array))
