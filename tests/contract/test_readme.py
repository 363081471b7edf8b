"""The README's commands work when pasted."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from loadtest.server import Server

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
CURL_COMMANDS = [block for block in BLOCKS if block.startswith("curl")]
MAKE_TARGETS = {
    target for block in BLOCKS for target in re.findall(r"^make ([a-z-]+)", block, re.MULTILINE)
}


def test_every_block_is_a_request_or_a_make_target() -> None:
    assert len(CURL_COMMANDS) >= 2
    assert all(block.startswith(("curl", "make")) for block in BLOCKS)


@pytest.mark.parametrize("command", CURL_COMMANDS)
def test_its_requests_are_answered(base: Server, command: str) -> None:
    pasted = command.replace("http://127.0.0.1:8000", base.url)
    answer = subprocess.run(
        ["bash", "-c", pasted], capture_output=True, check=True, text=True, cwd=ROOT
    )
    assert json.loads(answer.stdout)["segments"][0]["text"].startswith("Hello")


@pytest.mark.parametrize("target", sorted(MAKE_TARGETS))
def test_its_make_targets_exist(target: str) -> None:
    listed = subprocess.run(["make", "help"], capture_output=True, check=True, text=True, cwd=ROOT)
    assert f"make {target} " in listed.stdout


def test_its_file_is_transcribed_by_make(base: Server) -> None:
    port = base.url.rsplit(":", 1)[1]
    command = ["make", "transcribe", "FILE=serve_app/assets/golden.wav", f"PORT={port}", "ARGS="]
    answer = subprocess.run(command, capture_output=True, check=True, text=True, cwd=ROOT)
    assert "Hello" in answer.stdout
