"""Waiting for what must come true, with an end."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.1
PATIENCE_SECONDS = 60.0
"""On two cores that others use as well."""


def eventually(look: Callable[[], T | None], within_seconds: float = PATIENCE_SECONDS) -> T:
    """The first true value of ``look``; fails with the last one when it takes too long."""
    deadline = time.monotonic() + within_seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, f"still {seen!r} after {within_seconds:g} s"
        time.sleep(POLL_SECONDS)
    return seen
