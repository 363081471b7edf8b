"""Fixtures of the unit tests."""

import logging
from collections.abc import Callable, Iterator

import pytest

from serve_app.engine.engine import Engine
from serve_app.settings import EngineSettings, EngineTunables

LOGGERS = (
    *("whisper_ox", "faster_whisper", "opentelemetry"),
    *("asyncio", "concurrent.futures", "ray.serve"),
)

Printed = Callable[[], str]


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Iterator[Printed]:
    """The log lines so far. Loggers are restored after the test."""
    kept = [
        (log, log.level, log.propagate, [*log.handlers], [*log.filters])
        for log in map(logging.getLogger, LOGGERS)
    ]
    yield lambda: capsys.readouterr().err
    for log, level, propagate, handlers, filters in kept:
        log.propagate, log.handlers, log.filters = propagate, handlers, filters
        log.setLevel(level)


@pytest.fixture(scope="session")
def tiny_en() -> Iterator[Engine]:
    """An English-only model, loaded once."""
    yield from _engine("tiny.en")


@pytest.fixture(scope="session")
def base() -> Iterator[Engine]:
    """A multilingual model, loaded once."""
    yield from _engine("base")


def _engine(model: str) -> Iterator[Engine]:
    settings = EngineSettings(model=model, device="cpu", whole_machine_worker=False)
    engine = Engine(settings, EngineTunables())
    yield engine
    engine.stop()
