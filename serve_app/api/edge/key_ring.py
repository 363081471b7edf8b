"""The API keys of the server: one from the environment, and named ones from a mounted secret."""

import hmac
import logging
import os
import re
import stat
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from serve_app.api.edge.client_secret import read_secret
from serve_app.api.edge.keys_file import MAX_FILE_BYTES, OWN_NAME, NamedKey, digest_of, parse_keys
from serve_app.errors import InvalidSetting
from serve_app.settings import ApiKey, QuotaSettings

logger = logging.getLogger("whisper_ox.keys")

LOOK_SECONDS = 1.0
"""Least time between two readings of the keys file, in seconds. A request triggers the reading."""

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~\-]+")
"""RFC 9110, section 5.1: a token."""


class KeyRing:
    """Every valid key. Not thread-safe: it belongs to one event loop.

    The server is open if neither ``WHISPER_API_KEY`` nor a keys file is set. A file that loses its
    last key closes it. Raises ``InvalidSetting`` for keys or a file that cannot be used. A file
    that changes is read again; if that fails, the keys read before stay valid.
    """

    def __init__(
        self,
        api_key: ApiKey,
        quota: QuotaSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not _HEADER_NAME.fullmatch(api_key.header):
            raise InvalidSetting(
                "WHISPER_API_KEY_HEADER is not a valid name of an HTTP header.",
                field="WHISPER_API_KEY_HEADER",
            )
        self.header = api_key.header
        self._quota = quota
        self._clock = clock
        self._path = None if api_key.keys_file is None else api_key.keys_file.absolute()
        self._own = self._keys = _own_key(api_key, quota)
        self._digest = b""
        self._problem = ""
        self._next_look = clock() + LOOK_SECONDS
        if self._path is not None:
            self._read(self._path)
            if not self._keys:
                raise _unusable(self._path, "no key in it")

    @property
    def is_open(self) -> bool:
        """Whether requests need no key."""
        return self._path is None and not self._keys

    def find(
        self, candidates: Iterable[bytes], *, with_client_secrets: bool = False
    ) -> NamedKey | None:
        """The valid key among ``candidates``, the first if there are several; None if there is
        none.

        ``with_client_secrets``: a secret that was made with a valid key stands for that key.

        All digests are compared, each in constant time. So the time that this takes does not tell
        how much of a key was guessed.
        """
        self._look()
        found: NamedKey | None = None
        for candidate in candidates:
            given = digest_of(candidate)
            secret = read_secret(candidate) if with_client_secrets else None
            for key in self._keys:
                is_key = hmac.compare_digest(key.digest, given)
                is_key |= secret is not None and secret.is_made_with(key)
                if is_key and found is None:
                    found = key
        return found

    def _look(self) -> None:
        # Its time and size alone would not show every change, so the file is read.
        now = self._clock()
        if self._path is None or now < self._next_look:
            return
        self._next_look = now + LOOK_SECONDS
        try:
            if self._read(self._path):
                logger.info("the keys file has changed: %d keys are valid", len(self._keys))
                self._problem = ""
        except InvalidSetting as error:
            self._digest = b""  # so that even the old content is read as a change
            if error.message != self._problem:
                logger.error("the keys read before stay valid: %s", error.message)
                self._problem = error.message

    def _read(self, path: Path) -> bool:
        """Read the keys of the file. Returns whether its content is new."""
        content = _content(path)
        digest = digest_of(content)
        if digest == self._digest:
            return False
        self._keys = parse_keys(content, _source(path), self._quota, self._own)
        self._digest = digest
        return True


def _own_key(api_key: ApiKey, quota: QuotaSettings) -> tuple[NamedKey, ...]:
    if not api_key.key:
        return ()
    # A header's value has no outer spaces, and a secret made with `echo` ends with a line feed.
    secret = api_key.key.strip()
    if not secret:
        raise InvalidSetting("WHISPER_API_KEY holds only spaces.", field="WHISPER_API_KEY")
    return (NamedKey(OWN_NAME, digest_of(secret.encode(errors="surrogateescape")), quota),)


def _content(path: Path) -> bytes:
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _unusable(path, "not a file")
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _unusable(path, (error.strerror or str(error)).lower()) from error


def _open_at_once(path: str, flags: int) -> int:
    # A pipe would otherwise wait for a writer.
    return os.open(path, flags | os.O_NONBLOCK)


def _unusable(path: Path, reason: str) -> InvalidSetting:
    return InvalidSetting(f"{_source(path)}: {reason}", field="WHISPER_API_KEYS_FILE")


def _source(path: Path) -> str:
    return f"The keys file {path} (WHISPER_API_KEYS_FILE)"
