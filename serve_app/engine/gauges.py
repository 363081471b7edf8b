"""What an engine is and holds now, measured every few seconds."""

import logging
import threading
from collections.abc import Callable

import psutil

from serve_app.engine.engine import Engine
from serve_app.metrics import catalogue as metrics

logger = logging.getLogger("whisper_ox.engine")

PERIOD_SECONDS = 2.0


def keep_gauges(engine: Engine) -> None:
    """Say once that a replica with this engine serves, and measure it from now on in a thread."""
    engine.sink.count(metrics.REPLICA_STARTS)
    process, never = psutil.Process(), threading.Event()
    job = (lambda: measure(engine, process), never, PERIOD_SECONDS)
    threading.Thread(target=keep_at, args=job, name="measuring", daemon=True).start()


def keep_at(task: Callable[[], None], ended: threading.Event, period_seconds: float) -> None:
    """Do ``task`` every so often until ``ended``, whether or not it fails at times.

    Gauges that stood still would go on to say what is no longer so.
    """
    while True:
        try:
            task()
        except Exception:
            logger.exception("the gauges were not measured")
        if ended.wait(period_seconds):
            return


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
