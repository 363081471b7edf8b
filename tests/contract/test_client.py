"""The command behind ``make transcribe``, against a real server."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest.server import Server, free_port
from serve_app.api.example import EXAMPLE_CLIP
from tests.contract.conftest import API_KEY, API_KEY_HEADER
from tests.contract.wire import silence


def transcribe(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "serve_app.client", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False, text=True, timeout=120)


def assert_failed(done: "subprocess.CompletedProcess[str]", *parts: str) -> None:
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "Traceback" not in done.stderr
    assert all(part in done.stderr for part in parts)


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_transcript_is_printed_with_its_times(tiny_en: Server, slash: str) -> None:
    done = transcribe(EXAMPLE_CLIP, "--url", tiny_en.url + slash)
    assert done.returncode == 0
    assert done.stdout.startswith("[    0.00 -> ")
    assert "Hello" in done.stdout
    assert "(en, 1.14 s of audio in " in done.stderr


def test_json_prints_the_whole_answer(tiny_en: Server) -> None:
    options = '{"word_timestamps": true}'
    done = transcribe(EXAMPLE_CLIP, "--url", tiny_en.url, "--json", "--options", options)
    answer = json.loads(done.stdout)
    assert list(answer) == ["segments", "language", "duration"]
    assert answer["segments"][0]["words"]


def test_silence_is_not_a_failure(tiny_en: Server, tmp_path: Path) -> None:
    (tmp_path / "silence.wav").write_bytes(silence(1.0))
    done = transcribe(tmp_path / "silence.wav", "--url", tiny_en.url)
    assert (done.returncode, done.stdout) == (0, "")
    assert "no speech" in done.stderr


def test_the_key_comes_from_the_environment(
    guarded: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHISPER_API_KEY", API_KEY)
    monkeypatch.setenv("WHISPER_API_KEY_HEADER", API_KEY_HEADER)
    assert "Hello" in transcribe(EXAMPLE_CLIP, "--url", guarded.url).stdout


def test_a_refusal_is_shown(tiny_en: Server) -> None:
    done = transcribe(EXAMPLE_CLIP, "--url", tiny_en.url, "--options", '{"beam_size": 0}')
    assert_failed(done, "HTTP 422", "beam_size")


@pytest.mark.parametrize("name", ["absent.wav", "."])
def test_a_file_that_cannot_be_read_is_named(tiny_en: Server, tmp_path: Path, name: str) -> None:
    assert_failed(transcribe(tmp_path / name, "--url", tiny_en.url), "cannot read", str(tmp_path))


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}", "http://no-such-host.invalid:{port}"])
def test_a_server_that_is_not_there_is_named(url: str) -> None:
    url = url.format(port=free_port())
    assert_failed(transcribe(EXAMPLE_CLIP, "--url", url), f"no answer from {url}", "make serve")


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "nonsense"])
def test_an_invalid_address_is_named(url: str) -> None:
    assert_failed(transcribe(EXAMPLE_CLIP, "--url", url), url)
