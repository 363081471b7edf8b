"""Real servers, one of each kind, started the way a user starts them."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from loadtest.server import Server, free_port, start_server
from serve_app.assets import GOLDEN_CLIP
from serve_app.serving.profile import profile_path
from tests.contract.scrape import REPORT_ENVIRONMENT
from tests.contract.wire import wav
from tests.shared_servers import name_servers

API_KEY = "correct horse battery staple"
API_KEY_HEADER = "X-Whisper-Key"
HASHED_KEY, ONE_AT_A_TIME_KEY, TWO_WINDOWS_KEY = "two words", "one-at-a-time", "two-windows"
MAX_BODY_BYTES, MAX_HELD_BYTES = 2_000_000, 3_000_000
MAX_HEADER_BYTES = 8_192
UPLOAD_IDLE_SECONDS = 2.0
EXTRA_PATH = "/speech/recognise"
WYOMING_PORT = free_port()
PAGE_ORIGIN = "https://app.example.com"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    name_servers(metafunc, "tiny_en", "base", "guarded")


@pytest.fixture(scope="package")
def tiny_en() -> Iterator[Server]:
    with start_server("tiny.en") as server:
        yield server


@pytest.fixture(scope="package")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that may log transcripts."""
    profile: dict[str, Any] = yaml.safe_load(profile_path("dev").read_text())
    profile["applications"][0]["args"] = {"log": {"level": "debug", "transcripts": True}}
    path: Path = tmp_path_factory.mktemp("profile") / "talkative.yaml"
    path.write_text(yaml.safe_dump(profile))
    with start_server("base", ["--config", str(path)]) as server:
        yield server


@pytest.fixture(scope="session")
def keys_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The named keys of ``guarded``."""
    path = tmp_path_factory.mktemp("secret") / "keys"
    path.write_text(
        f"hashed sha256:{hashlib.sha256(HASHED_KEY.encode()).hexdigest()}\n"
        f"narrow {ONE_AT_A_TIME_KEY} concurrent=1\n"
        f"brief {TWO_WINDOWS_KEY} audio_seconds_per_minute=16\n"
    )
    return path


@pytest.fixture(scope="package")
def guarded(tmp_path_factory: pytest.TempPathFactory, keys_file: Path) -> Iterator[Server]:
    """A server that listens for other machines, with keys, strict options, low limits, one more
    path, one page that may use it, and a port for Wyoming.
    """
    profile: dict[str, Any] = yaml.safe_load(profile_path("dev").read_text())
    profile["applications"][0]["args"] = {
        "http": {
            "strict_options": True,
            "max_body_bytes": MAX_BODY_BYTES,
            "max_held_bytes": MAX_HELD_BYTES,
            "max_header_bytes": MAX_HEADER_BYTES,
            "upload_idle_seconds": UPLOAD_IDLE_SECONDS,
            "extra_transcribe_paths": [EXTRA_PATH],
            "cors_origins": [PAGE_ORIGIN],
        },
        "wyoming": {"port": WYOMING_PORT},
    }
    path: Path = tmp_path_factory.mktemp("profile") / "guarded.yaml"
    path.write_text(yaml.safe_dump(profile))
    environment = {
        "WHISPER_API_KEY": API_KEY,
        "WHISPER_API_KEY_HEADER": API_KEY_HEADER,
        "WHISPER_API_KEYS_FILE": str(keys_file),
        "LOG_LEVEL": "debug",
        "LOG_FORMAT": "json",
        "WHISPER_OX_HEAD_SECONDS": "2",
        "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "5",
        **REPORT_ENVIRONMENT,
    }
    flags = ["--config", str(path), "--host", "0.0.0.0", "--metrics-port", str(free_port())]
    with start_server("tiny.en", flags, environment) as server:
        yield server


@pytest.fixture(scope="session")
def stereo(hello: bytes) -> bytes:
    """A WAV in which the right channel says "Hello world" first, and then the left one."""
    said = np.frombuffer(hello[44:], np.int16)
    silence = np.zeros_like(said)
    left, right = np.concatenate([silence, said]), np.concatenate([said, silence])
    return wav(np.stack([left, right], axis=1))


@pytest.fixture(scope="session")
def hello() -> bytes:
    """A WAV that says "Hello world", 1.14 s."""
    return GOLDEN_CLIP.read_bytes()
