"""Which drafts of live sessions are still worth hearing: pure policy over plain data.

A draft is the text of speech that goes on (:class:`serve_app.caller.Live`). Once there is a newer
one, or some seconds have passed, nobody has any use for it. One that has begun is heard to its end.
"""

from collections.abc import Iterable

from serve_app.engine.queue import Job, Stage
from serve_app.engine.request import Request


class Drafts:
    """The latest open draft of each session. Not thread-safe."""

    def __init__(self) -> None:
        self._latest: dict[str, Request] = {}

    def open(self, draft: Request, jobs: Iterable[Job]) -> Request | None:
        """Note a new draft; returns the open one that it replaces, if that has not begun.

        ``jobs`` are those that wait. The new draft keeps the place of the one that it replaces, so
        that a session which sends drafts faster than they are heard has its turn as well.
        """
        live = draft.demand.live
        assert live is not None
        older = self._latest.get(live.session)
        self._latest[live.session] = draft
        if older is None:
            return None
        waiting = _not_begun(older, jobs)
        if older.queued_seconds and not waiting:
            return None
        draft.place = min([older.place, *(job.tag for job in waiting)])
        return older

    def close(self, request: Request) -> None:
        """Forget a request, if it is a draft."""
        live = request.demand.live
        if live is not None and self._latest.get(live.session) is request:
            del self._latest[live.session]

    def expired(self, now: float, jobs: Iterable[Job]) -> list[Request]:
        """The drafts that have waited for longer than they are of use."""
        return [
            draft
            for draft in self._latest.values()
            if draft.expires_at < now and _not_begun(draft, jobs)
        ]


def _not_begun(request: Request, jobs: Iterable[Job]) -> list[Job]:
    return [job for job in jobs if job.request is request and job.step.stage is Stage.ENCODE]
