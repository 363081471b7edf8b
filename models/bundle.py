"""One archive of models for a site without network: written here, verified there.

The archive is a plain tar. Its first member, ``bundle.json``, is ``{"format": 1, "models": [...]}``
with the manifest of each model; the models' files follow in that order as ``<folder>/<file>``.
"""

import hashlib
import json
import tarfile
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import IO

from models.download import CHUNK_BYTES, require_space
from models.entry import ModelFile
from models.errors import (
    BundleInvalid,
    ChecksumMismatch,
    ModelInvalid,
    ModelNotFound,
    disk_full,
    is_disk_full,
)
from models.local import LocalModel, resolve
from models.manifest import Manifest
from models.progress import Advance, ProgressMode, transfer
from models.reference import ModelReference, parse_name
from models.store import ModelStore

_INDEX_NAME = "bundle.json"
_FORMAT = 1
_MAX_INDEX_BYTES = 1 << 20


def bundle(
    models: Iterable[str],
    archive: Path,
    *,
    cache_dir: Path | None = None,
    progress: ProgressMode = "auto",
) -> Path:
    """Write installed models into ``archive``, hashing them on the way; return ``archive``.

    The archive gets its name once it is whole; the same models give the same bytes.
    Raises ``Offline`` (not installed), ``ChecksumMismatch``, ``ModelInvalid``, ``DiskFull``.
    """
    contents = [_recorded(model, cache_dir) for model in dict.fromkeys(models)]
    index = _index_json([manifest for _, manifest in contents])
    n_bytes = sum(file.size_bytes for _, manifest in contents for file in manifest.files)
    archive.parent.mkdir(parents=True, exist_ok=True)
    require_space(archive.parent, n_bytes, str(archive))
    draft = archive.with_name(archive.name + ".part")
    try:
        with (
            tarfile.open(draft, "w") as tar,
            transfer(archive.name, n_bytes, mode=progress) as advance,
        ):
            tar.addfile(_member(_INDEX_NAME, len(index)), BytesIO(index))
            for directory, manifest in contents:
                for file in manifest.files:
                    _add(tar, directory, parse_name(manifest.name).folder, file, advance)
        draft.replace(archive)
    except OSError as error:
        if is_disk_full(error):
            raise disk_full(archive, error) from error
        raise
    finally:
        draft.unlink(missing_ok=True)
    return archive


def unbundle(
    archive: Path, *, cache_dir: Path | None = None, progress: ProgressMode = "auto"
) -> list[LocalModel]:
    """Install the models of ``archive``: verified as they are unpacked, installed once all are.

    A member that the index does not announce at that place (a link, another path, another size)
    ends it, so nothing is written outside the store. A catalogue model has to be the pinned one.
    Raises ``ModelNotFound`` (no such archive), ``BundleInvalid``, ``ChecksumMismatch`` and
    ``DiskFull``.
    """
    store = ModelStore.at(cache_dir)
    try:
        with _opened(archive) as file, tarfile.open(fileobj=file, mode="r|") as tar:
            manifests = _read_index(tar, archive)
            n_bytes = sum(f.size_bytes for manifest in manifests for f in manifest.files)
            with (
                store.scratch() as scratch,
                transfer(archive.name, n_bytes, mode=progress) as advance,
            ):
                require_space(scratch, n_bytes, str(archive))
                for manifest in manifests:
                    store.require_free(parse_name(manifest.name).folder)
                    _unpack(tar, manifest, scratch, archive, advance)
                if (surplus := tar.next()) is not None:
                    raise BundleInvalid(f"{archive} has an unannounced member {surplus.name!r}")
                return [_install(store, scratch, manifest) for manifest in manifests]
    except (tarfile.TarError, EOFError) as error:
        raise BundleInvalid(f"{archive} is truncated or no tar archive: {error}") from error
    except OSError as error:
        if is_disk_full(error):
            raise disk_full(store.root, error) from error
        raise


def _opened(archive: Path) -> IO[bytes]:
    try:
        return archive.open("rb")
    except OSError as error:
        raise ModelNotFound(f"cannot read bundle {archive}: {error.strerror}") from error


def _recorded(model: str, cache_dir: Path | None) -> tuple[Path, Manifest]:
    local = resolve(model, cache_dir=cache_dir, allow_download=False)
    manifest = Manifest.read(local.path)
    if manifest is None:
        raise ModelInvalid(
            f"{local.path} has no manifest; bundle fetched models, and copy a directory of your "
            "own as it is"
        )
    return local.path, manifest


def _index_json(manifests: Sequence[Manifest]) -> bytes:
    models = [json.loads(manifest.to_json()) for manifest in manifests]
    return (json.dumps({"format": _FORMAT, "models": models}, indent=2) + "\n").encode()


def _member(name: str, size_bytes: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size_bytes
    return member


def _add(
    tar: tarfile.TarFile, directory: Path, folder: str, file: ModelFile, advance: Advance
) -> None:
    path = directory / file.name
    with path.open("rb") as source:
        hashed = _HashedReader(source, advance)
        tar.addfile(_member(f"{folder}/{file.name}", file.size_bytes), hashed)
    if hashed.sha256 != file.sha256:
        raise ChecksumMismatch(
            f"{path} has SHA-256 {hashed.sha256}, its manifest says {file.sha256}; "
            "fetch it again with --force, nothing was bundled"
        )


class _HashedReader(BytesIO):
    """A file that is hashed as tarfile reads it."""

    def __init__(self, source: IO[bytes], advance: Advance) -> None:
        super().__init__()
        self._source = source
        self._advance = advance
        self._digest = hashlib.sha256()

    def read(self, size: int | None = -1, /) -> bytes:
        chunk = self._source.read(-1 if size is None else size)
        self._digest.update(chunk)
        self._advance(len(chunk))
        return chunk

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def _read_index(tar: tarfile.TarFile, archive: Path) -> list[Manifest]:
    first = tar.next()
    if first is None or first.name != _INDEX_NAME or not first.isreg():
        raise BundleInvalid(f"{archive} is no bundle: it does not start with {_INDEX_NAME}")
    if first.size > _MAX_INDEX_BYTES:
        raise BundleInvalid(f"{archive} has an index of {first.size} bytes, which no bundle has")
    try:
        index = json.loads(_reader(tar, first).read())
        if index["format"] != _FORMAT:
            raise BundleInvalid(
                f"{archive} has bundle format {index['format']}, this version reads {_FORMAT}"
            )
        manifests = [Manifest.from_json(json.dumps(m), str(archive)) for m in index["models"]]
        if len({manifest.name for manifest in manifests}) != len(manifests):
            raise ValueError("a model is announced twice")
        for manifest in manifests:
            _check_pins(parse_name(manifest.name), manifest, archive)
    except (ValueError, KeyError, TypeError, ModelInvalid, ModelNotFound) as error:
        raise BundleInvalid(f"{archive} has an unreadable index: {error}") from error
    return manifests


def _check_pins(reference: ModelReference, manifest: Manifest, archive: Path) -> None:
    """A bundle vouches for repositories that the catalogue does not know, not against it."""
    if reference.entry and reference.source_of(manifest.files) is None:
        raise ChecksumMismatch(
            f"{archive} calls a model {manifest.name} whose files are not the pinned ones; "
            "write the bundle with the same version of whisper-ox"
        )


def _unpack(
    tar: tarfile.TarFile, manifest: Manifest, scratch: Path, archive: Path, advance: Advance
) -> None:
    folder = parse_name(manifest.name).folder
    (scratch / folder).mkdir()
    for file in manifest.files:
        expected = f"{folder}/{file.name}"
        member = tar.next()
        if member is None:
            raise BundleInvalid(f"{archive} is truncated: it ends before {expected}")
        if member.name != expected or not member.isreg() or member.size != file.size_bytes:
            raise BundleInvalid(
                f"{archive} has {member.name!r} ({member.size} bytes) where its index announces "
                f"the file {expected} ({file.size_bytes} bytes)"
            )
        found = _write(_reader(tar, member), scratch / folder / file.name, advance)
        if found != file.sha256:
            raise ChecksumMismatch(
                f"{archive}: {expected} has SHA-256 {found}, announced is {file.sha256}; "
                "copy the bundle again, nothing was installed"
            )


def _reader(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    reader = tar.extractfile(member)
    if reader is None:
        raise BundleInvalid(f"{member.name!r} in the bundle is no regular file")
    return reader


def _write(source: IO[bytes], target: Path, advance: Advance) -> str:
    digest = hashlib.sha256()
    with target.open("xb") as file:
        while chunk := source.read(CHUNK_BYTES):
            file.write(chunk)
            digest.update(chunk)
            advance(len(chunk))
    return digest.hexdigest()


def _install(store: ModelStore, scratch: Path, manifest: Manifest) -> LocalModel:
    folder = parse_name(manifest.name).folder
    with store.locked(folder):
        path = store.install(scratch / folder, folder, manifest)
    return LocalModel.of(manifest, path)
