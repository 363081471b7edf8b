"""Waits for conditions, with a time limit."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.1
PATIENCE_SECONDS = 60.0
"""In seconds, on two busy cores."""


def eventually(look: Callable[[], T | None], within_seconds: float = PATIENCE_SECONDS) -> T:
    """The first true value of ``look``. Fails with the last value if it takes too long."""
    deadline = time.monotonic() + within_seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, f"still {seen!r} after {within_seconds:g} s"
        time.sleep(POLL_SECONDS)
    return seen
