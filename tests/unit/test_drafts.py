"""Drafts of a live session that wait for the model."""

import math

from serve_app.caller import Live
from serve_app.engine.drafts import Drafts
from serve_app.engine.queue import Job, Stage, Step
from serve_app.engine.request import Demand, Request


def draft(session: str, expires_at: float = math.inf) -> Request:
    return Request(Demand(live=Live(session, 3.0)), expires_at=expires_at)


def queued(request: Request, stage: Stage = Stage.ENCODE, tag: float = 0.0) -> Job:
    request.queue(8.0)
    return Job(request, Step(stage), tag=tag)


def test_a_newer_draft_takes_the_place_of_the_one_that_waits() -> None:
    drafts, older, newer = Drafts(), draft("a"), draft("a")
    assert drafts.open(older, []) is None
    assert drafts.open(newer, [queued(older, tag=-290.0)]) is older
    assert newer.place == -290.0


def test_a_place_is_handed_on_from_draft_to_draft() -> None:
    drafts, first, second, third = Drafts(), draft("a"), draft("a"), draft("a")
    drafts.open(first, [])
    drafts.open(second, [queued(first, tag=-290.0)])
    assert drafts.open(third, []) is second  # it has not even been queued
    assert third.place == -290.0


def test_a_draft_that_has_begun_is_heard_to_its_end() -> None:
    drafts, older = Drafts(), draft("a")
    drafts.open(older, [])
    assert drafts.open(draft("a"), [queued(older, Stage.GENERATE)]) is None


def test_sessions_do_not_replace_each_others_drafts() -> None:
    drafts, other = Drafts(), draft("b")
    drafts.open(other, [])
    assert drafts.open(draft("a"), [queued(other)]) is None


def test_a_closed_draft_replaces_nothing_and_is_replaced_by_nothing() -> None:
    drafts, older = Drafts(), draft("a")
    drafts.open(older, [])
    drafts.close(older)
    assert drafts.open(draft("a"), [queued(older)]) is None


def test_a_draft_expires_while_it_waits_and_not_once_it_has_begun() -> None:
    drafts, waiting, begun = Drafts(), draft("a", expires_at=5.0), draft("b", expires_at=5.0)
    drafts.open(waiting, [])
    drafts.open(begun, [])
    jobs = [queued(waiting), queued(begun, Stage.GENERATE)]
    assert drafts.expired(4.0, jobs) == []
    assert drafts.expired(6.0, jobs) == [waiting]
