"""What a model process does from time to time: it measures itself and frees unused memory."""

import ctypes
import logging
import threading
from collections.abc import Callable

import psutil

from serve_app import metrics
from serve_app.engine.engine import Engine

logger = logging.getLogger("whisper_ox.engine")

GAUGES_SECONDS = 2.0
TRIM_SECONDS = 60.0


def keep_up(engine: Engine) -> None:
    """Do all of this from now on, in threads, as long as the process lives."""
    engine.sink.count(metrics.REPLICA_STARTS)
    process = psutil.Process()
    # Gauges that stood still after a failure would go on to say what is no longer true.
    do_every(GAUGES_SECONDS, lambda: measure(engine, process), "measuring the gauges")
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # the C library is glibc
        do_every(TRIM_SECONDS, lambda: trim_heap(trim), "trimming the heap")


def measure(engine: Engine, process: psutil.Process) -> None:
    """Set every gauge of the engine and of its process."""
    sink = engine.sink
    sink.set(
        metrics.MODEL_INFO,
        1,
        model=engine.facts.name,
        device=engine.device,
        compute_type=engine.compute_type,
    )
    sink.set(metrics.MEMORY_BYTES, process.memory_info().rss)
    sink.set(metrics.QUEUED_WINDOWS, engine.scheduler.queued_windows)
    load = engine.scheduler.load()
    sink.set(metrics.OPEN_REQUESTS, load.open_requests)
    sink.set(metrics.QUEUED_AUDIO_SECONDS, load.queued_audio_seconds)
    sink.set(metrics.FULL_LOAD_RTFX, load.rtfx)
    sink.set(metrics.ESTIMATED_WAIT_SECONDS, load.wait_seconds, length="short")
    sink.set(metrics.ESTIMATED_WAIT_SECONDS, load.bulk_wait_seconds, length="bulk")


def trim_heap(malloc_trim: Callable[[int], int]) -> None:
    """Return the pages of unused heap to the system. A page that is needed again costs a fault.

    The profiles keep CTranslate2's working memory in one glibc heap (``GLIBC_TUNABLES``). Blocks of
    tens of MB come and go there in any order. The heap grows whenever none of its holes is large
    enough: by two thirds within the first quarter of an hour of full load.
    """
    malloc_trim(0)


def do_every(period_seconds: float, task: Callable[[], object], name: str) -> None:
    """Run :func:`repeat` in a thread of its own called ``name``."""
    job = (task, threading.Event(), period_seconds)
    threading.Thread(target=repeat, args=job, name=name, daemon=True).start()


def repeat(task: Callable[[], object], ended: threading.Event, period_seconds: float) -> None:
    """Do ``task`` now and once per period until ``ended``, even if it fails sometimes."""
    while True:
        try:
            task()
        except Exception:
            logger.exception("%s failed", threading.current_thread().name)
        if ended.wait(period_seconds):
            return
