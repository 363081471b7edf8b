"""The unmodified Node clients of every protocol that has one."""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from loadtest.server import Server
from serve_app.assets import GOLDEN_CLIP

SOURCES = Path(__file__).parent / "node"
PLAIN = (
    *("openai: fs.ReadStream", "openai: File", "openai: toFile(Buffer)", "openai: text"),
    *("openai: logprobs", "openai: chunking_strategy", "azure: deployment"),
    *("groq: json", "groq: verbose_json", "ai: openai, gpt-4o-transcribe", "ai: azure"),
    *("ai: azure, deployment", "ai: groq", "deepgram: fs.ReadStream", "deepgram: Buffer"),
    "deepgram: live",
    *("openrouter: JSON", "openrouter: multipart"),
    *("azure speech: once", "azure speech: continuous"),
)
"""Calls that return only the text."""

pytestmark = [pytest.mark.node, pytest.mark.long]


@pytest.fixture(scope="module")
def clients() -> Path:
    """A folder with the packages and the script, kept between runs under a hash of its contents."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node and npm are not installed")
    packages, script = (SOURCES / name for name in ("package.json", "calls.mjs"))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "whisper-ox"
    folder = cache / f"node-{hashlib.sha256(packages.read_bytes()).hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "node_modules").is_dir():
        shutil.copy(packages, folder)
        command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"]
        installed = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
        if installed.returncode:
            shutil.rmtree(folder)
            pytest.skip(f"npm cannot install the clients: {installed.stderr[-300:]}")
    shutil.copy(script, folder)
    return folder


@pytest.fixture(scope="module")
def heard(clients: Path, tiny_en: Server, stereo: bytes, tmp_path_factory: Any) -> dict[str, str]:
    """What each call returns."""
    channels: Path = tmp_path_factory.mktemp("audio") / "stereo.wav"
    channels.write_bytes(stereo)
    run = subprocess.run(
        ["node", "calls.mjs", tiny_en.url, str(GOLDEN_CLIP), str(channels)],
        cwd=clients,
        check=True,
        capture_output=True,
        text=True,
    )
    found: dict[str, str] = json.loads(run.stdout)
    return found


@pytest.mark.parametrize("call", PLAIN)
def test_the_words_are_heard(heard: dict[str, str], call: str) -> None:
    assert heard[call].strip() == "Hello World"


@pytest.mark.parametrize("call", ["openai: srt", "openai: vtt"])
def test_subtitles_are_text(heard: dict[str, str], call: str) -> None:
    assert heard[call].count(" --> ") == 1
    assert "\nHello World\n" in heard[call]


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        ("openai: verbose_json, words and segments", "english: 1 Hello,World"),
        (
            "openai: stream",
            "Hello World transcript.text.delta,transcript.text.segment,transcript.text.done",
        ),
        ("openai: models.list", "tiny.en,whisper-1"),
        ("openai: models.retrieve", "openai/whisper-1"),
        ("openai: unknown model", "NotFoundError 404 model_not_found model"),
        ("openai: wrong parameter", "BadRequestError 400 invalid_option temperature"),
        ("ai: openai", "en 1 Hello World"),
        ("ai: deepgram", "2 Hello World"),
        ("deepgram: utterances and paragraphs", "1 Hello World"),
        ("deepgram: multichannel", "hello world,hello world 1,0 2"),
        ("deepgram: not audio", "BadRequestError 400 Bad Request"),
        ("openrouter: verbose_json, words and segments", "2: 1 Hello,World"),
        ("openrouter: unknown model", "NotFoundResponseError 404 model"),
        ("openrouter: wrong parameter", "BadRequestResponseError 400 temperature"),
    ],
)
def test_what_else_an_answer_holds_is_understood(
    heard: dict[str, str], call: str, answer: str
) -> None:
    assert heard[call] == answer


def test_no_call_path_is_left_untested(heard: dict[str, str]) -> None:
    assert len(heard) == len(PLAIN) + 2 + 14
