"""Plain faster-whisper as the reference, its transcripts cached on disk.

``python -m loadtest.plain --model base --batch-size 8`` fills the cache ahead of a comparison:
on few cores the corpus takes minutes.
"""

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from faster_whisper import BatchedInferencePipeline, WhisperModel, decode_audio

from loadtest.options import (
    COMPUTE_TYPE,
    EVALUATED_MODELS,
    TranscribeOptions,
    clips_for,
    contract_options,
)
from loadtest.speech import Clip, corpus_clips, registry_clips
from serve_app.engine.attempts import Attempt, Checks
from serve_app.engine.kernels import choose_kernels
from serve_app.options import TranscribeOptions as TranscriptionOptions

LIBRARIES = ("faster-whisper", "ctranslate2", "onnxruntime", "av", "numpy", "tokenizers")
"""Whatever may change a transcript: model, decoder, VAD, audio decoding, features, text."""

CACHE_FOLDER = Path.home() / ".cache" / "whisper-ox" / "plain"


@dataclass(frozen=True)
class PlainSegment:
    """A segment of faster-whisper; times in seconds, ``text`` as decoded."""

    start: float
    end: float
    text: str
    avg_logprob: float
    temperature: float


@dataclass(frozen=True)
class PlainTranscript:
    """What plain faster-whisper made of one clip.

    ``sampled``: some window fell back to a temperature above 0, where CTranslate2 draws tokens
    at random, so that no two runs need agree. ``seconds`` is the wall time of the pipeline.
    """

    segments: tuple[PlainSegment, ...]
    language: str
    duration: float
    sampled: bool
    seconds: float

    @property
    def is_comparable(self) -> bool:
        """Whether two servers must agree on it: no token was drawn at random, neither here nor by
        our temperature fallback, which the batched pipeline lacks and a failing window gets.
        """
        checks = Checks.of(TranscriptionOptions())
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

    def __init__(
        self,
        model: str,
        batch_size: int,
        model_path: Path | None = None,
        cpu_threads: int = 1,
        cache_folder: Path = CACHE_FOLDER,
    ) -> None:
        self.model = model
        self.batch_size = batch_size
        self._path = model_path or _resolved(model)
        self._cpu_threads = cpu_threads
        # The server's own choice, since texts differ by instruction set now and then.
        kernels = choose_kernels("auto", COMPUTE_TYPE)
        self.identity = _identity(model, batch_size, self._path, cpu_threads)
        self.identity["cpu_isa"] = kernels.isa
        digest = hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()
        self._cache_file = cache_folder / f"{model}-{digest[:16]}.json"
        self._cache = _read_cache(self._cache_file)
        self._whisper: _FallbackObserver | None = None

    def transcript(self, clip: Clip) -> PlainTranscript:
        """Transcript of ``clip`` under the contract options, from the cache where it is."""
        key = f"{clip.sha256}:{clip.language}"
        if key not in self._cache:
            options = contract_options(self.model, clip.language, self.batch_size)
            self._cache[key] = asdict(self._transcribe(clip, options))
            self._write_cache()
        entry = self._cache[key]
        segments = tuple(PlainSegment(**segment) for segment in entry["segments"])
        return PlainTranscript(**{**entry, "segments": segments})

    def transcripts(self, clips: Iterable[Clip]) -> dict[str, PlainTranscript]:
        """Transcripts by clip id, with a progress line per computed clip on stderr."""
        found = {}
        for number, clip in enumerate(clips, start=1):
            cached = f"{clip.sha256}:{clip.language}" in self._cache
            found[clip.id] = self.transcript(clip)
            if not cached:
                took = found[clip.id].seconds
                print(
                    f"plain {self.model} batch {self.batch_size}: {number} {clip.id} "
                    f"{clip.seconds:.1f} s in {took:.1f} s",
                    file=sys.stderr,
                    flush=True,
                )
        return found

    def _transcribe(self, clip: Clip, options: TranscribeOptions) -> PlainTranscript:
        if self._whisper is None:
            self._whisper = _FallbackObserver(
                str(self._path),
                device="cpu",
                compute_type=COMPUTE_TYPE,
                cpu_threads=self._cpu_threads,
                num_workers=1,
            )
        whisper = self._whisper
        arguments = dict(options)
        pipeline: Any = whisper
        if options["batch_size"] == 1:
            del arguments["batch_size"]
        else:
            pipeline = BatchedInferencePipeline(whisper)
        audio = decode_audio(str(clip.path))
        whisper.sampled = False
        began = time.perf_counter()
        generated, info = pipeline.transcribe(audio, **arguments)
        segments = tuple(
            PlainSegment(s.start, s.end, s.text, s.avg_logprob, s.temperature) for s in generated
        )
        return PlainTranscript(
            segments=segments,
            language=info.language,
            duration=info.duration,
            sampled=whisper.sampled,
            seconds=time.perf_counter() - began,
        )

    def _write_cache(self) -> None:
        self._cache_file.parent.mkdir(parents=True, exist_ok=True)
        partial = self._cache_file.with_suffix(f".{os.getpid()}.partial")
        document = {"identity": self.identity, "clips": self._cache}
        partial.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
        partial.replace(self._cache_file)


def _resolved(model: str) -> Path:
    import models

    return Path(models.resolve(model).path)


def _identity(model: str, batch_size: int, path: Path, cpu_threads: int) -> dict[str, Any]:
    options: dict[str, Any] = dict(contract_options(model, "", batch_size))
    options["language"] = "of the clip, else " + str(options["language"])
    with (path / "model.bin").open("rb") as weights:
        weights_sha256 = _sha256(weights)
    return {
        "model": model,
        "weights_sha256": weights_sha256,
        "compute_type": COMPUTE_TYPE,
        "cpu_threads": cpu_threads,
        "options": options,
        "libraries": {name: version(name) for name in LIBRARIES},
        "processor": _processor(),
    }


def _sha256(file: Any) -> str:
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _processor() -> str:
    """Name and instruction sets of the processor, as far as CTranslate2 cares."""
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return os.uname().machine
    lines = info.read_text().splitlines()
    fields = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
    named = {key.strip(): value.strip() for key, value in fields.items()}
    flags = sorted(set(named.get("flags", "").split()) & {"avx", "avx2", "avx512f", "avx512_vnni"})
    return " ".join([named.get("model name", os.uname().machine), *flags])


def _read_cache(path: Path) -> dict[str, dict[str, Any]]:
    if not path.is_file():
        return {}
    clips: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["clips"]
    return clips


def main(arguments: list[str] | None = None) -> int:
    """Fill the cache of plain transcripts for the corpus, or the registry clips without one."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.plain", description=main.__doc__)
    parser.add_argument("--model", choices=EVALUATED_MODELS, required=True)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--model-path", type=Path, help="folder of the model; default: fetched one")
    parser.add_argument("--cpu-threads", type=int, default=1)
    given = parser.parse_args(arguments)
    clips = clips_for(given.model, corpus_clips() or registry_clips())
    plain = PlainWhisper(given.model, given.batch_size, given.model_path, given.cpu_threads)
    transcripts = plain.transcripts(clips)
    sampled = sum(t.sampled for t in transcripts.values())
    print(f"{len(transcripts)} transcripts, {sampled} of them sampled above temperature 0")
    return 0


if __name__ == "__main__":
    sys.exit(main())
