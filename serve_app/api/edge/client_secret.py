"""Client secrets: what a server hands to a page so that the page can hold a live session.

A secret names the time at which it expires and is signed with the API key that it was made with, so
every process of the server can check it, and it is worthless once that key is gone. What signs is
the key's SHA-256, since that is all the server knows of a key in a keys file.
"""

import hmac
import time

from serve_app.api.edge.keys_file import NamedKey

_PREFIX = b"ek_"
MOST_BYTES = 100


def client_secret(key: NamedKey | None, expires_at: int) -> str:
    """A secret that stands for ``key`` until ``expires_at``, in Unix seconds.

    Without a key the server is open, and so nobody will look at it.
    """
    stated = b"%s%x_" % (_PREFIX, expires_at)
    return (stated + _signature(stated, b"" if key is None else key.digest)).decode()


def opens(candidate: bytes, key: NamedKey) -> bool:
    """Whether ``candidate`` is a secret that was made with ``key`` and has not expired."""
    stated, separator, signature = candidate.rpartition(b"_")
    if not stated.startswith(_PREFIX) or len(candidate) > MOST_BYTES:
        return False
    if not hmac.compare_digest(signature, _signature(stated + separator, key.digest)):
        return False
    return time.time() < int(stated.removeprefix(_PREFIX), 16)


def _signature(stated: bytes, digest: bytes) -> bytes:
    return hmac.digest(digest, stated, "sha256").hex().encode()
