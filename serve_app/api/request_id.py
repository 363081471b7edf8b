"""The id that ties a request to its log lines and its error body.

Ray Serve, with either proxy, makes an ``X-Request-ID`` where the caller sent none and returns it in
the response; here it is read.
"""

import re
import uuid

from starlette.requests import Request
from starlette.types import Scope

HEADER = "X-Request-ID"

_SAFE = re.compile(r"[A-Za-z0-9._:\-]{1,128}")


def assign_request_id(scope: Scope) -> str:
    """Keep the caller's ``X-Request-ID`` where it is harmless in a log, else make one."""
    sent = dict(scope["headers"]).get(HEADER.lower().encode(), b"").decode("latin-1")
    chosen = sent if _SAFE.fullmatch(sent) else uuid.uuid4().hex
    scope.setdefault("state", {})["request_id"] = chosen
    return chosen


def request_id(request: Request) -> str:
    """The id that :class:`serve_app.api.edge.Edge` assigned."""
    assigned: str = request.state.request_id
    return assigned
