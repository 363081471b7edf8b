"""Who goes next and which windows share a batch: pure functions over plain data.

No threads, no clock, no Ray, no CTranslate2: :mod:`serve_app.engine.scheduler` is the mechanism,
and ``tests/unit/test_policy.py`` checks this file by simulation.

A window passes the stages ENCODE -> (DETECT) -> GENERATE -> (ALIGN). Each stage of each window is
one :class:`Item`. Order between requests is start-time fair queueing over audio seconds (Goyal, Vin
and Cheng 1997): an item's ``tag`` is the virtual time at which its request is due this window, and
virtual time advances by the audio seconds put into service, divided by the weight of the active
requests. So a long file's windows carry tags ever further in the future, and no tag is overtaken
for good because time moves past it. The first minute of a request has a credit: a dictation chunk
passes ahead of everything that a long file has queued or begun, and waits for no more than the
batches that are being served. While such chunks come in, windows of long files are decoded in small
batches (``BatchLimits.bulk_decode``), so that those are soon done.

A caller may say otherwise: with ``Priority.BULK`` nothing of a request has the credit, with
``Priority.INTERACTIVE`` all of it has. The credit is a head start and no bigger share: every window
is charged, so that over time each request gets its part whatever the others claim to be.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from enum import IntEnum

from serve_app.core import Priority

INTERACTIVE_SECONDS = 60.0
"""The audio at the start of a request that somebody may be waiting for."""

CREDIT_SECONDS = 300.0
"""How far in the past that audio is due: ten windows, more than a file usually has begun (its
``batch_size``, 8), so that none of those goes first."""

QUIET_SECONDS = 300.0
"""Audio put into service since the last chunk of that kind after which none is expected: ten
windows, about 10 s on two CPU cores, longer than people pause."""


class Stage(IntEnum):
    """Stages in the order in which a window passes them."""

    ENCODE = 0
    DETECT = 1
    GENERATE = 2
    ALIGN = 3


@dataclass(frozen=True)
class Item:
    """One stage of one window of ``seconds``. Items batch iff ``stage`` and ``key`` are equal."""

    sequence: int
    request: int
    stage: Stage
    key: Hashable
    tag: float
    seconds: float


@dataclass(frozen=True)
class BatchLimits:
    """How many windows one call takes, by stage; and how far fairness bends for bigger batches.

    ``bulk_decode``: instead of ``decode`` for bulk while short requests come in.
    ``slack_seconds``: requests that are due within this many virtual seconds of each other share
    batches, and a decode waits for their encodes. Others wait: a bigger batch takes longer.
    """

    encode: int = 1
    decode: int = 8
    bulk_decode: int = 8
    slack_seconds: float = 15.0

    def of(self, stage: Stage) -> int:
        """The largest batch of ``stage``."""
        return self.encode if stage is Stage.ENCODE else self.decode


@dataclass
class _Account:
    """What one open request has been promised so far."""

    due: float
    weight: float
    priority: Priority
    charged_seconds: float = 0.0

    @property
    def has_credit(self) -> bool:
        """Whether its next window does."""
        if self.priority is Priority.AUTO:
            return self.charged_seconds < INTERACTIVE_SECONDS
        return self.priority is Priority.INTERACTIVE

    @property
    def is_bulk(self) -> bool:
        """Whether it is past the audio for which somebody may be waiting."""
        if self.priority is Priority.AUTO:
            return self.charged_seconds > INTERACTIVE_SECONDS
        return self.priority is Priority.BULK


@dataclass
class FairQueue:
    """The pending items of all open requests, and the virtual clock that orders them."""

    limits: BatchLimits
    virtual_seconds: float = 0.0
    items: list[Item] = field(default_factory=list)
    _accounts: dict[int, _Account] = field(default_factory=dict)
    _next_sequence: int = 0
    _last_interactive: int | None = None
    _quiet_seconds: float = 0.0

    def open(self, request: int, weight: float = 1.0, priority: Priority = Priority.AUTO) -> None:
        """Admit a request; it is due from now on. Twice the weight: twice the service."""
        self._accounts[request] = _Account(self.virtual_seconds, weight, priority)

    def close(self, request: int) -> list[Item]:
        """Forget a request; returns its items that were still waiting."""
        self._accounts.pop(request, None)
        dropped = [item for item in self.items if item.request == request]
        if dropped:
            self.items = [item for item in self.items if item.request != request]
        return dropped

    def charge(self, request: int, audio_seconds: float) -> float:
        """Book one window of ``audio_seconds`` on a request; returns the tag of all its stages."""
        account = self._accounts[request]
        earliest = self.virtual_seconds - CREDIT_SECONDS
        # A request that falls behind its share catches up: newcomers pass ahead of it only until
        # it lags by as much as their credit.
        due = max(earliest, account.due)
        has_credit = account.has_credit
        account.due = due + audio_seconds / account.weight
        account.charged_seconds += audio_seconds
        return max(earliest, due - CREDIT_SECONDS) if has_credit else due

    def add(self, request: int, stage: Stage, key: Hashable, tag: float, seconds: float) -> Item:
        """Queue one stage of a window of ``seconds`` of audio."""
        item = Item(self._next_sequence, request, stage, key, tag, seconds)
        self._next_sequence += 1
        self.items.append(item)
        return item

    def take(self, idle_workers: int = 1) -> list[Item]:
        """Remove and return the batch that a free worker should run now; [] if nothing waits.

        ``idle_workers`` (this one included) share what is ready, so that no worker stands idle
        beside one that took a full batch. Virtual time advances as windows enter service.
        """
        if not self.items:
            return []
        contenders = self._contenders()
        head = self._head(contenders)
        mates = sorted(
            (item for item in contenders if item.stage is head.stage and item.key == head.key),
            key=_order,
        )
        share = -(-len(mates) // max(1, idle_workers))
        batch = mates[: min(self._largest(head), share)]
        taken = {item.sequence for item in batch}
        self.items = [item for item in self.items if item.sequence not in taken]
        audio_seconds = sum(item.seconds for item in batch)
        if head.stage is Stage.ENCODE:
            weights = sum(account.weight for account in self._accounts.values())
            self.virtual_seconds += audio_seconds / max(1.0, weights)
        self._note(head, audio_seconds)
        return batch

    def is_interactive(self, request: int) -> bool:
        """Whether somebody may be waiting for this request; false once it is closed."""
        account = self._accounts.get(request)
        return account is not None and not account.is_bulk

    def is_overdue(self, request: int) -> bool:
        """Whether a request lags so far that newcomers with credit no longer pass it."""
        account = self._accounts[request]
        return account.due <= self.virtual_seconds - CREDIT_SECONDS

    @property
    def only_bulk_waits(self) -> bool:
        """Whether all that waits is of long files and other bulk requests."""
        return all(self._accounts[item.request].is_bulk for item in self.items)

    def _largest(self, head: Item) -> int:
        limit = self.limits.of(head.stage)
        others_expected = (
            self._last_interactive not in (None, head.request)
            and self._quiet_seconds < QUIET_SECONDS
        )
        if head.stage is Stage.ENCODE or self.is_interactive(head.request) or not others_expected:
            return limit
        return min(limit, self.limits.bulk_decode)

    def _note(self, head: Item, audio_seconds: float) -> None:
        """Remember when a request that somebody waits for was last served."""
        if self.is_interactive(head.request):
            self._last_interactive = head.request
            self._quiet_seconds = 0.0
        elif head.stage is Stage.ENCODE:
            self._quiet_seconds += audio_seconds

    def _contenders(self) -> list[Item]:
        """What is due about now: the first item, its request's others, and those within slack."""
        due = min(self.items, key=_order)
        latest = due.tag + self.limits.slack_seconds
        return [item for item in self.items if item.request == due.request or item.tag <= latest]

    def _head(self, contenders: list[Item]) -> Item:
        """The item whose batch goes next.

        Batches of later stages grow while earlier stages run, so the earliest stage goes first,
        unless a later one already fills a batch.
        """
        full = self._full_batch(contenders)
        if full is not None:
            return full
        return min(contenders, key=lambda item: (item.stage, *_order(item)))

    def _full_batch(self, contenders: list[Item]) -> Item | None:
        """The first item of the latest decode stage that already fills a whole batch."""
        counts: dict[tuple[Stage, Hashable], int] = {}
        for item in contenders:
            if item.stage is not Stage.ENCODE:
                kind = (item.stage, item.key)
                counts[kind] = counts.get(kind, 0) + 1
        full = [
            item
            for item in contenders
            if counts.get((item.stage, item.key), 0) >= self.limits.of(item.stage)
        ]
        return min(full, key=lambda item: (-item.stage, *_order(item)), default=None)


def _order(item: Item) -> tuple[float, int]:
    return (item.tag, item.sequence)
