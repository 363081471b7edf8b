"""``whisper-ox transcribe``, against a real server."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import srt
import webvtt

from loadtest.server import Server, free_port
from serve_app.assets import GOLDEN_CLIP
from tests.contract.conftest import API_KEY
from tests.contract.wire import silence

COMMAND = [sys.executable, "-c", "from serve_app.cli.main import main; main()", "transcribe"]


def transcribe(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False, text=True, timeout=120)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recording, one below it, and a file that is not audio."""
    (tmp_path / "more").mkdir()
    shutil.copy(GOLDEN_CLIP, tmp_path / "one.wav")
    shutil.copy(GOLDEN_CLIP, tmp_path / "more" / "two.wav")
    (tmp_path / "notes.wav").write_text("not audio")
    return tmp_path


@pytest.mark.parametrize("form", ["http://{}", "http://{}/", "{}"])
def test_the_text_goes_to_standard_output(tiny_en: Server, form: str) -> None:
    url = form.format(tiny_en.url.removeprefix("http://"))
    done = transcribe(GOLDEN_CLIP, "--output", "-", "--url", url)
    assert (done.returncode, done.stdout) == (0, "Hello World\n")
    assert "1.1 s of audio in " in done.stderr


def test_a_folder_stands_for_its_audio_and_transcripts_go_beside_it(
    tiny_en: Server, folder: Path
) -> None:
    done = transcribe(folder, "--format", "srt", "--url", tiny_en.url)
    assert (done.returncode, "2 of 2 files" in done.stderr) == (0, True)
    written = [folder / "one.srt", folder / "more" / "two.srt"]
    assert sorted(folder.rglob("*.srt")) == sorted(written)
    for file in written:
        [subtitle] = srt.parse(file.read_text())
        assert "Hello" in subtitle.content


def test_a_pattern_that_no_shell_expands_is_one(tiny_en: Server, folder: Path) -> None:
    output = folder / "out"
    done = transcribe(
        folder / "**" / "t*.wav", "--format", "vtt", "--output", output, "--url", tiny_en.url
    )
    assert done.returncode == 0
    assert [file.name for file in output.iterdir()] == ["two.vtt"]
    assert len(webvtt.read(output / "two.vtt").captions) == 1


def test_json_has_everything_and_options_reach_the_model(tiny_en: Server) -> None:
    more = ["--format", "json", "--words", "--option", "beam_size=1", "--language", "English"]
    told = json.loads(transcribe(GOLDEN_CLIP, "-o", "-", "--url", tiny_en.url, *more).stdout)
    assert (told["text"], told["language"]) == ("Hello World", "english")
    assert [word["word"] for word in told["words"]] == ["Hello", "World"]


def test_an_option_that_does_not_exist_is_named(tiny_en: Server) -> None:
    done = transcribe(GOLDEN_CLIP, "-o", "-", "--url", tiny_en.url, "--option", "beem_size=1")
    assert (done.returncode, done.stdout) == (0, "Hello World\n")
    assert "without effect: beem_size" in done.stderr


def test_columns_have_start_end_and_text(tiny_en: Server) -> None:
    done = transcribe(GOLDEN_CLIP, "-o", "-", "--format", "tsv", "--url", tiny_en.url)
    head, row = (line.split("\t") for line in done.stdout.splitlines())
    assert head == ["start", "end", "text"]
    assert int(row[0]) < int(row[1]) and row[2] == "Hello World"


def test_the_others_are_transcribed_where_one_fails(tiny_en: Server, folder: Path) -> None:
    files = [folder / "notes.wav", folder / "absent.wav", folder / "one.wav"]
    done = transcribe(*files, "--url", tiny_en.url)
    assert done.returncode == 1
    assert [file.name for file in folder.rglob("*.txt")] == ["one.txt"]
    assert "notes.wav: The file is not audio" in done.stderr
    assert "absent.wav: No such file" in done.stderr
    assert "1 of 3 files transcribed" in done.stderr


def test_silence_is_not_a_failure(tiny_en: Server, tmp_path: Path) -> None:
    (tmp_path / "silence.wav").write_bytes(silence(1.0))
    done = transcribe(tmp_path / "silence.wav", "-o", "-", "--url", tiny_en.url)
    assert (done.returncode, done.stdout) == (0, "\n")
    assert "no speech" in done.stderr


def test_the_key_comes_from_the_environment_or_is_asked_for(
    guarded: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WHISPER_API_KEY", raising=False)
    refused = transcribe(GOLDEN_CLIP, "-o", "-", "--url", guarded.url)
    assert (refused.returncode, "--key" in refused.stderr) == (1, True)
    monkeypatch.setenv("WHISPER_API_KEY", API_KEY)
    assert "Hello" in transcribe(GOLDEN_CLIP, "-o", "-", "--url", guarded.url).stdout


def test_a_refusal_is_the_servers_own_sentence(tiny_en: Server) -> None:
    done = transcribe(GOLDEN_CLIP, "-o", "-", "--url", tiny_en.url, "--option", "beam_size=0")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("golden.wav: beam_size")


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}", "127.0.0.1:{port}", "nonsense"])
def test_without_a_server_it_says_how_to_start_one(url: str) -> None:
    url = url.format(port=free_port())
    done = transcribe(GOLDEN_CLIP, "-o", "-", "--url", url)
    assert (done.returncode, done.stdout, "Traceback" in done.stderr) == (1, "", False)
    assert f"no server answers at {url}" in done.stderr
    assert "whisper-ox serve" in done.stderr


def test_two_files_that_would_share_a_transcript_are_refused(folder: Path) -> None:
    shutil.copy(GOLDEN_CLIP, folder / "one.mp3")
    done = transcribe(folder / "one.wav", folder / "one.mp3")
    assert (done.returncode, "would both be written to" in done.stderr) == (2, True)


def test_an_output_that_is_not_a_folder_is_refused_before_any_work(folder: Path) -> None:
    done = transcribe(folder / "one.wav", "--output", folder / "notes.wav")
    assert done.returncode == 2
    assert f"--output {folder / 'notes.wav'} cannot be a folder" in done.stderr


def test_a_transcript_that_cannot_be_written_names_the_place(tiny_en: Server, folder: Path) -> None:
    (folder / "one.txt").mkdir()
    done = transcribe(folder / "one.wav", "--url", tiny_en.url)
    assert (done.returncode, f"one.wav: {folder / 'one.txt'}: " in done.stderr) == (1, True)
