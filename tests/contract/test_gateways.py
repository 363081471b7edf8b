"""LiteLLM as a client of its several providers, and its proxy with the example configuration.

It lives in an environment of its own: it brings 750 MB, and it pins what we pin otherwise.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from loadtest.server import Server, free_port
from serve_app.assets import GOLDEN_CLIP

ROOT = Path(__file__).parents[2]
SOURCES = Path(__file__).parent / "gateways"
MASTER_KEY = "sk-of-the-proxy"
HEARD = "Hello World"
START_SECONDS = 120.0
POLL_SECONDS = 0.25

# The first run installs LiteLLM, which takes minutes on a busy machine.
pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def programs() -> Path:
    """The programs of LiteLLM's environment, kept from run to run under its requirements' hash."""
    requirements = SOURCES / "requirements.txt"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "whisper-ox"
    folder = cache / f"litellm-{hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]}"
    programs = folder / "bin"
    if not (programs / "litellm").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        uv = [sys.executable, "-m", "uv", "pip", "install", "--python", str(programs / "python")]
        installed = subprocess.run(
            [*uv, "--requirement", str(requirements)], check=False, capture_output=True, text=True
        )
        if installed.returncode:
            shutil.rmtree(folder)
            pytest.skip(f"uv cannot install LiteLLM: {installed.stderr[-300:]}")
    return programs


@pytest.fixture(scope="module")
def environment(programs: Path, tiny_en: Server) -> dict[str, str]:
    return {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "WHISPER_OX_URL": f"{tiny_en.url}/v1",
        "WHISPER_OX_KEY": "any",
        "LITELLM_MASTER_KEY": MASTER_KEY,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # it would look for prices on the internet
    }


@pytest.fixture(scope="module")
def heard(programs: Path, tiny_en: Server, environment: dict[str, str]) -> dict[str, str]:
    """What each call of LiteLLM itself gives."""
    run = subprocess.run(
        [programs / "python", SOURCES / "calls.py", tiny_en.url, GOLDEN_CLIP],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    found: dict[str, str] = json.loads(run.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def proxy(
    programs: Path, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The URL of LiteLLM's proxy in front of the server."""
    port, log = free_port(), tmp_path_factory.mktemp("litellm") / "log"
    url = f"http://127.0.0.1:{port}"
    where = ["--config", "examples/litellm.yaml", "--host", "127.0.0.1", "--port", str(port)]
    with (
        log.open("wb") as out,
        subprocess.Popen(
            [programs / "litellm", *where], cwd=ROOT, env=environment, stdout=out, stderr=out
        ) as process,
    ):
        try:
            deadline = time.monotonic() + START_SECONDS
            while not is_ready(url):
                is_late = process.poll() is not None or time.monotonic() > deadline
                assert not is_late, log.read_text()[-2_000:]
                time.sleep(POLL_SECONDS)
            yield url
        finally:
            process.terminate()


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/readiness").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def client(proxy: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{proxy}/v1", api_key=MASTER_KEY, max_retries=0)


def ask(client: openai.OpenAI, **more: Any) -> Any:
    create: Any = client.audio.transcriptions.create
    return create(file=GOLDEN_CLIP, model="whisper", **more)


@pytest.mark.parametrize(
    "call",
    [
        *("openai/whisper-1", "hosted_vllm/whisper-1", "groq/whisper-large-v3", "azure/whisper"),
        *("deepgram/whisper", "elevenlabs/scribe_v1", "asynchronous", "verbose_json"),
    ],
)
def test_litellm_gets_the_words_by_each_of_its_providers(heard: dict[str, str], call: str) -> None:
    assert heard[call] == HEARD


def test_litellm_understands_a_refusal(heard: dict[str, str]) -> None:
    assert heard["temperature 7"] == "BadRequestError 400"


def test_the_proxy_passes_words_and_formats_on(client: openai.OpenAI) -> None:
    answer = ask(client)
    assert (answer.text, answer.usage.seconds) == (HEARD, 2)
    verbose = ask(client, response_format="verbose_json", timestamp_granularities=["word"])
    assert (verbose.language, [word.word for word in verbose.words]) == ("english", HEARD.split())
    # The proxy puts what is not JSON into JSON.
    assert f"\\n{HEARD}\\n" in ask(client, response_format="srt")


def test_the_proxy_passes_errors_on(client: openai.OpenAI, proxy: str) -> None:
    with pytest.raises(openai.BadRequestError, match="a number from 0 to 2") as refused:
        ask(client, temperature=7)
    assert refused.value.param == "temperature"
    stranger = openai.OpenAI(base_url=f"{proxy}/v1", api_key="sk-wrong", max_retries=0)
    with pytest.raises(openai.APIStatusError):
        ask(stranger)


def test_the_proxy_finds_the_server_healthy(proxy: str) -> None:
    headers = {"Authorization": f"Bearer {MASTER_KEY}"}
    health = httpx.get(f"{proxy}/health", headers=headers, timeout=60).json()
    assert (health["healthy_count"], health["unhealthy_count"]) == (1, 0)
