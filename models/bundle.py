"""One archive of models for a site without network: written on one machine, checked on another.

The archive is a plain tar. Its first member, ``bundle.json``, is ``{"format": 1, "models": [...]}``
with the manifest of each model. The models' files follow in that order as ``<folder>/<file>``.
"""

import hashlib
import json
import shutil
import tarfile
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import IO

from models.download import CHUNK_BYTES, require_space
from models.failures import (
    BundleInvalid,
    ChecksumMismatch,
    ModelInvalid,
    ModelNotFound,
    explain_full_disk,
)
from models.local import LocalModel, recorded
from models.manifest import Manifest
from models.progress import Advance, transfer
from models.reference import parse_name
from models.store import ModelStore

_INDEX_NAME = "bundle.json"
_FORMAT = 1
_MAX_INDEX_BYTES = 1 << 20


def bundle(
    models: Iterable[str], archive: Path, *, cache_dir: Path | None = None, quiet: bool = False
) -> Path:
    """Write installed models into ``archive``, checking them on the way; return ``archive``.

    The archive gets its name when it is complete. The same models give the same bytes. Raises
    ``Offline`` (not installed), ``ChecksumMismatch``, ``ModelInvalid``, ``DiskFull``.
    """
    contents = [recorded(model, cache_dir=cache_dir) for model in dict.fromkeys(models)]
    documents = [manifest.document() for _, manifest in contents]
    index = (json.dumps({"format": _FORMAT, "models": documents}, indent=2) + "\n").encode()
    n_bytes = sum(manifest.size_bytes for _, manifest in contents)
    archive.parent.mkdir(parents=True, exist_ok=True)
    require_space(archive.parent, n_bytes, str(archive))
    draft = archive.with_name(archive.name + ".part")
    try:
        with (
            explain_full_disk(archive),
            tarfile.open(draft, "w") as tar,
            transfer(archive.name, n_bytes, quiet=quiet) as advance,
        ):
            tar.addfile(_member(_INDEX_NAME, len(index)), BytesIO(index))
            for local, manifest in contents:
                _add(tar, local, manifest, advance)
        draft.replace(archive)
    finally:
        draft.unlink(missing_ok=True)
    return archive


def unbundle(
    archive: Path, *, cache_dir: Path | None = None, quiet: bool = False
) -> list[LocalModel]:
    """Install the models of ``archive``: verify each as it is unpacked, then install all of them.

    A member that the index does not announce at that place (a link, another path, another size)
    stops it, so nothing is written outside the store. A catalogue model must be the pinned one.
    Raises ``ModelNotFound`` (no such archive), ``BundleInvalid``, ``ChecksumMismatch``,
    ``ModelInvalid`` (somebody's own files are in the way) and ``DiskFull``.
    """
    store = ModelStore.at(cache_dir)
    try:
        with (
            explain_full_disk(store.root),
            _opened(archive) as file,
            tarfile.open(fileobj=file, mode="r|") as tar,
        ):
            manifests = _read_index(tar, archive)
            n_bytes = sum(manifest.size_bytes for manifest in manifests)
            with (
                store.scratch() as scratch,
                transfer(archive.name, n_bytes, quiet=quiet) as advance,
            ):
                require_space(scratch, n_bytes, str(archive))
                for manifest in manifests:
                    store.require_free(_folder(manifest))
                    _unpack(tar, manifest, scratch, archive, advance)
                if (surplus := tar.next()) is not None:
                    raise BundleInvalid(f"{archive} has an unannounced member {surplus.name!r}")
                return [_install(store, scratch, manifest) for manifest in manifests]
    except (tarfile.TarError, EOFError) as error:
        raise BundleInvalid(f"{archive} is truncated or not a tar archive: {error}") from error


class _HashedReader:
    """Hashes a file and shows progress while somebody else reads it."""

    def __init__(self, source: IO[bytes], advance: Advance) -> None:
        self._source = source
        self._advance = advance
        self._digest = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        chunk = self._source.read(size)
        self._digest.update(chunk)
        self._advance(len(chunk))
        return chunk

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def _folder(manifest: Manifest) -> str:
    return parse_name(manifest.name).folder


def _member(name: str, size_bytes: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size_bytes
    return member


def _add(tar: tarfile.TarFile, local: LocalModel, manifest: Manifest, advance: Advance) -> None:
    for file in manifest.files:
        path = local.path / file.name
        with path.open("rb") as source:
            hashed = _HashedReader(source, advance)
            tar.addfile(_member(f"{_folder(manifest)}/{file.name}", file.size_bytes), hashed)
        if hashed.sha256 != file.sha256:
            raise ChecksumMismatch(
                f"{path} has SHA-256 {hashed.sha256}, its manifest says {file.sha256}; "
                "fetch it again with --force, nothing was bundled"
            )


def _opened(archive: Path) -> IO[bytes]:
    try:
        return archive.open("rb")
    except OSError as error:
        raise ModelNotFound(f"cannot read bundle {archive}: {error.strerror}") from error


def _read_index(tar: tarfile.TarFile, archive: Path) -> list[Manifest]:
    first = tar.next()
    if first is None or first.name != _INDEX_NAME or not first.isreg():
        raise BundleInvalid(f"{archive} is not a bundle: it does not start with {_INDEX_NAME}")
    if first.size > _MAX_INDEX_BYTES:
        raise BundleInvalid(f"{archive} is not a bundle: its index has {first.size} bytes")
    try:
        index = json.loads(_content(tar, first).read())
        if index["format"] != _FORMAT:
            raise ValueError(f"it has format {index['format']}, this version reads {_FORMAT}")
        manifests = [Manifest.of_document(model, str(archive)) for model in index["models"]]
        if len({manifest.name for manifest in manifests}) != len(manifests):
            raise ValueError("a model is announced twice")
        references = [parse_name(manifest.name) for manifest in manifests]
    except (ValueError, KeyError, TypeError, ModelInvalid, ModelNotFound) as error:
        raise BundleInvalid(f"{archive} has an unreadable index: {error}") from error
    for manifest, reference in zip(manifests, references, strict=True):
        # The index alone vouches for a repository that the catalogue does not know.
        if reference.entry and reference.source_of(manifest.files) is None:
            raise ChecksumMismatch(
                f"{archive} calls a model {manifest.name} whose files are not the pinned ones; "
                "write the bundle with the same version of whisper-ox"
            )
    return manifests


def _unpack(
    tar: tarfile.TarFile, manifest: Manifest, scratch: Path, archive: Path, advance: Advance
) -> None:
    folder = _folder(manifest)
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
        hashed = _HashedReader(_content(tar, member), advance)
        with (scratch / folder / file.name).open("xb") as target:
            shutil.copyfileobj(hashed, target, CHUNK_BYTES)
        if hashed.sha256 != file.sha256:
            raise ChecksumMismatch(
                f"{archive}: {expected} has SHA-256 {hashed.sha256}, announced is {file.sha256}; "
                "copy the bundle again, nothing was installed"
            )


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = tar.extractfile(member)
    if content is None:
        raise BundleInvalid(f"{member.name!r} in the bundle is not a regular file")
    return content


def _install(store: ModelStore, scratch: Path, manifest: Manifest) -> LocalModel:
    folder = _folder(manifest)
    with store.locked(folder):
        path = store.install(scratch / folder, folder, manifest)
    return LocalModel.of(manifest, path)
