"""What metrics and traces record of each batch."""

from collections.abc import Sequence

from serve_app import metrics
from serve_app.engine.queue import Job
from serve_app.tracing.span import Span


def record_batch(
    sink: metrics.Sink, batch: Sequence[Job], slots: int, began: float, ended: float
) -> None:
    """Record a batch that was in the model from ``began`` to ``ended`` (``time.perf_counter()``).

    ``slots``: the most windows that a batch of its stage may have. Takes tens of microseconds.
    """
    stage = batch[0].step.stage.name.lower()
    waits = [began - job.queued_at for job in batch]
    sink.count(metrics.STAGE_BATCHES, stage=stage)
    sink.count(metrics.STAGE_WINDOWS, len(batch), stage=stage)
    sink.count(metrics.STAGE_SLOTS, slots, stage=stage)
    sink.count(metrics.STAGE_BUSY_SECONDS, ended - began, stage=stage)
    sink.count(metrics.STAGE_WAIT_SECONDS, sum(waits), stage=stage)
    sink.observe(metrics.BATCH_WINDOWS, len(batch), stage=stage)
    sink.observe(metrics.BATCH_SECONDS, ended - began, stage=stage)
    for wait in waits:
        sink.observe(metrics.QUEUE_WAIT_SECONDS, wait, stage=stage)
    _trace(batch, stage, began, ended)


def _trace(batch: Sequence[Job], stage: str, began: float, ended: float) -> None:
    """Add the batch to the span of each traced request in it, with the longest wait of its windows.

    The spans of one batch are linked to each other.
    """
    traced = {job.request: job.request.span for job in batch if job.request.span.is_recorded}
    n_requests = len({job.request for job in batch}) if traced else 0
    for request, span in traced.items():
        own = [job for job in batch if job.request is request]
        span.step(f"wait for {stage}", min(job.queued_at for job in own), began)
        beside: list[Span] = [mate for mate in traced.values() if mate is not span]
        numbers = {
            "whisper_ox.batch.windows": len(batch),
            "whisper_ox.batch.requests": n_requests,
            "whisper_ox.batch.own_windows": len(own),
        }
        span.step(stage, began, ended, numbers, beside=beside)
