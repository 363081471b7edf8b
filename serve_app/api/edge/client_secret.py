"""Client secrets: what a server hands to a page so that the page can hold a live session.

A secret says when it expires and how its session is to be configured, and is signed with the API
key that it was made with. So every process of the server can check it, and it is worthless once
that key is gone. The key's SHA-256 signs, since a keys file may hold no more of a key.
"""

import base64
import hmac
import json
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from serve_app.api.edge.keys_file import NamedKey, digest_of

_PREFIX = b"ek_"
_EXPIRY = re.compile(rb"ek_([0-9a-f]{1,16})\.")
_SIGNATURE_BYTES = 64

MOST_BYTES = 8_000
"""No header is longer by default."""


def client_secret(key: NamedKey | None, expires_at: int, session: Mapping[str, Any]) -> str:
    """A secret that stands for ``key`` until ``expires_at``, in Unix seconds.

    It may be offered as a subprotocol, so it is a token of RFC 9110, section 5.6.2. Without a key
    the server is open, and nobody will check the signature.
    """
    configuration = base64.urlsafe_b64encode(json.dumps(session).encode()).rstrip(b"=")
    stated = b"%s%x.%s" % (_PREFIX, expires_at, configuration)
    signature = _signature(digest_of(stated), b"" if key is None else key.digest)
    return f"{stated.decode()}.{signature.decode()}"


class ClientSecret(NamedTuple):
    """What may be a secret: the SHA-256 of what it states, and its signature."""

    stated: bytes
    signature: bytes

    def is_made_with(self, key: NamedKey) -> bool:
        """Whether it stands for ``key``."""
        return hmac.compare_digest(self.signature, _signature(self.stated, key.digest))


def read_secret(candidate: bytes) -> ClientSecret | None:
    """``candidate`` as a secret that has not expired; None if it cannot be one."""
    stated, _, signature = candidate.rpartition(b".")
    expiry = _EXPIRY.match(stated)
    if expiry is None or len(signature) != _SIGNATURE_BYTES or len(candidate) > MOST_BYTES:
        return None
    is_valid = time.time() < int(expiry[1], 16)
    return ClientSecret(digest_of(stated), signature) if is_valid else None


def session_of(candidates: Iterable[bytes]) -> dict[str, Any]:
    """How the first secret among ``candidates`` configures its session; {} if there is none."""
    for candidate in candidates:
        if candidate.startswith(_PREFIX) and candidate.count(b".") == 2:
            configuration = candidate.split(b".")[1]
            try:
                session = json.loads(base64.urlsafe_b64decode(configuration + b"=="))
            except (ValueError, RecursionError):
                continue
            if isinstance(session, dict):
                return session
    return {}


def _signature(stated: bytes, digest: bytes) -> bytes:
    return hmac.digest(digest, stated, "sha256").hex().encode()
