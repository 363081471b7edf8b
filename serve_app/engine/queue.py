"""Who goes next, and which windows share a batch: pure policy over plain data.

Nothing here knows threads, a clock, Ray or CTranslate2. :mod:`serve_app.engine.scheduler` is the
mechanism around it, and ``tests/unit/test_queue.py`` checks it by simulation.

A window passes the stages ENCODE -> (DETECT) -> GENERATE -> (ALIGN), and waits for one of them at a
time. Requests are ordered by start-time fair queueing over audio seconds (Goyal, Vin and Cheng
1997). A window's ``tag`` is the virtual time at which its request is due that window. Virtual time
advances by the audio seconds put into service, divided by the number of open requests. The windows
of a long file are therefore tagged ever further in the future, but no tag is overtaken for good,
because virtual time moves past it.

The audio that somebody may be waiting for (:class:`serve_app.caller.Priority`) has a head start. A
dictation chunk passes ahead of everything that a long file has queued or begun, and waits only for
the batches in service. While such chunks come in, long files keep off one worker
(``BatchLimits.bulk_workers``), and their windows are decoded in small batches (``bulk_decode``),
which end soon. The head start does not buy a bigger share: every window is charged, so each request
gets its part in the long run, whatever its priority.
"""

from collections.abc import Generator, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from serve_app.engine.request import Request

HEAD_START_SECONDS = 300.0
"""How far in the past the audio with a head start is due: ten windows of 30 s. A file has usually
begun fewer (its ``batch_size`` is 8), so none of those goes first."""

QUIET_SECONDS = 300.0
"""After this much audio without an interactive window, no other is expected. Two CPU cores take
about 10 s for it, which is longer than people pause."""


class Stage(IntEnum):
    """The stages in the order in which a window passes them."""

    ENCODE = 0
    DETECT = 1
    GENERATE = 2
    ALIGN = 3


QUICK = frozenset({Stage.DETECT, Stage.ALIGN})
"""Stages of a small part of a window's work. Their windows come from one decoder call, so a batch
of them does not grow by waiting."""


@dataclass(frozen=True)
class Step:
    """What a window asks of the model next. Windows share a batch if ``stage`` and ``key`` agree.

    ``payload`` is what :class:`serve_app.engine.backend.WhisperBackend` takes for the stage.
    ``seconds`` is the charge for the step: the audio that an encoding spans, padding included, and
    an amount for every decoding after the first. ``weight`` is proportional to the memory that a
    window takes in a batch of its stage, and the same for all windows of one key.
    """

    stage: Stage
    key: Hashable = ()
    payload: Any = None
    seconds: float = 0.0
    weight: float = 1.0


Hearing = Generator[Step, Any, Any]
"""Yields the steps of one window, receives the result of each, and returns what was heard."""


@dataclass(eq=False)
class Job:
    """One window in service: its place in the order, and the step that it waits for.

    ``seconds`` is the audio that the window spans, ``work_left`` the part of it not yet done.
    ``n_passed`` counts the batches that passed it while it was due. ``is_again``: it is part of an
    earlier window, with which somebody has waited long enough.
    ``hearing`` and ``heard`` are the scheduler's: what yields the steps, and its result.
    """

    request: Request
    step: Step
    tag: float = 0.0
    seconds: float = 0.0
    work_left: float = 0.0
    sequence: int = 0
    queued_at: float = 0.0
    n_passed: int = 0
    is_again: bool = False
    hearing: Hearing | None = None
    heard: "Future[Any]" = field(default_factory=Future)

    @property
    def order(self) -> tuple[float, int]:
        """Jobs with less go first."""
        return (self.tag, self.sequence)

    @property
    def kind(self) -> tuple[Stage, Hashable]:
        """Jobs of one kind share a batch."""
        return (self.step.stage, self.step.key)


@dataclass(frozen=True)
class BatchLimits:
    """How many windows one call takes, by stage, and how far fairness bends for bigger batches.

    While interactive requests come in, bulk work runs on at most ``bulk_workers`` workers (None: on
    all of them), and ``bulk_decode`` replaces ``decode`` for it. Requests
    that are due within ``slack_seconds`` of virtual time share batches, and a decode waits for
    their encodes. ``spread``: idle workers share what is ready. That is right for cores, each of
    which takes only its own part of the work, and wrong for a GPU, where half a batch takes about
    as long as a whole one.
    """

    encode: int = 1
    decode: int = 8
    bulk_decode: int = 8
    bulk_workers: int | None = None
    slack_seconds: float = 30.0
    spread: bool = True

    def of(self, stage: Stage) -> int:
        """The largest batch of ``stage``."""
        return self.encode if stage is Stage.ENCODE else self.decode


@dataclass
class FairQueue:
    """The waiting jobs of all open requests, and the virtual clock that orders them."""

    limits: BatchLimits
    virtual_seconds: float = 0.0
    jobs: list[Job] = field(default_factory=list)
    n_open: int = 0
    _next_sequence: int = 0
    _last_interactive: Request | None = None
    _quiet_seconds: float = 0.0
    _bulk_batches: set[int] = field(default_factory=set)

    def open(self, request: Request) -> None:
        """Admit a request. It is due from now on."""
        request.due_at = self.virtual_seconds
        self.n_open += 1

    def close(self, request: Request) -> list[Job]:
        """Forget an open request. Returns its jobs that were still waiting."""
        request.is_open = False
        self.n_open -= 1
        dropped = [job for job in self.jobs if job.request is request]
        if dropped:
            self.jobs = [job for job in self.jobs if job.request is not request]
        return dropped

    def add(self, job: Job) -> None:
        """Queue a job and charge its step.

        A window keeps the place of its first step. A window that is heard again takes the place of
        its request's latest window, so that newer requests do not pass it.
        """
        if job.step.seconds:
            is_new = not job.seconds
            is_expected = is_new and not job.is_again
            tag = self._charge(job.request, job.step.seconds, is_expected=is_expected)
            if is_new:
                tag = min(tag, job.request.place)
                job.tag = job.request.latest_tag if job.is_again else tag
                job.request.latest_tag = job.tag
            job.seconds = job.work_left = job.step.seconds
        job.n_passed = 0
        job.sequence = self._next_sequence
        self._next_sequence += 1
        self.jobs.append(job)

    def take(self, idle_workers: int = 1) -> list[Job]:
        """Remove and return the batch that a free worker should run now; [] if there is none.

        Its worker calls :meth:`finish` afterwards.

        If the limits say ``spread``, ``idle_workers``, this one included, share what is ready, so
        that none stands idle beside one that took a full batch. Virtual time advances as windows
        enter service.
        """
        jobs = self._allowed()
        if not jobs:
            return []
        contenders = self._contenders(jobs)
        head = self._head(contenders)
        mates = sorted((job for job in contenders if job.kind == head.kind), key=_order)
        sharers = max(1, idle_workers) if self.limits.spread else 1
        batch = mates[: min(self._largest(head), -(-len(mates) // sharers))]
        if self._is_beside_dictation(head):
            self._bulk_batches.add(batch[0].sequence)
        taken = {job.sequence for job in batch}
        due = min(contenders, key=_order)
        due.n_passed += due not in batch
        self.jobs = [job for job in self.jobs if job.sequence not in taken]
        seconds = sum(job.step.seconds for job in batch)
        self.virtual_seconds += seconds / max(1, self.n_open)
        self._note(head, seconds)
        return batch

    def finish(self, batch: list[Job]) -> None:
        """A worker has run ``batch`` and is free again."""
        self._bulk_batches.discard(batch[0].sequence)

    def is_overdue(self, request: Request) -> bool:
        """Whether a request lags so far that newcomers with a head start no longer pass it."""
        return request.due_at <= self.virtual_seconds - HEAD_START_SECONDS

    def _charge(self, request: Request, seconds: float, *, is_expected: bool) -> float:
        """Charge a step to its request; returns the tag of a window that begins with it."""
        earliest = self.virtual_seconds - HEAD_START_SECONDS
        # A request that falls behind its share catches up: newcomers pass ahead of it only until
        # it lags by as much as their head start.
        due_at = max(earliest, request.due_at)
        has_head_start = request.has_head_start
        request.due_at = due_at + seconds
        request.queue(seconds, expected=is_expected)
        return max(earliest, due_at - HEAD_START_SECONDS) if has_head_start else due_at

    def _largest(self, head: Job) -> int:
        limit = self.limits.of(head.step.stage)
        if head.step.stage is not Stage.ENCODE and self._is_beside_dictation(head):
            return min(limit, self.limits.bulk_decode)
        return limit

    def _is_beside_dictation(self, job: Job) -> bool:
        """Whether it is bulk work while interactive requests come in."""
        others_are_expected = (
            self._last_interactive not in (None, job.request)
            and self._quiet_seconds < QUIET_SECONDS
        )
        return others_are_expected and not job.request.is_interactive

    def _allowed(self) -> list[Job]:
        """The waiting jobs, without bulk work that would take the last worker from dictation."""
        most = self.limits.bulk_workers
        if most is None or len(self._bulk_batches) < most:
            return self.jobs
        return [job for job in self.jobs if not self._is_beside_dictation(job)]

    def _note(self, head: Job, seconds: float) -> None:
        """Remember when a request for which somebody waits was last served."""
        if head.request.is_interactive:
            self._last_interactive = head.request
            self._quiet_seconds = 0.0
        else:
            self._quiet_seconds += seconds

    def _contenders(self, jobs: list[Job]) -> list[Job]:
        """The jobs that are due about now: the first one, others of its request, and those within
        slack.
        """
        due = min(jobs, key=_order)
        latest = due.tag + self.limits.slack_seconds
        return [job for job in jobs if job.request is due.request or job.tag <= latest]

    def _head(self, contenders: list[Job]) -> Job:
        """The job whose batch goes next.

        Quick work goes first. Decoder batches grow while windows are encoded, so encoding goes
        before decoding, unless a batch is full or the window that is due has waited enough.
        """
        quick = [job for job in contenders if job.step.stage in QUICK]
        if quick:
            return min(quick, key=_order)
        due = min(contenders, key=_order)
        if due.n_passed >= max(1, self.limits.decode // self.limits.encode):
            return due  # so many encoder calls would have filled its batch
        full = self._full_batch(contenders)
        return full or min(contenders, key=lambda job: (job.step.stage, *job.order))

    def _full_batch(self, contenders: list[Job]) -> Job | None:
        """The first job of the latest decode stage that already fills a whole batch."""
        counts: dict[tuple[Stage, Hashable], int] = {}
        for job in contenders:
            if job.step.stage is not Stage.ENCODE:
                counts[job.kind] = counts.get(job.kind, 0) + 1
        full = [
            job for job in contenders if counts.get(job.kind, 0) >= self.limits.of(job.step.stage)
        ]
        return min(full, key=lambda job: (-job.step.stage, *job.order), default=None)


def _order(job: Job) -> tuple[float, int]:
    return job.order
