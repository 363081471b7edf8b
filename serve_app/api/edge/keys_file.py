"""The keys file: ``name KEY_OR_sha256:<64 hex> [concurrent=N] [audio_seconds_per_minute=N]``.

Each line holds one key. Blank lines are skipped, and a word that starts with ``#`` ends its line.
``docs/keys.md`` explains how to write one. A message names the line of a problem and never quotes
it, because any word of a line may be somebody's key.
"""

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any

from serve_app.errors import InvalidSetting
from serve_app.metrics import NO_KEY
from serve_app.settings import QuotaSettings

OWN_VARIABLE, OWN_NAME = "WHISPER_API_KEY", "default"
"""The name of the key that comes from the environment."""

HASH_PREFIX = "sha256:"
MAX_FILE_BYTES = 1024 * 1024

_NAME = re.compile(r"[A-Za-z0-9._\-]{1,64}")
_SHA256_HEX = re.compile(r"[0-9A-Fa-f]{64}")
_RESERVED = frozenset({OWN_NAME, NO_KEY})
_NO_BOUND = "none"


@dataclass(frozen=True)
class NamedKey:
    """An API key. ``digest`` is its SHA-256, 32 bytes. ``quota`` is what its holder may use."""

    name: str
    digest: bytes = field(repr=False)
    quota: QuotaSettings


def digest_of(key: bytes) -> bytes:
    """SHA-256 of ``key``. Digests are compared instead of keys, because they have equal length."""
    return hashlib.sha256(key).digest()


_EMPTY_KEY = digest_of(b"")


def parse_keys(
    content: bytes, source: str, defaults: QuotaSettings, own: tuple[NamedKey, ...] = ()
) -> tuple[NamedKey, ...]:
    """``own``, which come from the environment, and then the keys of a file.

    ``defaults`` is the quota of a key whose line sets none. Raises ``InvalidSetting`` with
    ``source``, the line and the problem.
    """
    if len(content) > MAX_FILE_BYTES:
        raise InvalidSetting(f"{source}: larger than {MAX_FILE_BYTES} bytes")
    keys = [*own]
    places: dict[str | bytes, str] = {key.digest: OWN_VARIABLE for key in own}  # names and digests
    # splitlines would count a form feed as the end of a line, which editors do not.
    for number, line in enumerate(content.split(b"\n"), start=1):
        try:
            if key := _parse_line(line, defaults):
                for what, value in (("name", key.name), ("key", key.digest)):
                    if value in places:
                        raise _Problem(f"the {what} of {places[value]} again")
                    places[value] = f"line {number}"
                keys.append(key)
        except _Problem as problem:
            raise InvalidSetting(f"{source}, line {number}: {problem}") from None
    return tuple(keys)


class _Problem(Exception):
    """Something is wrong with a line."""


def _parse_line(line: bytes, defaults: QuotaSettings) -> NamedKey | None:
    try:
        words = line.decode("utf-8-sig").split()
    except UnicodeDecodeError:
        raise _Problem("not UTF-8") from None
    comment = next((n for n, word in enumerate(words) if word.startswith("#")), len(words))
    words = words[:comment]
    if not words:
        return None
    if len(words) < 2:
        raise _Problem(f"expected a name, a key or {HASH_PREFIX}HASH, and options")
    name, secret, *options = words
    if not _NAME.fullmatch(name):
        raise _Problem("a name has 1 to 64 letters, digits, dots, dashes and underscores")
    if name in _RESERVED:
        raise _Problem(f"this name is reserved, as are {' and '.join(sorted(_RESERVED))}")
    return NamedKey(name, _parse_secret(secret), _parse_options(options, defaults))


def _parse_secret(secret: str) -> bytes:
    if not secret.startswith(HASH_PREFIX):
        return digest_of(secret.encode())
    written = secret.removeprefix(HASH_PREFIX)
    if not _SHA256_HEX.fullmatch(written):
        raise _Problem(f"{HASH_PREFIX} must be followed by 64 hexadecimal digits")
    digest = bytes.fromhex(written)
    if digest == _EMPTY_KEY:
        raise _Problem("this is the hash of an empty key")
    return digest


def _parse_options(words: list[str], defaults: QuotaSettings) -> QuotaSettings:
    given: dict[str, Any] = {}
    for position, word in enumerate(words, start=1):
        option, equals, value = word.partition("=")
        if option not in _OPTIONS or not equals:
            raise _Problem(
                f"word {position} after the key is not an option; allowed: "
                f"{', '.join(f'{name}=N' for name in _OPTIONS)} (a key with a space in it must be "
                f"written as {HASH_PREFIX}HASH)"
            )
        setting, number, allowed = _OPTIONS[option]
        if setting in given:
            raise _Problem(f"{option} is given twice")
        if value == _NO_BOUND:
            given[setting] = None
        elif re.fullmatch(number, value) and float(value) > 0:
            given[setting] = float(value)
        else:
            raise _Problem(f"{option} must be {allowed}, or {_NO_BOUND}")
    return QuotaSettings.model_validate({**defaults.model_dump(), **given})


_OPTIONS = {
    "concurrent": ("concurrent_requests", r"[0-9]{1,9}", "a whole number of at least 1"),
    "audio_seconds_per_minute": (
        "audio_seconds_per_minute",
        r"[0-9]{1,9}(\.[0-9]{1,9})?",
        "a number above 0",
    ),
}
"""For each option: the field of ``QuotaSettings``, a pattern of its value, and the pattern in
words."""
