"""Plain faster-whisper as the reference, its transcripts cached on disk."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from faster_whisper import BatchedInferencePipeline, WhisperModel, decode_audio
from tqdm import tqdm

from loadtest.load import processor_name
from loadtest.options import COMPUTE_TYPE, contract_options
from loadtest.speech import Clip
from models import resolve
from serve_app.engine.attempts import Attempt, Checks
from serve_app.engine.kernels import choose_kernels
from serve_app.options import TranscribeOptions

LIBRARIES = ("faster-whisper", "ctranslate2", "onnxruntime", "av", "numpy", "tokenizers")
"""Everything that may change a transcript: model, decoder, VAD, audio decoding, features, text."""

CACHE_FOLDER = Path.home() / ".cache" / "whisper-ox" / "plain"


@dataclass(frozen=True)
class PlainSegment:
    """A segment of faster-whisper; times in seconds, ``text`` as decoded."""

    start: float
    end: float
    text: str
    avg_logprob: float


@dataclass(frozen=True)
class PlainTranscript:
    """What plain faster-whisper made of one clip.

    ``sampled``: some window was decoded above temperature 0, where CTranslate2 draws tokens at
    random, so two runs need not agree.
    """

    segments: tuple[PlainSegment, ...]
    sampled: bool

    @property
    def is_comparable(self) -> bool:
        """Whether two servers must agree on it: no token was drawn at random, neither here nor by
        our second attempts, which the batched pipeline lacks.
        """
        checks = Checks.of(TranscribeOptions())
        return not self.sampled and not any(
            checks.fails(Attempt((), s.text, s.avg_logprob, no_speech_prob=0.0))
            for s in self.segments
        )

    @property
    def text(self) -> str:
        """The segments' texts joined by single spaces."""
        return " ".join(s.text.strip() for s in self.segments)


class _FallbackObserver(WhisperModel):  # type: ignore[misc]  # it has no types
    """Unchanged faster-whisper that remembers whether a window left temperature 0."""

    sampled = False

    def generate_with_fallback(self, *args: Any, **kwargs: Any) -> Any:
        result = super().generate_with_fallback(*args, **kwargs)
        self.sampled = self.sampled or result[2] > 0
        return result


class PlainWhisper:
    """faster-whisper in this process with one CTranslate2 worker, for one model and batch size.

    Transcripts are cached in ``cache_folder`` under the clip's SHA-256 and language, in one file
    per model, options, weights, library versions and processor (int8 kernels differ by it).
    """

    def __init__(self, model: str, batch_size: int, cache_folder: Path = CACHE_FOLDER) -> None:
        self.model = model
        self.batch_size = batch_size
        self._path = Path(resolve(model).path)
        identity = self._identity()
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        self._cache_file = cache_folder / f"{model}-{digest[:16]}.json"
        self._cache: dict[str, dict[str, Any]] = {}
        if self._cache_file.is_file():
            self._cache = json.loads(self._cache_file.read_text(encoding="utf-8"))
        self._whisper: _FallbackObserver | None = None

    def transcript(self, clip: Clip) -> PlainTranscript:
        """Transcript of ``clip`` under the contract options, from the cache where it is."""
        key = f"{clip.sha256}:{clip.language}"
        if key not in self._cache:
            self._cache[key] = asdict(self._transcribe(clip))
            self._write_cache()
        entry = self._cache[key]
        segments = tuple(PlainSegment(**segment) for segment in entry["segments"])
        return PlainTranscript(**{**entry, "segments": segments})

    def transcripts(self, clips: Sequence[Clip]) -> dict[str, PlainTranscript]:
        """Transcripts by clip id; progress is shown on stderr."""
        shown = tqdm(clips, desc=f"plain {self.model} batch {self.batch_size}")
        return {clip.id: self.transcript(clip) for clip in shown}

    def _transcribe(self, clip: Clip) -> PlainTranscript:
        if self._whisper is None:
            self._whisper = _FallbackObserver(
                str(self._path),
                device="cpu",
                compute_type=COMPUTE_TYPE,
                cpu_threads=1,
                num_workers=1,
            )
        whisper = self._whisper
        arguments: dict[str, Any] = {**contract_options(self.model, clip.language, self.batch_size)}
        pipeline: Any = BatchedInferencePipeline(whisper)
        if self.batch_size == 1:
            del arguments["batch_size"]
            pipeline = whisper
        audio = decode_audio(str(clip.path))
        whisper.sampled = False
        generated, _ = pipeline.transcribe(audio, **arguments)
        segments = tuple(PlainSegment(s.start, s.end, s.text, s.avg_logprob) for s in generated)
        return PlainTranscript(segments, whisper.sampled)

    def _write_cache(self) -> None:
        self._cache_file.parent.mkdir(parents=True, exist_ok=True)
        partial = self._cache_file.with_suffix(f".{os.getpid()}.partial")
        partial.write_text(json.dumps(self._cache, ensure_ascii=False), encoding="utf-8")
        partial.replace(self._cache_file)

    def _identity(self) -> dict[str, Any]:
        """All that a transcript depends on apart from the clip and its language."""
        weights = (self._path / "model.bin").read_bytes()
        return {
            "weights_sha256": hashlib.sha256(weights).hexdigest(),
            "compute_type": COMPUTE_TYPE,
            "options": contract_options(self.model, "", self.batch_size),
            "libraries": {name: version(name) for name in LIBRARIES},
            "processor": processor_name(),
            # The server's own choice, since texts differ by instruction set now and then.
            "cpu_isa": choose_kernels("auto", COMPUTE_TYPE).isa,
        }
