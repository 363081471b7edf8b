"""One open request as the engine sees it: what it asks for and what it has received so far.

Amounts of work are in *window seconds*: the audio that a window spans, padding included. The
padding costs as much as speech.
"""

import math
from dataclasses import dataclass

from serve_app.caller import Live, Priority
from serve_app.tracing.span import NO_SPAN, Span

WINDOW_SECONDS = 30.0
"""The longest window: Whisper's receptive field (Radford et al. 2022, section 2.2)."""


@dataclass(frozen=True)
class Demand:
    """What a request asks of the engine.

    ``audio_seconds`` is the length of the audio as received. ``work_seconds`` is the work in window
    seconds, as far as it is known before anyone has looked at the audio
    (:mod:`serve_app.engine.work`). ``live`` is None unless it belongs to a live session.
    """

    audio_seconds: float = 0.0
    work_seconds: float = 0.0
    priority: Priority = Priority.AUTO
    live: Live | None = None

    @property
    def is_draft(self) -> bool:
        """Whether it is a draft of speech that goes on."""
        return self.live is not None and self.live.is_draft

    @property
    def is_short(self) -> bool:
        """Whether somebody may be waiting for all of it."""
        return self.priority.covers(self.held_seconds)

    @property
    def held_seconds(self) -> float:
        """Its share of the audio that is held. Short windows take memory as well."""
        return max(self.audio_seconds, self.work_seconds)


NO_DEMAND = Demand()
"""The demand of a request that is never refused for its size."""


@dataclass(eq=False)
class Request:
    """An open request. The scheduler's lock guards it.

    ``due_at`` is the virtual time at which its next window is due (:mod:`serve_app.engine.queue`),
    ``latest_tag`` the one at which the latest that is queued was due. ``place`` is the tag of the
    draft that it replaces: its first window is due no later.
    A draft is of no use after ``expires_at``, in seconds of the scheduler's clock.
    ``expected_seconds`` is all the work that it is thought to bring, ``queued_seconds`` the work of
    the windows queued so far, ``done_seconds`` the part of that which is done.
    """

    demand: Demand = NO_DEMAND
    span: Span = NO_SPAN
    due_at: float = 0.0
    latest_tag: float = 0.0
    place: float = math.inf
    expires_at: float = math.inf
    expected_seconds: float = 0.0
    queued_seconds: float = 0.0
    done_seconds: float = 0.0
    is_open: bool = True

    def __post_init__(self) -> None:
        self.expected_seconds = self.expected_seconds or self.demand.work_seconds

    @property
    def head_start_seconds(self) -> float:
        """How much of its work, in window seconds, passes ahead of bulk work.

        All of a short request does, however many windows its audio is divided into and however
        often they are heard.
        """
        return math.inf if self.demand.is_short else self.demand.priority.head_start_seconds

    @property
    def has_head_start(self) -> bool:
        """Whether its next window passes ahead of bulk work."""
        return self.queued_seconds < self.head_start_seconds

    @property
    def is_interactive(self) -> bool:
        """Whether somebody may be waiting for what it has queued."""
        return self.is_open and 0.0 < self.head_start_seconds >= self.queued_seconds

    @property
    def total_seconds(self) -> float:
        """All its work, in window seconds."""
        return max(self.expected_seconds, self.queued_seconds)

    @property
    def left_seconds(self) -> float:
        """Work still to be done, in window seconds."""
        return max(0.0, self.total_seconds - self.done_seconds)

    @property
    def left_with_head_start(self) -> float:
        """The part of :attr:`left_seconds` that passes ahead of bulk work."""
        return min(self.left_seconds, max(0.0, self.head_start_seconds - self.done_seconds))

    @property
    def audio_left_seconds(self) -> float:
        """Its audio that is not transcribed yet, in seconds, estimated from the work left."""
        total = self.total_seconds
        return self.demand.audio_seconds * self.left_seconds / total if total else 0.0

    def queue(self, seconds: float, *, expected: bool = True) -> None:
        """Count work that is queued now. ``expected`` says whether it was counted before."""
        self.queued_seconds += seconds
        if not expected:
            self.expected_seconds += seconds
