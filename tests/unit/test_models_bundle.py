import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from models import resolve, verify
from models.bundle import bundle, unbundle
from models.failures import (
    BundleInvalid,
    ChecksumMismatch,
    ModelInvalid,
    ModelNotFound,
    Offline,
)
from models.manifest import Manifest, record_files
from tests.unit.loopback_hub import COMMIT, MODEL_FILES, REPO, write_model

FOLDER = REPO.replace("/", "--")
Member = tuple[tarfile.TarInfo, bytes]


def installed(root: Path, name: str = REPO) -> Path:
    directory = write_model(root / name.replace("/", "--"))
    manifest = Manifest(name, f"hf {REPO}", COMMIT, "mit", False, record_files(directory))
    manifest.write(directory)
    return root


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    store = installed(tmp_path / "here")
    return bundle([REPO], tmp_path / "models.tar", cache_dir=store, quiet=True)


def rewrite(archive: Path, change: Callable[[list[Member]], None]) -> Path:
    with tarfile.open(archive) as tar:
        files = [(member, tar.extractfile(member)) for member in tar]
        members = [(member, file.read() if file else b"") for member, file in files]
    change(members)
    with tarfile.open(archive, "w") as tar:
        for member, content in members:
            tar.addfile(member, io.BytesIO(content))
    return archive


def member(
    name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> Member:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(content)
    return info, content


def refused(archive: Path, there: Path) -> BundleInvalid:
    with pytest.raises(BundleInvalid) as caught:
        unbundle(archive, cache_dir=there, quiet=True)
    assert not [path for path in there.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return caught.value


def test_unbundled_model_resolves_and_verifies(archive: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    unbundle(archive, cache_dir=there, quiet=True)
    assert verify(REPO, cache_dir=there).revision == COMMIT
    assert {p.name for p in (there / FOLDER).iterdir()} == {*MODEL_FILES, "manifest.json"}


def test_manifest_comes_first(archive: Path) -> None:
    with tarfile.open(archive) as tar:
        names = tar.getnames()
    assert names == ["bundle.json", *(f"{FOLDER}/{name}" for name in MODEL_FILES)]


def test_same_models_give_the_same_bytes(archive: Path, tmp_path: Path) -> None:
    again = bundle([REPO], tmp_path / "b.tar", cache_dir=tmp_path / "here", quiet=True)
    assert again.read_bytes() == archive.read_bytes()


def test_several_models_travel_together(tmp_path: Path) -> None:
    store = installed(installed(tmp_path / "here"), f"{REPO}@v2")
    names = [REPO, f"{REPO}@v2"]
    archive = bundle(names, tmp_path / "two.tar", cache_dir=store, quiet=True)
    models = unbundle(archive, cache_dir=tmp_path / "there", quiet=True)
    assert [model.name for model in models] == names


def test_altered_byte_is_found(archive: Path, tmp_path: Path) -> None:
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)
    with pytest.raises(ChecksumMismatch, match=r"model\.bin.*nothing was installed"):
        unbundle(archive, cache_dir=tmp_path / "there", quiet=True)
    assert not list((tmp_path / "there").rglob("model.bin"))


@pytest.mark.parametrize("kept_bytes", [0, 300, 2_000, 100_000, 3_000_000])
def test_truncated_archive_installs_nothing(archive: Path, tmp_path: Path, kept_bytes: int) -> None:
    os.truncate(archive, kept_bytes)
    assert str(archive) in refused(archive, tmp_path / "there").message


def test_archive_cut_between_members_is_truncated(archive: Path, tmp_path: Path) -> None:
    rewrite(archive, lambda members: members.__delitem__(slice(2, None)))
    assert "it ends before" in refused(archive, tmp_path / "there").message


@pytest.mark.parametrize(
    "evil",
    [
        member("../../escaped", b"x"),
        member("/tmp/escaped", b"x"),
        member(f"{FOLDER}/config.json", kind=tarfile.SYMTYPE, link="/etc/passwd"),
        member(f"{FOLDER}/config.json", kind=tarfile.LNKTYPE, link="bundle.json"),
        member(f"{FOLDER}/config.json", kind=tarfile.DIRTYPE),
        member(f"{FOLDER}/config.json", kind=tarfile.FIFOTYPE),
        member(f"{FOLDER}/../config.json", b"{}\n"),
        member(f"{FOLDER}/config.json", b"longer than announced"),
    ],
    ids=lambda evil: f"{evil[0].name} {evil[0].type!r}",
)
def test_unannounced_member_is_refused(archive: Path, tmp_path: Path, evil: Member) -> None:
    rewrite(archive, lambda members: members.__setitem__(1, evil))
    assert "where its index announces" in refused(archive, tmp_path / "there").message
    assert not list(tmp_path.rglob("escaped"))


def test_surplus_member_is_refused(archive: Path, tmp_path: Path) -> None:
    rewrite(archive, lambda members: members.append(member("surplus", b"x")))
    assert "unannounced member 'surplus'" in refused(archive, tmp_path / "there").message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "../../etc"),
        ("name", "/etc"),
        ("files", []),
        ("files", [{"name": "../x", "size_bytes": 1, "sha256": "0" * 64}]),
        ("files", "all"),
        ("format", 2),
    ],
)
def test_invalid_index_is_refused(archive: Path, tmp_path: Path, key: str, value: object) -> None:
    def change(members: list[Member]) -> None:
        index = json.loads(members[0][1])
        index["models"][0][key] = value
        members[0] = member("bundle.json", json.dumps(index).encode())

    assert "index" in refused(rewrite(archive, change), tmp_path / "there").message


def test_other_weights_under_a_catalogue_name_are_refused(archive: Path, tmp_path: Path) -> None:
    def change(members: list[Member]) -> None:
        members[0] = member("bundle.json", members[0][1].replace(REPO.encode(), b"base"))

    rewrite(archive, change)
    with pytest.raises(ChecksumMismatch, match="not the pinned ones"):
        unbundle(archive, cache_dir=tmp_path / "there", quiet=True)


@pytest.mark.parametrize("content", [b"", b"not a tar", bytes(10_240)])
def test_other_files_are_not_bundles(tmp_path: Path, content: bytes) -> None:
    other = tmp_path / "other.tar"
    other.write_bytes(content)
    refused(other, tmp_path / "there")


def test_missing_archive_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="no-such"):
        unbundle(tmp_path / "no-such.tar", cache_dir=tmp_path)


def test_damaged_model_is_not_bundled(tmp_path: Path) -> None:
    store = installed(tmp_path / "here")
    (store / FOLDER / "config.json").write_bytes(b"[]\n")
    with pytest.raises(ChecksumMismatch, match="nothing was bundled"):
        bundle([REPO], tmp_path / "models.tar", cache_dir=store, quiet=True)
    assert not list(tmp_path.glob("models.tar*"))


def test_only_an_installed_model_can_be_bundled(tmp_path: Path) -> None:
    with pytest.raises(Offline):
        bundle([REPO], tmp_path / "models.tar", cache_dir=tmp_path)


def test_somebodys_own_files_are_not_replaced(archive: Path, tmp_path: Path) -> None:
    own = tmp_path / "there" / FOLDER / "notes.txt"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    with pytest.raises(ModelInvalid, match="move them away"):
        unbundle(archive, cache_dir=tmp_path / "there", quiet=True)
    assert own.read_text() == "mine"


def test_unbundling_replaces_a_broken_model(archive: Path, tmp_path: Path) -> None:
    there = installed(tmp_path / "there")
    os.truncate(there / FOLDER / "model.bin", 10)
    unbundle(archive, cache_dir=there, quiet=True)
    assert resolve(REPO, cache_dir=there, allow_download=False).path == there / FOLDER
