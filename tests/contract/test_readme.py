"""The commands and programs in README.md and docs/http.md work when pasted."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from loadtest.server import Server

ROOT = Path(__file__).parents[2]
PAGES = "\n".join((ROOT / name).read_text() for name in ("README.md", "docs/http.md"))


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGES, re.DOTALL)


CURL_COMMANDS = [block for block in blocks("sh") if block.startswith("curl")]
MAKE_TARGETS = {
    target
    for block in blocks("sh")
    for target in re.findall(r"^make ([a-z-]+)", block, re.MULTILINE)
}
TRANSCRIPTS = [block for block in blocks("json") if block.startswith('{"segments"')]
PROGRAMS: list[tuple[str, ...]] = [(sys.executable, "-c", blocks("python")[0])]
if node := shutil.which("node"):
    PROGRAMS.append((node, "--input-type=module", "--eval", blocks("js")[0]))


def printed(base: Server, *command: str) -> str:
    """What a command that names the default address prints when it is sent to ``base``."""
    pasted = [part.replace("http://127.0.0.1:8000", base.url) for part in command]
    return subprocess.run(pasted, capture_output=True, check=True, text=True, cwd=ROOT).stdout


def test_every_command_is_of_a_kind_that_a_test_knows() -> None:
    assert len(CURL_COMMANDS) >= 2
    assert all(block.startswith(("curl", "make", "docker", "kubectl")) for block in blocks("sh"))


@pytest.mark.parametrize("command", CURL_COMMANDS)
def test_its_requests_are_answered(base: Server, command: str) -> None:
    answer = json.loads(printed(base, "bash", "-c", command))
    assert answer["segments"][0]["text"].startswith("Hello")


@pytest.mark.parametrize("transcript", TRANSCRIPTS)
def test_its_transcript_is_what_the_first_request_gives(base: Server, transcript: str) -> None:
    shown, given = (
        json.loads(it) for it in (transcript, printed(base, "bash", "-c", CURL_COMMANDS[0]))
    )
    assert rounded(given) == rounded(shown)


def rounded(transcript: dict[str, Any]) -> dict[str, Any]:
    """The transcript with times to a tenth, as CPUs round differently, and without confidence."""
    segments = [
        (round(one["start"], 1), round(one["end"], 1), one["text"], one["words"])
        for one in transcript["segments"]
    ]
    return {**transcript, "segments": segments}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: Path(program[0]).name)
def test_its_programs_print_the_words(base: Server, program: tuple[str, ...]) -> None:
    assert printed(base, *program).endswith(" Hello world.\n")


@pytest.mark.parametrize("target", sorted(MAKE_TARGETS))
def test_its_make_targets_exist(target: str) -> None:
    listed = subprocess.run(["make", "help"], capture_output=True, check=True, text=True, cwd=ROOT)
    assert f"make {target} " in listed.stdout


def test_its_file_is_transcribed_by_make(base: Server) -> None:
    port = base.url.rsplit(":", 1)[1]
    command = ["make", "transcribe", "FILE=serve_app/assets/golden.wav", f"PORT={port}", "ARGS="]
    answer = subprocess.run(command, capture_output=True, check=True, text=True, cwd=ROOT)
    assert "Hello" in answer.stdout
