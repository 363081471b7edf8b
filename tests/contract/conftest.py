"""Real servers, one per model and session, started the way a user starts them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from configs.profile import profile_path
from loadtest.server import Server, haproxy_environment, start_server
from serve_app.api.examples import EXAMPLE_CLIP

API_KEY = "correct horse battery staple"
API_KEY_HEADER = "X-Whisper-Key"
MAX_BODY_BYTES = 2_000_000
EXTRA_PATH = "/speech/recognise"


@pytest.fixture(scope="session")
def tiny_en() -> Iterator[Server]:
    with start_server("tiny.en") as server:
        yield server


@pytest.fixture(scope="session")
def base() -> Iterator[Server]:
    with start_server("base") as server:
        yield server


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server behind HAProxy with a key, strict options, a small body limit and one more path."""
    profile: dict[str, Any] = yaml.safe_load(profile_path("dev").read_text())
    profile["applications"][0]["args"] = {
        "http": {
            "strict_options": True,
            "max_body_bytes": MAX_BODY_BYTES,
            "extra_transcribe_paths": [EXTRA_PATH],
        }
    }
    path: Path = tmp_path_factory.mktemp("profile") / "guarded.yaml"
    path.write_text(yaml.safe_dump(profile))
    environment = {
        "WHISPER_API_KEY": API_KEY,
        "WHISPER_API_KEY_HEADER": API_KEY_HEADER,
        **haproxy_environment(),
    }
    with start_server("tiny.en", ["--config", str(path)], environment) as server:
        yield server


@pytest.fixture(scope="session")
def hello() -> bytes:
    """A WAV that says "Hello world", 1.14 s."""
    return EXAMPLE_CLIP.read_bytes()
