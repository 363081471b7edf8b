"""Who sends a request, as far as the core must know."""

from starlette.requests import Request

from serve_app.api.request_id import request_id
from serve_app.api.request_span import span_of
from serve_app.caller import Caller, Priority
from serve_app.errors import InvalidRequest

PRIORITY_HEADER = "X-Priority"


def announced_bytes(request: Request) -> int | None:
    """The body's size as its head says, None where it comes in chunks."""
    claimed = request.headers.get("Content-Length")
    return None if claimed is None else int(claimed)  # a number: check_head has seen it


def caller_of(request: Request) -> Caller:
    """The caller of an authenticated request. Raises ``InvalidRequest`` for an unknown priority."""
    sent = request.headers.get(PRIORITY_HEADER, Priority.AUTO.value).strip().lower()
    if sent not in {priority.value for priority in Priority}:
        raise InvalidRequest(
            f"The header {PRIORITY_HEADER} is {sent[:40]!r}; allowed: "
            f"{', '.join(priority.value for priority in Priority)}.",
            field=PRIORITY_HEADER,
        )
    return Caller(
        request_id=request_id(request),
        key=getattr(request.state, "key_name", ""),
        priority=Priority(sent),
        traceparent=span_of(request).traceparent,
    )
