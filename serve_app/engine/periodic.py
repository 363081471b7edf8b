"""Work that is done every so often for as long as the process lives."""

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger("whisper_ox.engine")


def do_every(period_seconds: float, task: Callable[[], object], name: str) -> None:
    """:func:`repeat` in a thread of its own called ``name``."""
    job = (task, threading.Event(), period_seconds)
    threading.Thread(target=repeat, args=job, name=name, daemon=True).start()


def repeat(task: Callable[[], object], ended: threading.Event, period_seconds: float) -> None:
    """Do ``task`` now and every so often until ``ended``, whether or not it fails at times."""
    while True:
        try:
            task()
        except Exception:
            logger.exception("%s failed", threading.current_thread().name)
        if ended.wait(period_seconds):
            return
