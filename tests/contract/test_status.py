"""Liveness, readiness and documentation of a real server."""

import platform
import re
import shlex
import subprocess

import httpx
import pytest

from loadtest.server import Server
from tests.resilience.processes import page_faults, replica


def test_the_index_says_what_this_is(tiny_en: Server) -> None:
    body = httpx.get(tiny_en.url).json()
    assert body["name"] == "Whisper OX"
    assert all(httpx.get(tiny_en.url + body[key]).is_success for key in ("docs", "health", "ready"))


@pytest.mark.parametrize(
    ("server", "model", "multilingual"), [("tiny_en", "tiny.en", False), ("base", "base", True)]
)
def test_readiness_names_the_model(
    server: str, model: str, multilingual: bool, request: pytest.FixtureRequest
) -> None:
    running: Server = request.getfixturevalue(server)
    ready = {"status": "ready", "model": model, "multilingual": multilingual}
    assert httpx.get(f"{running.url}/readyz").json() == ready


def test_the_documentation_page_loads_nothing_from_elsewhere(tiny_en: Server) -> None:
    page = httpx.get(f"{tiny_en.url}/docs").text
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(sources) >= 2
    for source in sources:
        assert source.startswith("/")
        assert httpx.get(tiny_en.url + source).is_success


@pytest.mark.parametrize("server", ["tiny_en", "base"])
def test_the_command_printed_at_the_start_works_when_pasted(
    server: str, request: pytest.FixtureRequest
) -> None:
    running: Server = request.getfixturevalue(server)
    command = re.search(r"^  (curl .*)$", running.log.read_text(), re.MULTILINE)
    assert command
    answer = subprocess.run(
        [*shlex.split(command[1]), "-s"], capture_output=True, check=True, text=True
    )
    assert "Hello" in answer.stdout


def test_the_log_tells_of_requests_but_never_their_text(tiny_en: Server, hello: bytes) -> None:
    httpx.post(f"{tiny_en.url}/transcribe", files={"file": ("a.wav", hello)}, timeout=60)
    log = tiny_en.log.read_text()
    assert "POST /transcribe 200" in log
    assert "Hello" not in log.split("Try:")[1]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the profile tunes glibc's malloc")
def test_a_warm_model_keeps_its_memory_between_layers(tiny_en: Server, hello: bytes) -> None:
    transcriber = replica(tiny_en.process.pid, "Transcriber")
    assert transcriber
    before = 0
    for _ in range(2):  # the first may still grow the heap
        before = page_faults(transcriber)
        httpx.post(f"{tiny_en.url}/transcribe", files={"file": ("a.wav", hello)}, timeout=60)
    assert page_faults(transcriber) - before < 5_000  # of 4 KiB; untuned, a window takes 40,000


def test_the_openapi_document_describes_the_form(tiny_en: Server) -> None:
    paths = httpx.get(f"{tiny_en.url}/openapi.json").json()["paths"]
    form = paths["/transcribe"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert set(form["schema"]["properties"]) == {"file", "generate_kwargs"}
