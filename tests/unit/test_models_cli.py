import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from models import CATALOGUE
from tests.conditions import eventually
from tests.unit.loopback_hub import MODEL_FILES, REPO, LoopbackHub, write_model

PROJECT = Path(__file__).parents[2]
FOLDER = REPO.replace("/", "--")


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        yield hub


def start(
    *arguments: str, store: Path, hub: LoopbackHub | None = None, file_size_limit: int | None = None
) -> subprocess.Popen[str]:
    environment = {**os.environ, "WHISPER_OX_MODELS_DIR": str(store), "PYTHONPATH": str(PROJECT)}
    if hub:
        environment["HF_ENDPOINT"] = hub.endpoint

    # POSIX counts this limit in blocks of 512 bytes; a write beyond it fails as on a full disk.
    limit = f"ulimit -f {file_size_limit // 512}; " if file_size_limit else ""
    return subprocess.Popen(
        ["sh", "-c", f'{limit}exec "$@"', "sh", sys.executable, "-m", "models", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(
    *arguments: str, store: Path, hub: LoopbackHub | None = None, file_size_limit: int | None = None
) -> tuple[int, str, str]:
    process = start(*arguments, store=store, hub=hub, file_size_limit=file_size_limit)
    output, errors = process.communicate(timeout=60)
    return process.returncode, output, errors


def test_list_names_every_model_with_its_needs(tmp_path: Path) -> None:
    code, output, _ = run("list", store=tmp_path)
    rows = {line.split()[0]: line for line in output.splitlines() if line}
    assert code == 0 and set(CATALOGUE) <= set(rows)
    assert rows["base"].split()[:4] == ["base", "many", "MIT", "150"]
    assert "package registry, hf Systran/faster-whisper-base" in rows["base"]


def test_a_model_travels_from_fetch_to_unbundle(hub: LoopbackHub, tmp_path: Path) -> None:
    here, there, archive = tmp_path / "here", tmp_path / "there", tmp_path / "models.tar"
    assert run("fetch", REPO, store=here, hub=hub)[0] == 0
    assert run("bundle", REPO, "-o", str(archive), store=here)[0] == 0
    assert run("unbundle", str(archive), store=there)[0] == 0
    assert run("verify", store=there)[0] == 0
    assert run("path", REPO, store=there)[1] == f"{there / FOLDER}\n"
    assert REPO in run("list", store=there)[1]


def test_progress_goes_to_stderr_unless_quiet(hub: LoopbackHub, tmp_path: Path) -> None:
    code, output, errors = run("fetch", REPO, store=tmp_path / "a", hub=hub)
    assert (code, output) == (0, f"{REPO}: {tmp_path / 'a' / FOLDER}\n")
    assert "model.bin: at 3.0 of 3.0 MB" in errors
    assert run("fetch", "--quiet", REPO, store=tmp_path / "b", hub=hub)[2] == ""


def test_full_disk_leaves_no_half_file(hub: LoopbackHub, tmp_path: Path) -> None:
    code, _, errors = run("fetch", REPO, store=tmp_path, hub=hub, file_size_limit=1_000_000)
    assert code == 1 and "no room left" in errors and "WHISPER_OX_MODELS_DIR" in errors
    assert not list(tmp_path.rglob("model.bin*"))
    assert run("fetch", REPO, store=tmp_path, hub=hub)[0] == 0


def test_full_disk_while_unbundling_leaves_nothing(hub: LoopbackHub, tmp_path: Path) -> None:
    archive, there = tmp_path / "models.tar", tmp_path / "there"
    run("fetch", REPO, store=tmp_path / "here", hub=hub)
    run("bundle", REPO, "-o", str(archive), store=tmp_path / "here")
    code, _, errors = run("unbundle", str(archive), store=there, file_size_limit=1_000_000)
    assert code == 1 and "no room left" in errors
    assert not list(there.rglob("*.bin"))


def test_full_disk_while_bundling_leaves_no_archive(hub: LoopbackHub, tmp_path: Path) -> None:
    run("fetch", REPO, store=tmp_path, hub=hub)
    archive = tmp_path / "models.tar"
    code, _, errors = run(
        "bundle", REPO, "-o", str(archive), store=tmp_path, file_size_limit=1_000_000
    )
    assert code == 1 and "no room left" in errors
    assert not list(tmp_path.glob("models.tar*"))


def test_concurrent_fetches_download_once(hub: LoopbackHub, tmp_path: Path) -> None:
    processes = [start("fetch", REPO, store=tmp_path, hub=hub) for _ in range(3)]
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert hub.hits["/storage/model.bin"] == 1


def test_killed_fetch_leaves_no_model_and_is_resumed(hub: LoopbackHub, tmp_path: Path) -> None:
    partial = tmp_path / ".partial" / FOLDER
    hub.stall_after = [1_000_000]
    process = start("fetch", REPO, store=tmp_path, hub=hub)
    hub.stalled.wait(timeout=30)
    eventually(lambda: list(partial.rglob("model.bin.part")))  # sent is not yet written
    process.kill()
    process.communicate()
    hub.go_on.set()
    assert not (tmp_path / FOLDER).exists()
    assert run("fetch", REPO, store=tmp_path, hub=hub)[0] == 0
    assert (tmp_path / FOLDER / "model.bin").read_bytes() == MODEL_FILES["model.bin"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fetch", "no-such-model"], "known names"),
        (["path", "base"], "python -m models fetch base"),
        (["verify"], "no model is in"),
        (["verify", "base"], "is not in"),
        (["bundle", "base", "-o", "x.tar"], "is not in"),
        (["unbundle", "no-such.tar"], "cannot read bundle"),
        (["fetch", "--force", "/"], "local directory"),
    ],
)
def test_failure_is_one_line_and_exit_code_1(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    code, output, errors = run(*arguments, store=tmp_path)
    assert (code, output, errors.count("\n")) == (1, "", 1)
    assert errors.startswith("error: ") and words in errors


def test_refused_download_is_one_line(hub: LoopbackHub, tmp_path: Path) -> None:
    code, _, errors = run("fetch", "someone/else", store=tmp_path, hub=hub)
    assert (code, errors.count("\n")) == (1, 1)
    assert "HTTP 404; check the repository's id" in errors


def test_unwritable_store_is_one_line(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    code, _, errors = run("fetch", "base", store=blocked)
    assert (code, errors.count("\n")) == (1, 1)
    assert "cannot write to the models directory" in errors


def test_list_and_verify_show_a_broken_model(hub: LoopbackHub, tmp_path: Path) -> None:
    run("fetch", REPO, store=tmp_path, hub=hub)
    os.truncate(tmp_path / FOLDER / "model.bin", 10)
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "manifest.json").write_text("{")
    rows = {line.split()[0]: line for line in run("list", store=tmp_path)[1].splitlines() if line}
    assert "broken" in rows[REPO] and "broken" in rows["odd"]
    code, _, errors = run("verify", store=tmp_path)
    assert code == 1 and "has 10 bytes" in errors and "odd" in errors


def test_verify_names_every_damaged_model(tmp_path: Path) -> None:
    for name in ("one--a", "two--b"):
        write_model(tmp_path / name)
    code, _, errors = run("verify", "one/a", "two/b", store=tmp_path)
    assert code == 1 and "one--a" in errors and "two--b" in errors
