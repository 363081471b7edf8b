"""What unit tests share."""

import logging
from collections.abc import Callable, Iterator

import pytest

LOGGERS = (
    *("whisper_ox", "faster_whisper", "opentelemetry"),
    *("asyncio", "concurrent.futures", "ray.serve"),
)

Printed = Callable[[], str]


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Iterator[Printed]:
    """What has been logged; loggers are as before once the test is over."""
    kept = [
        (log, log.level, log.propagate, [*log.handlers], [*log.filters])
        for log in map(logging.getLogger, LOGGERS)
    ]
    yield lambda: capsys.readouterr().err
    for log, level, propagate, handlers, filters in kept:
        log.propagate, log.handlers, log.filters = propagate, handlers, filters
        log.setLevel(level)
