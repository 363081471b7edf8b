"""The files of a model directory, and the record beside them: origin, sizes and hashes."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from models.download import file_sha256
from models.entry import ModelFile
from models.failures import ChecksumMismatch, ModelInvalid

MANIFEST_NAME = "manifest.json"
_FORMAT = 1

#: faster-whisper reads these. Without a tokenizer file it would ask the network for one.
REQUIRED_FILES = ("config.json", "model.bin", "tokenizer.json")
VOCABULARY_FILES = ("vocabulary.txt", "vocabulary.json")
OPTIONAL_FILES = ("preprocessor_config.json",)
MODEL_FILES = (*REQUIRED_FILES, *VOCABULARY_FILES, *OPTIONAL_FILES)

#: openai/whisper: ``is_multilingual = n_vocab >= 51865``; English-only models have one token less.
MULTILINGUAL_VOCABULARY_SIZE = 51_865


@dataclass(frozen=True)
class Manifest:
    """What is recorded about one installed model. ``revision`` is the Hugging Face commit or None,
    ``licence`` None if it is unknown. Every file has its SHA-256.
    """

    name: str
    source: str
    revision: str | None
    licence: str | None
    multilingual: bool
    files: tuple[ModelFile, ...]

    @property
    def size_bytes(self) -> int:
        """Size of all files together."""
        return sum(file.size_bytes for file in self.files)

    def document(self) -> dict[str, Any]:
        """The manifest as JSON holds it."""
        return {"format": _FORMAT, **asdict(self)}

    @classmethod
    def of_document(cls, document: Any, where: str) -> "Manifest":
        """Check a parsed manifest; raises ``ModelInvalid``, which names ``where`` it is from."""
        try:
            if document["format"] != _FORMAT:
                raise ModelInvalid(
                    f"{where} has manifest format {document['format']}, this version reads "
                    f"{_FORMAT}; update whisper-ox or fetch the model again"
                )
            manifest = cls(
                name=_text(document["name"]),
                source=_text(document["source"]),
                revision=document["revision"] and _text(document["revision"]),
                licence=document["licence"] and _text(document["licence"]),
                multilingual=bool(document["multilingual"]),
                files=tuple(_file(file) for file in document["files"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ModelInvalid(f"{where} is not a model manifest: {error!r}") from error
        names = [file.name for file in manifest.files]
        # No other names: a manifest from elsewhere must not reach other paths.
        if len(set(names)) != len(names) or not set(names) <= set(MODEL_FILES):
            raise ModelInvalid(f"{where} lists files that no model has: {', '.join(names)}")
        require_files(names, where)
        return manifest

    @classmethod
    def read(cls, directory: Path) -> "Manifest | None":
        """The manifest of a model directory, or None without one; raises ``ModelInvalid``."""
        path = directory / MANIFEST_NAME
        try:
            document = json.loads(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise ModelInvalid(f"cannot read {path}: {error.strerror}") from error
        except ValueError as error:
            raise ModelInvalid(f"{path} is not a model manifest: {error}") from error
        return cls.of_document(document, str(path))

    def write(self, directory: Path) -> None:
        """Put the manifest into ``directory``, whole or not at all."""
        draft = directory / f".{MANIFEST_NAME}.{os.getpid()}"
        try:
            with draft.open("w", encoding="utf-8") as file:
                file.write(json.dumps(self.document(), indent=2) + "\n")
                file.flush()
                os.fsync(file.fileno())
            draft.replace(directory / MANIFEST_NAME)
        finally:
            draft.unlink(missing_ok=True)

    def check_sizes(self, directory: Path) -> None:
        """Check that every file is there and has its size, in milliseconds; else raise
        ``ModelInvalid``.
        """
        for file in self.files:
            path = directory / file.name
            found = path.stat().st_size if path.is_file() else None
            if found != file.size_bytes:
                state = "is missing" if found is None else f"has {found} bytes"
                raise ModelInvalid(f"{path} {state}, its manifest says {file.size_bytes} bytes")

    def check_hashes(self, directory: Path) -> None:
        """Read every file again; raises ``ModelInvalid`` and ``ChecksumMismatch``."""
        self.check_sizes(directory)
        for file in self.files:
            found = file_sha256(directory / file.name)
            if found != file.sha256:
                raise ChecksumMismatch(
                    f"{directory / file.name} has SHA-256 {found}, its manifest says {file.sha256}"
                )


def require_files(names: Iterable[str], where: str) -> None:
    """Raise ``ModelInvalid`` unless ``names`` has all that faster-whisper needs."""
    present = set(names)
    missing = [name for name in REQUIRED_FILES if name not in present]
    if not present & set(VOCABULARY_FILES):
        missing.append(" or ".join(VOCABULARY_FILES))
    if missing:
        raise ModelInvalid(
            f"{where} lacks {', '.join(missing)}; a model is a CTranslate2 conversion of Whisper "
            "with its tokenizer (ct2-transformers-converter --copy_files tokenizer.json "
            "preprocessor_config.json)"
        )


def record_files(directory: Path) -> tuple[ModelFile, ...]:
    """Size and SHA-256 of each model file in ``directory``; raises ``ModelInvalid``."""
    names = [name for name in MODEL_FILES if (directory / name).is_file()]
    require_files(names, str(directory))
    paths = [directory / name for name in names]
    return tuple(ModelFile(p.name, p.stat().st_size, file_sha256(p)) for p in paths)


def is_multilingual(directory: Path) -> bool:
    """Whether the vocabulary in ``directory`` is multilingual; raises ``ModelInvalid``.

    A model distilled for English may have that vocabulary too; only the catalogue knows.
    """
    path = directory / "vocabulary.json"
    if not path.is_file():
        # One token a line. Count bytes, since a token need not be valid UTF-8.
        text = (directory / "vocabulary.txt").read_bytes()
        return text.rstrip(b"\n").count(b"\n") + 1 >= MULTILINGUAL_VOCABULARY_SIZE
    try:
        tokens = json.loads(path.read_bytes())
    except ValueError as error:
        raise ModelInvalid(f"{path} is not JSON: {error}") from error
    if not isinstance(tokens, list):
        raise ModelInvalid(f"{path} is not a list of tokens")
    return len(tokens) >= MULTILINGUAL_VOCABULARY_SIZE


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a string")
    return value


def _file(document: dict[str, Any]) -> ModelFile:
    size_bytes, sha256 = document["size_bytes"], _text(document["sha256"])
    if not isinstance(size_bytes, int) or size_bytes < 0 or len(sha256) != 64:
        raise ValueError(f"{document!r} is not a file with a size and a SHA-256")
    return ModelFile(_text(document["name"]), size_bytes, sha256)
