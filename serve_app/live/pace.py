"""How fast a client may send audio: nobody listens before it is said."""

MOST_AHEAD_SECONDS = 60.0
"""Audio that may come at once, such as what a client has kept while it was not connected."""

TIMES_REAL_TIME = 10.0
"""How fast audio may come after that. Silence costs little, but as fast as a network brings it, one
client would keep a process busy."""


class Pace:
    """One connection, begun at time ``now``; times are in seconds."""

    def __init__(self, now: float) -> None:
        self._ahead_seconds, self._at = 0.0, now

    def take(self, seconds: float, now: float) -> float:
        """Count audio that has come; returns for how long to take no more."""
        played = (now - self._at) * TIMES_REAL_TIME
        self._ahead_seconds = max(0.0, self._ahead_seconds - played) + seconds
        self._at = now
        return max(0.0, self._ahead_seconds - MOST_AHEAD_SECONDS) / TIMES_REAL_TIME
