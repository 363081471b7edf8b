"""Checks who may use the server: if API keys are set, all paths except the open ones need one."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from urllib.parse import parse_qsl

from starlette.types import Scope

from serve_app.api.dialects import (
    KEY_HEADERS,
    KEY_PARAMETERS,
    KEY_SCHEMES,
    KEY_SUBPROTOCOL_PREFIX,
)
from serve_app.api.edge.key_ring import KeyRing
from serve_app.api.edge.quotas import Quotas
from serve_app.api.edge.state import PROBES, RequestState
from serve_app.errors import Unauthorized

OPEN_PATHS = PROBES | {"/"}

_HEADERS = tuple(name.encode() for name in KEY_HEADERS)
_SCHEMES = tuple(scheme.encode() for scheme in KEY_SCHEMES)
_AUTHORIZATION = b"authorization"
_SUBPROTOCOLS = b"sec-websocket-protocol"
_SUBPROTOCOL_PREFIX = KEY_SUBPROTOCOL_PREFIX.encode()

_READING = frozenset({"GET", "HEAD"})

MOST_OFFERED = 4
"""Subprotocols that are looked at. OpenAI's client offers three."""


class KeyCheck:
    """Finds the API key of a request and applies its quota.

    Everyone may read ``OPEN_PATHS``, and ``open_trees`` with everything below them.
    """

    def __init__(self, ring: KeyRing, quotas: Quotas, open_trees: Collection[str] = ()) -> None:
        self._ring = ring
        self._quotas = quotas
        self._open_trees = tuple(open_trees)
        self._header = ring.header.lower().encode()
        # The same for a missing and a wrong key: an answer must not tell anything about a guess.
        self._message = (
            f"This needs a valid API key in the header {ring.header} or as 'Authorization: Bearer "
            "KEY'."
        )

    @contextmanager
    def holding(self, scope: Scope, state: RequestState) -> Iterator[None]:
        """Admit a request for the length of the block, and note its key in ``state``.

        Raises ``Unauthorized``, and ``QuotaExceeded`` while the key has enough requests running.
        """
        if self._ring.is_open or self._is_open(scope, state.path):
            yield
            return
        is_live = scope["type"] == "websocket"
        key = self._ring.find(sent_keys(scope, self._header), with_client_secrets=is_live)
        if key is None:
            raise Unauthorized(self._message, field=self._ring.header)
        state.key = key
        with self._quotas.running(key):
            yield

    def _is_open(self, scope: Scope, path: str) -> bool:
        if scope["type"] != "http" or scope["method"] not in _READING:
            return False
        return path in OPEN_PATHS or any(
            path == tree or path.startswith(f"{tree}/") for tree in self._open_trees
        )


def sent_keys(scope: Scope, configured: bytes) -> list[bytes]:
    """What a request sends as its key, best guess first: at most two readings of each header.

    ``configured`` is the lower-case name of the operator's header, which is read in addition to
    ``KEY_HEADERS``, ``KEY_PARAMETERS`` and the subprotocols that a WebSocket offers. If one is sent
    twice, only the first counts.
    """
    first: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        first.setdefault(name.lower(), value)
    found: list[bytes] = []
    for name in dict.fromkeys((configured, *_HEADERS)):
        value = first.get(name, b"").strip()
        scheme, _, rest = value.partition(b" ")
        if scheme.lower() in _SCHEMES:
            found.append(rest.strip())
        if name != _AUTHORIZATION or name == configured:
            found.append(value)
    # Latin-1 has a character for each byte: parse_qsl itself takes nothing but ASCII as bytes.
    query = scope["query_string"].decode("latin-1")
    for parameter in KEY_PARAMETERS:
        if parameter in query.lower():
            pairs = parse_qsl(query, encoding="latin-1")
            values = [value for name, value in pairs if name.lower() == parameter]
            found += [value.encode("latin-1") for value in values[:1]]
    found += _offered(first.get(_SUBPROTOCOLS, b""))
    return [key for key in found if key]


def _offered(subprotocols: bytes) -> list[bytes]:
    """What a WebSocket's handshake offers (RFC 6455, section 11.3.4): so a page sends its key."""
    offered = (one.strip() for one in subprotocols.split(b",")[:MOST_OFFERED])
    return [one.removeprefix(_SUBPROTOCOL_PREFIX) for one in offered]
