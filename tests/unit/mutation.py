"""Ways to break bytes, as transfers, cut uploads, careless writers and attackers do."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Literal

MAX_BYTES = 256 * 1024
"""Longest mutant: repeated pieces show what costs more than its length is worth."""

_HEAD_BYTES = 600
"""Half of all changes fall in here, where most formats keep what they say about themselves."""

EDGES = tuple(
    sorted(
        {0, 1, 2, 255, 256, 65_535, 65_536, 10**6}
        | {2**n + d for n in (7, 15, 16, 24, 31, 32, 48, 63, 64) for d in (-1, 0, 1)}
    )
)
"""Integers at which counts, sizes and signs go wrong."""


def mutate(
    rng: Random, payload: bytes, others: Sequence[bytes] = (), tokens: Sequence[bytes] = ()
) -> bytes:
    """``payload`` broken in one to about six ways.

    ``others``: files that pieces may be taken from. ``tokens``: words of the format.
    """
    mutant = payload
    while True:
        mutant = rng.choice(_WAYS)(rng, mutant, others, tokens)[:MAX_BYTES]
        if rng.random() < 0.4:
            return mutant


def place(rng: Random, payload: bytes) -> int:
    """An offset into ``payload`` or its end, in the head as often as anywhere."""
    end = len(payload)
    return rng.randint(0, min(end, _HEAD_BYTES) if rng.random() < 0.5 else end)


def _span(rng: Random, payload: bytes) -> tuple[int, int]:
    start = place(rng, payload)
    return start, min(len(payload), start + int(2 ** rng.uniform(0, 14)))


def _flip(rng: Random, payload: bytes, *_: Sequence[bytes]) -> bytes:
    mutant = bytearray(payload or b"\0")
    for _flip in range(rng.randint(1, 8)):
        mutant[min(place(rng, payload), len(mutant) - 1)] ^= 1 << rng.randrange(8)
    return bytes(mutant)


def _overwrite(rng: Random, payload: bytes, *_: Sequence[bytes]) -> bytes:
    start = place(rng, payload)
    noise = rng.randbytes(rng.randint(1, 64))
    return payload[:start] + noise + payload[start + len(noise) :]


def _edge(rng: Random, payload: bytes, *_: Sequence[bytes]) -> bytes:
    width = rng.choice((1, 2, 4, 4, 4, 8))
    number = (rng.choice(EDGES) * rng.choice((1, 1, 1, -1))) % (1 << 8 * width)
    start = place(rng, payload)
    if rng.random() < 0.5:
        start -= start % 4
    field = number.to_bytes(width, _order(rng))
    return payload[:start] + field + payload[start + width :]


def _order(rng: Random) -> Literal["big", "little"]:
    return "big" if rng.random() < 0.5 else "little"


def _nudge(rng: Random, payload: bytes, *_: Sequence[bytes]) -> bytes:
    """A 32-bit field that is off by a little, in either byte order."""
    start, order = place(rng, payload), _order(rng)
    value = int.from_bytes(payload[start : start + 4], order) + rng.randint(-16, 16)
    return payload[:start] + (value % 2**32).to_bytes(4, order) + payload[start + 4 :]


def _truncate(rng: Random, payload: bytes, *_: Sequence[bytes]) -> bytes:
    return payload[: place(rng, payload)]


def _delete(rng: Random, payload: bytes, *_: Sequence[bytes]) -> bytes:
    start, end = _span(rng, payload)
    return payload[:start] + payload[end:]


def _repeat(rng: Random, payload: bytes, *_: Sequence[bytes]) -> bytes:
    start, end = _span(rng, payload)
    times = int(2 ** rng.uniform(1, 12))
    piece = payload[start:end]
    return payload[:start] + piece * min(times, MAX_BYTES // max(1, len(piece))) + payload[end:]


def _fill(rng: Random, payload: bytes, *_: Sequence[bytes]) -> bytes:
    start, end = _span(rng, payload)
    return payload[:start] + rng.choice((b"\0", b"\xff", b" ")) * (end - start) + payload[end:]


def _insert(
    rng: Random, payload: bytes, _others: Sequence[bytes], tokens: Sequence[bytes]
) -> bytes:
    start = place(rng, payload)
    word = rng.choice(tokens) if tokens else rng.randbytes(rng.randint(1, 16))
    return payload[:start] + word + payload[start + len(word) * rng.randint(0, 1) :]


def _splice(
    rng: Random, payload: bytes, others: Sequence[bytes], _tokens: Sequence[bytes]
) -> bytes:
    other = rng.choice(others) if others else payload
    start, end = _span(rng, other)
    at = place(rng, payload)
    if rng.random() < 0.5:
        return payload[:at] + other[start:]
    return payload[:at] + other[start:end] + payload[at:]


def _swap(rng: Random, payload: bytes, *_: Sequence[bytes]) -> bytes:
    (a, b), (c, d) = sorted((_span(rng, payload), _span(rng, payload)))
    c, d = max(b, c), max(b, d)
    return payload[:a] + payload[c:d] + payload[b:c] + payload[a:b] + payload[d:]


_Way = Callable[[Random, bytes, Sequence[bytes], Sequence[bytes]], bytes]

_WAYS: tuple[_Way, ...] = (
    _flip,
    _flip,
    _overwrite,
    _edge,
    _edge,
    _nudge,
    _truncate,
    _delete,
    _repeat,
    _fill,
    _insert,
    _insert,
    _splice,
    _swap,
)
