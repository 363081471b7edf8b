"""faster-whisper's sequential pipeline, unmodified, on the shared scheduler.

It hears one window after the other, each with the text before it as a prompt. It runs in a thread
of its own and reaches the model through ``encode``, ``detect_language``, ``generate`` and ``align``
only. Here an object with those four methods stands in for the model: each queues its step and
blocks its caller until the step is done.
"""

import copy
from collections.abc import Callable, Generator, Sequence
from typing import Any

import ctranslate2
import numpy as np
import numpy.typing as npt
from faster_whisper import WhisperModel
from faster_whisper.feature_extractor import FeatureExtractor
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import Segment, TranscriptionInfo

from serve_app import metrics
from serve_app.audio.clip import SAMPLE_RATE_HZ
from serve_app.engine.engine import Engine
from serve_app.engine.log_mel import LogMel
from serve_app.engine.prompt import request_prompt, room_beside
from serve_app.engine.queue import Job, Step
from serve_app.engine.request import Request
from serve_app.engine.steps import Encoded, align_step, detect_step, encode_step, generate_step
from serve_app.engine.window import MEL_FRAMES_PER_SECOND
from serve_app.engine.work import clips_within
from serve_app.options import TranscribeOptions

_OURS = {
    "batch_size",
    "clip_timestamps",
    "multichannel",
    "recover",
    "vad_filter",
    "vad_parameters",
    "without_timestamps",
}
"""Options that are not passed on as they are, because the pipeline lacks them or we apply them."""


def hear_in_sequence(
    engine: Engine, request: Request, mel: LogMel, options: TranscribeOptions
) -> tuple[list[Segment], TranscriptionInfo]:
    """Return faster-whisper's segments and info for a clip with speech in it. This call blocks.

    Raises ``InvalidOption`` if the prompt leaves no room for text, and ``RequestClosed`` once the
    request is closed.
    """
    view = _view(engine, request, mel, options)
    seconds = len(mel.samples) / SAMPLE_RATE_HZ
    # The samples are only counted there, hence no float32 copy of them.
    segments, info = view.transcribe(mel.samples, vad_filter=False, **_arguments(options, seconds))
    return list(segments), info


def _view(
    engine: Engine, request: Request, mel: LogMel, options: TranscribeOptions
) -> WhisperModel:
    """faster-whisper's model for one request: the weights are shared, the mutable state is its
    own.
    """
    whisper = engine.whisper
    tokenizer = Tokenizer(
        whisper.hf_tokenizer,
        whisper.model.is_multilingual,
        options.task,
        options.language or "en",  # every language takes one token of the prompt
    )
    request_prompt(
        whisper,
        tokenizer,
        options,
        without_timestamps=bool(options.without_timestamps),
        batched=False,
    )

    def get_prompt(tokenizer: Tokenizer, previous_tokens: list[int], **given: Any) -> list[int]:
        """The prompt of a window. Earlier text is shortened if it would leave no room."""
        prompt: list[int] = whisper.get_prompt(tokenizer, previous_tokens, **given)
        excess = -room_beside(whisper, prompt, options)
        if excess <= 0:
            return prompt
        kept = previous_tokens[-(whisper.max_length // 2 - 1) :][excess:]
        shorter: list[int] = whisper.get_prompt(tokenizer, kept, **given)
        return shorter

    view = copy.copy(whisper)
    view.get_prompt = get_prompt
    view.model = _ScheduledModel(engine, request)
    view.feature_extractor = _LazyExtractor(whisper.feature_extractor, mel)
    return view


def _arguments(options: TranscribeOptions, seconds: float) -> dict[str, Any]:
    arguments = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in options
        if name not in _OURS
    }
    if options.without_timestamps is not None:
        arguments["without_timestamps"] = options.without_timestamps
    clips = clips_within(options, seconds)
    if clips is not None:
        arguments["clip_timestamps"] = [time for pair in clips for time in pair]
    return arguments


class _LazyExtractor:
    """A feature extractor that computes a window only when the window is heard."""

    def __init__(self, extractor: FeatureExtractor, mel: LogMel) -> None:
        # The extractor keeps the last call's chunk_length in itself, hence the copy.
        self._extractor = copy.copy(extractor)
        self._mel = mel

    def __call__(self, waveform: Any, *, chunk_length: int | None) -> LogMel:
        if chunk_length is not None:
            self._extractor.n_samples = chunk_length * SAMPLE_RATE_HZ
            self._extractor.nb_max_frames = chunk_length * MEL_FRAMES_PER_SECOND
        return self._mel

    def __getattr__(self, name: str) -> Any:
        return getattr(self._extractor, name)


class _EncodedWindow:
    """Stands in for an encoder output. The window is encoded together with its first other step."""

    def __init__(self, mel: npt.NDArray[np.float32]) -> None:
        self.mel = mel
        self.encoded: Encoded | None = None
        self.is_decoded = False
        self.job: Job | None = None

    def steps(self, step: Callable[[Encoded], Step]) -> Generator[Step, Any, Any]:
        """The hearing of one step, and of the encoding before it if that has not been done."""
        if self.encoded is None:
            self.encoded = Encoded((yield encode_step(self.mel)), self.mel.shape[-1])
        return (yield step(self.encoded))


class _ScheduledModel:
    """Stands in for ``ctranslate2.models.Whisper``."""

    def __init__(self, engine: Engine, request: Request) -> None:
        model = engine.whisper.model
        self._engine = engine
        self._request = request
        self.is_multilingual: bool = model.is_multilingual
        self.n_mels: int = model.n_mels
        self.device: str = model.device
        self.device_index: list[int] = model.device_index

    def encode(self, features: ctranslate2.StorageView, to_cpu: bool = False) -> _EncodedWindow:
        """``features``: float32 [1, n_mels, n_frames]. ``to_cpu`` is ignored: the backend
        decides.
        """
        return _EncodedWindow(np.asarray(features))

    def detect_language(self, window: _EncodedWindow) -> list[Any]:
        """(Language token, probability) pairs of the window, best first, in a list of one."""
        return [self._hear(window, detect_step)]

    def generate(
        self, window: _EncodedWindow, prompts: Sequence[Sequence[int]], **options: Any
    ) -> list[Any]:
        """The ``WhisperGenerationResult`` of the window, in a list of one."""
        [prompt] = prompts
        vocabulary, again = self._engine.vocabulary, window.is_decoded
        window.is_decoded = True
        if again:
            self._engine.sink.count(metrics.FALLBACKS)
        return [
            self._hear(window, lambda e: generate_step(e, prompt, options, vocabulary, again=again))
        ]

    def align(
        self,
        window: _EncodedWindow,
        start_sequence: Sequence[int],
        text_tokens: Sequence[Sequence[int]],
        num_frames: int,
        **options: Any,
    ) -> list[Any]:
        """The ``WhisperAlignmentResult`` of the window, in a list of one."""
        [tokens] = text_tokens
        return [
            self._hear(window, lambda e: align_step(e, start_sequence, tokens, num_frames, options))
        ]

    def _hear(self, window: _EncodedWindow, step: Callable[[Encoded], Step]) -> Any:
        scheduler = self._engine.scheduler
        window.job = scheduler.hear(self._request, window.steps(step), after=window.job)
        try:
            return window.job.heard.result()
        except BaseException:
            # The error holds this frame, and through it all audio, for as long as the job holds it.
            window.job = None
            raise
