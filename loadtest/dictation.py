"""When the calling speech service posts which length of audio: people who dictate, and strangers.

A person speaks for a while, then thinks. The service buffers ``WHISPER_CHUNK_DURATION_SECONDS`` of
that speech in real time and posts each chunk as soon as it is full, whether or not the one before
has been answered. The rest follows when the person stops. So speech decides when requests arrive,
and answers do not. ``loadtest.locustfile`` and the simulation of ``loadtest.capacity`` both read
arrivals here. There is no clock and no audio here. Times are in seconds since the load began.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from serve_app.errors import WhisperOxError

SERVICE_CHUNK_SECONDS = (0, 5, 10, 15, 30)
"""Values of ``WHISPER_CHUNK_DURATION_SECONDS``; 0 posts the whole dictation at its end."""

SPREAD = 0.5
"""The length of dictations and pauses varies by up to this share, so that people do not act in
step."""

SHORTEST_REST_SECONDS = 0.1
"""A shorter rest at the end of a dictation, in seconds, holds no sound."""


@dataclass(frozen=True)
class Piece:
    """One request: ``seconds`` of audio, posted ``due`` seconds after the load began.

    ``pick`` chooses the speech in it. ``is_final``: it is the rest when the person stopped.
    """

    due: float
    seconds: float
    pick: int
    is_final: bool = False


@dataclass(frozen=True)
class Habit:
    """How people dictate.

    ``chunk_seconds`` is the service's setting, ``speaking_share`` in (0, 1] the share of their time
    that people speak, and ``dictation_seconds`` the mean length of one dictation. Raises
    ``WhisperOxError`` for values that make no sense.
    """

    chunk_seconds: float = 15.0
    speaking_share: float = 0.5
    dictation_seconds: float = 60.0

    def __post_init__(self) -> None:
        if self.chunk_seconds < 0 or self.dictation_seconds <= 0:
            raise WhisperOxError("chunks last 0 s (whole dictations) or more, dictations longer")
        if not 0 < self.speaking_share <= 1:
            raise WhisperOxError(
                f"a speaking share of {self.speaking_share:g} is not in (0, 1]; 0.5 is half of it"
            )

    @property
    def mean_pause_seconds(self) -> float:
        """Seconds between two dictations of one person."""
        return self.dictation_seconds * (1 / self.speaking_share - 1)

    def pieces(self, seed: int, user: int) -> Iterator[Piece]:
        """The requests of one person, without end, in order of ``due``.

        They are the same for the same ``seed`` and ``user``. When the load begins, the person is in
        the middle of a dictation or a pause.
        """
        chance = random.Random(f"{seed}/{user}")
        now = -chance.uniform(0, self.dictation_seconds + self.mean_pause_seconds)
        while True:
            length = self.dictation_seconds * chance.uniform(1 - SPREAD, 1 + SPREAD)
            for piece in self._dictation(now, length, chance):
                if piece.due >= 0:
                    yield piece
            now += length + self.mean_pause_seconds * chance.uniform(1 - SPREAD, 1 + SPREAD)

    def _dictation(self, began: float, length: float, chance: random.Random) -> Iterator[Piece]:
        full = int(length // self.chunk_seconds) if self.chunk_seconds else 0
        for number in range(1, full + 1):
            due = began + number * self.chunk_seconds
            yield Piece(due, self.chunk_seconds, chance.getrandbits(32))
        rest = length - full * self.chunk_seconds
        if rest >= SHORTEST_REST_SECONDS:
            yield Piece(began + length, rest, chance.getrandbits(32), is_final=True)


def strangers(per_minute: float, seconds: float, seed: int) -> Iterator[Piece]:
    """Independent requests of ``seconds``, without end: a Poisson process."""
    chance = random.Random(f"{seed}/strangers")
    now = 0.0
    while True:
        now += chance.expovariate(per_minute / 60.0)
        yield Piece(now, seconds, chance.getrandbits(32))


@dataclass(frozen=True)
class Level:
    """``users`` people who dictate for ``seconds``."""

    users: int
    seconds: float


def parse_levels(text: str) -> list[Level]:
    """Levels such as ``4:60,8:120``, one after the other. Raises ``WhisperOxError`` with the
    form.
    """
    levels = []
    for part in text.split(","):
        users, separator, seconds = part.strip().partition(":")
        try:
            level = Level(int(users), float(seconds))
        except ValueError:
            level = Level(-1, 0.0)
        if not separator or level.users < 0 or not 0 < level.seconds < float("inf"):
            raise WhisperOxError(
                f"{part.strip()!r} is no load level; write USERS:SECONDS, as in 4:60,8:120"
            )
        levels.append(level)
    return levels


def level_at(levels: list[Level], seconds: float) -> int | None:
    """The number of the level that runs ``seconds`` after the start; None when all are over."""
    end = 0.0
    for number, level in enumerate(levels):
        end += level.seconds
        if seconds < end:
            return number
    return None
