"""Tasks of one request that belong together."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Tasks:
    """Tasks that end with the block in which they start, however the block ends."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[Any]] = []

    def start(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Begin ``work``."""
        task = asyncio.ensure_future(work)
        self._tasks.append(task)
        return task

    def __enter__(self) -> "Tasks":
        return self

    def __exit__(self, *exception: object) -> None:
        for task in self._tasks:
            task.cancel()
            # One failure ends the block; asyncio would log those of the other tasks.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
