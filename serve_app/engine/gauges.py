"""What an engine is and holds now, measured every few seconds."""

import psutil

from serve_app.engine.engine import Engine
from serve_app.engine.periodic import do_every
from serve_app.metrics import catalogue as metrics

PERIOD_SECONDS = 2.0


def keep_gauges(engine: Engine) -> None:
    """Say once that a replica with this engine serves, and measure it from now on in a thread.

    Gauges that stood still after a failure would go on to say what is no longer so.
    """
    engine.sink.count(metrics.REPLICA_STARTS)
    process = psutil.Process()
    do_every(PERIOD_SECONDS, lambda: measure(engine, process), "measuring the gauges")


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
