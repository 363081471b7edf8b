"""What the metrics keep of each batch."""

from collections.abc import Sequence

from serve_app.metrics import catalogue as metrics


def record_batch(
    sink: metrics.Sink, stage: str, waits: Sequence[float], seconds: float, slots: int
) -> None:
    """Some tens of microseconds per batch of ``stage``, which took ``seconds`` in the model.

    ``waits``: how many seconds each of its windows waited for it. ``slots``: the most windows that
    a batch of this stage may have.
    """
    sink.count(metrics.STAGE_BATCHES, stage=stage)
    sink.count(metrics.STAGE_WINDOWS, len(waits), stage=stage)
    sink.count(metrics.STAGE_SLOTS, slots, stage=stage)
    sink.count(metrics.STAGE_BUSY_SECONDS, seconds, stage=stage)
    sink.count(metrics.STAGE_WAIT_SECONDS, sum(waits), stage=stage)
    sink.observe(metrics.BATCH_WINDOWS, len(waits), stage=stage)
    sink.observe(metrics.BATCH_SECONDS, seconds, stage=stage)
    for wait in waits:
        sink.observe(metrics.QUEUE_WAIT_SECONDS, wait, stage=stage)
