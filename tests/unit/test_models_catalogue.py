import os
import re
import shutil
import time
from pathlib import Path

import pytest

from models import CATALOGUE, resolve
from models.catalogue import ALIASES
from models.entry import COMPUTE_TYPES, HuggingFaceSource
from models.failures import ChecksumMismatch, ModelInvalid, ModelNotFound
from models.manifest import MODEL_FILES, Manifest, require_files
from models.reference import ModelReference, parse_name, parse_reference
from models.store import default_models_dir
from tests.unit.loopback_hub import write_model

ENTRIES = pytest.mark.parametrize("name", CATALOGUE)
SHA256 = re.compile(r"[0-9a-f]{64}")


@pytest.fixture
def tiny_en() -> Path:
    """The directory of tiny.en, fetched if it is not here."""
    return resolve("tiny.en").path


@ENTRIES
def test_weights_are_pinned_by_hash_and_commit(name: str) -> None:
    for source in CATALOGUE[name].sources:
        weights = next(file for file in source.files if file.name == "model.bin")
        assert weights.sha256 and SHA256.fullmatch(weights.sha256)
        if isinstance(source, HuggingFaceSource):
            assert source.revision and re.fullmatch(r"[0-9a-f]{40}", source.revision)


@ENTRIES
def test_sources_deliver_all_that_faster_whisper_needs(name: str) -> None:
    for source in CATALOGUE[name].sources:
        names = [file.name for file in source.files]
        require_files(names, name)
        assert set(names) <= set(MODEL_FILES)
        assert all(f.sha256 is None or SHA256.fullmatch(f.sha256) for f in source.files)


@ENTRIES
def test_entries_state_licence_and_needs(name: str) -> None:
    entry = CATALOGUE[name]
    assert entry.licence == "MIT"
    memory = [entry.memory_bytes(compute_type) for compute_type in COMPUTE_TYPES]
    assert 10e6 < memory[0] < memory[-1] and entry.disk_bytes > entry.parameters
    assert entry.multilingual == (not name.endswith(".en") and "distil" not in name)


def test_aliases_mean_what_faster_whisper_means() -> None:
    assert {alias: parse_name(alias).name for alias in ALIASES} == {
        "turbo": "large-v3-turbo",
        "large": "large-v3",
    }


def test_catalogue_repository_by_id_is_pinned_too() -> None:
    reference = parse_name("Systran/faster-whisper-base")
    assert reference.entry is CATALOGUE["base"]
    assert reference.sources == (CATALOGUE["base"].sources[-1],)


def test_other_revision_of_a_catalogue_repository_is_not_called_pinned() -> None:
    reference = parse_name("Systran/faster-whisper-base@main")
    assert reference.entry is None and reference.folder == "Systran--faster-whisper-base@main"


def test_no_two_ids_share_a_folder() -> None:
    ids = ["a/b", "a-/b", "a/b@c/d", "a/b@c--d", "a/b@c-/d", "a/b@c/-d", "a/b-c", "a/b@c-d"]
    assert len({parse_name(name).folder for name in ids}) == len(ids)
    assert all(Path(parse_name(name).folder).name == parse_name(name).folder for name in ids)


@pytest.mark.parametrize("name", ["a/b--c", "a--b/c"])
def test_an_id_that_the_hub_does_not_allow_is_refused(name: str) -> None:
    with pytest.raises(ModelNotFound, match=name):
        parse_name(name)


def test_catalogue_name_wins_over_a_directory_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "base")
    assert isinstance(parse_reference("base"), ModelReference)
    assert parse_reference("./base") == tmp_path / "base"


def test_local_directory_is_taken_as_it_is(tmp_path: Path) -> None:
    local = resolve(str(write_model(tmp_path / "mine")))
    assert (local.path, local.multilingual) == (tmp_path / "mine", False)
    assert list(local.path.glob("manifest*")) == []


def test_vocabulary_tells_a_multilingual_local_model(tmp_path: Path) -> None:
    directory = write_model(tmp_path / "mine")
    (directory / "vocabulary.txt").write_text("token\n" * 51_865)
    assert resolve(str(directory)).multilingual


def test_local_directory_without_tokenizer_is_refused(tmp_path: Path) -> None:
    (write_model(tmp_path / "mine") / "tokenizer.json").unlink()
    with pytest.raises(ModelInvalid, match=r"lacks tokenizer\.json"):
        resolve(str(tmp_path / "mine"))


def test_unreadable_manifest_is_named(tmp_path: Path) -> None:
    (write_model(tmp_path / "mine") / "manifest.json").write_text('{"format": 1')
    with pytest.raises(ModelInvalid, match=r"manifest\.json"):
        resolve(str(tmp_path / "mine"))


def test_unknown_files_under_a_catalogue_name_are_not_adopted(tmp_path: Path) -> None:
    write_model(tmp_path / "base")
    for allow_download in (False, True):
        with pytest.raises(ChecksumMismatch, match="move it elsewhere"):
            resolve("base", cache_dir=tmp_path, allow_download=allow_download)
    assert (tmp_path / "base" / "model.bin").exists()


def test_store_follows_its_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("WHISPER_OX_MODELS_DIR", raising=False)
    assert default_models_dir() == tmp_path / "cache" / "whisper-ox" / "models"
    monkeypatch.setenv("WHISPER_OX_MODELS_DIR", str(tmp_path / "m"))
    assert default_models_dir() == tmp_path / "m"
    monkeypatch.delenv("WHISPER_OX_MODELS_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_models_dir() == Path.home() / ".cache" / "whisper-ox" / "models"


def test_installed_tiny_en_resolves_offline_and_at_once(tiny_en: Path) -> None:
    began = time.perf_counter()
    local = resolve("tiny.en", allow_download=False)
    assert time.perf_counter() - began < 0.1
    assert (local.path, local.multilingual, local.licence) == (tiny_en, False, "MIT")


def test_model_copied_by_hand_is_adopted(tiny_en: Path, tmp_path: Path) -> None:
    copied = tmp_path / "tiny.en"
    shutil.copytree(tiny_en, copied, copy_function=os.link, ignore=lambda *_: ["manifest.json"])
    assert resolve("tiny.en", cache_dir=tmp_path, allow_download=False).path == copied
    assert Manifest.read(copied) == Manifest.read(tiny_en)
