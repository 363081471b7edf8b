"""A real server that tests may break."""

from collections.abc import Iterator

import numpy as np
import pytest

from loadtest.server import Server, start_server
from serve_app.assets import GOLDEN_CLIP
from tests.contract.wire import wav
from tests.resilience.processes import assert_gone, ctrl_c
from tests.shared_servers import name_servers

TRANSCRIBER = "Transcriber-tiny.en"
"""The deployment of the model that answers where none is named."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    name_servers(metafunc, "server")


@pytest.fixture(scope="package")
def server() -> Iterator[Server]:
    """A server of two models. Whatever tests have done to it, Ctrl-C ends it in the end and leaves
    nothing behind.
    """
    with start_server("tiny.en,base") as running:
        yield running
        ctrl_c(running.process)
        assert_gone(running)


@pytest.fixture(autouse=True)
def shown_log(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a shared server logged during a test; pytest shows it if the test fails."""
    if "server" not in request.fixturenames:
        yield
        return
    log = request.getfixturevalue("server").log
    before = log.stat().st_size
    yield
    with log.open("rb") as lines:
        lines.seek(before)
        print(lines.read().decode(errors="replace"))


@pytest.fixture(scope="session")
def hello() -> bytes:
    """A WAV that says "Hello world", 1.14 s."""
    return GOLDEN_CLIP.read_bytes()


def hellos(seconds: float) -> bytes:
    """A WAV that says "Hello world" every 1.6 s."""
    speech = np.frombuffer(GOLDEN_CLIP.read_bytes()[44:], np.int16)
    said = np.concatenate([speech, np.zeros(25_600 - len(speech), np.int16)])
    return wav(np.tile(said, round(seconds / 1.6)))
