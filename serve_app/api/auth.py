"""Who may come in: every path but the open ones needs an API key, where keys are set."""

from collections.abc import Collection, Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.api.errors import path_of, refuse
from serve_app.api.keys import KeyRing
from serve_app.api.quota import Quotas
from serve_app.errors import QuotaExceeded, Unauthorized

STATUS_PATHS = frozenset({"/", "/health", "/readyz"})

_SCHEMES = frozenset({b"bearer", b"token"})
"""Of OpenAI's clients and of Deepgram's."""
_AZURE_HEADER = b"api-key"
_AUTHORIZATION = b"authorization"
_READING = frozenset({"GET", "HEAD"})


class KeyGate:
    """ASGI middleware for requests and WebSockets; refuses before anything of a body is read.

    ``open_trees`` are paths that anyone may read with all below them, besides ``STATUS_PATHS``.
    Where keys are set, ``scope["state"]["key_name"]`` says whose a request is, and a key's requests
    at once are bounded by ``quotas``.
    """

    def __init__(
        self, app: ASGIApp, ring: KeyRing, quotas: Quotas, open_trees: Collection[str] = ()
    ) -> None:
        self._app = app
        self._ring = ring
        self._quotas = quotas
        self._open_trees = tuple(open_trees)
        self._header = ring.header.lower().encode()
        # Of a missing and of a wrong key alike: an answer tells nothing about a guess.
        self._unauthorized = (
            f"This needs a valid API key in the header {ring.header} or as 'Authorization: Bearer "
            "KEY'."
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry."""
        if scope["type"] == "lifespan" or self._ring.is_open or self._is_open(scope):
            await self._app(scope, receive, send)
            return
        key = self._ring.find(sent_keys(scope["headers"], self._header))
        if key is None:
            error = Unauthorized(self._unauthorized, field=self._ring.header)
            await refuse(scope, receive, send, error)
            return
        scope["state"]["key_name"] = key.name
        try:
            self._quotas.begin(key.name)
        except QuotaExceeded as exceeded:
            await refuse(scope, receive, send, exceeded)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            self._quotas.end(key.name)

    def _is_open(self, scope: Scope) -> bool:
        if scope["type"] != "http" or scope["method"] not in _READING:
            return False
        path = path_of(scope)
        return path in STATUS_PATHS or any(
            path == tree or path.startswith(f"{tree}/") for tree in self._open_trees
        )


def sent_keys(headers: Iterable[tuple[bytes, bytes]], configured: bytes) -> list[bytes]:
    """What a request sends as its key, best first: at most two readings each of three headers.

    The header ``configured`` (its name in lower case), Azure's ``api-key``, and ``Authorization``
    with the scheme Bearer or Token. Of a header that is sent twice the first counts.
    """
    first: dict[bytes, bytes] = {}
    for name, value in headers:
        first.setdefault(name.lower(), value)
    found: list[bytes] = []
    for name in dict.fromkeys((configured, _AZURE_HEADER, _AUTHORIZATION)):
        value = first.get(name, b"").strip()
        scheme, _, rest = value.partition(b" ")
        if scheme.lower() in _SCHEMES:
            found.append(rest.strip())
        if name != _AUTHORIZATION or name == configured:
            found.append(value)
    return [key for key in found if key]
