"""Does the time of a refusal tell how much of an API key was guessed right?

``python -m loadtest.key_timing [--url http://127.0.0.1:8000 --api-key KEY] [--output FILE]``: posts
wrong keys one at a time over a kept-alive connection, in random order either with all but the last
character right (``late``) or with only the first one wrong (``early``), and compares the two sets
of latencies by the Mann-Whitney U test. Without ``--url`` it starts a server with a key of its own.

Over HTTP the noise of proxies and sockets is around a millisecond, so the same is done with the
key ring in this process, whose noise is below a microsecond, and, to see that this would find a
leak, with a comparison that stops at the first wrong character.
"""

import argparse
import math
import random
import secrets
import string
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np

from loadtest.load import machine
from loadtest.server import start_server
from loadtest.tool import run_tool, tool_parser
from serve_app.api.edge.key_ring import KeyRing
from serve_app.errors import WhisperOxError
from serve_app.settings import ApiKey, QuotaSettings

ALPHABET = string.ascii_letters + string.digits
KEY_LENGTH = 32
WARM_UPS = 200
"""Guesses before those that count."""
SIGNIFICANT = 0.01
"""Below this p-value the times differ: in one of a hundred runs by chance alone."""
TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Guess:
    """A wrong key; ``late``: only its last character is wrong, else only its first."""

    key: str
    late: bool


@dataclass(frozen=True)
class Difference:
    """Mann-Whitney U test of ``late`` against ``early`` times.

    ``p_value`` is two-sided. ``late_slower`` is the share of pairs of one late and one early guess
    in which the late one took longer, 0.5 where neither is slower; ``margin`` is half the width of
    its 95 % interval where neither is.
    """

    p_value: float
    late_slower: float
    margin: float


def guesses(key: str, n: int, seed: int) -> list[Guess]:
    """``n`` wrong keys, as many late ones as early ones, shuffled."""
    chance = random.Random(seed)
    kinds = [number % 2 == 0 for number in range(n)]
    chance.shuffle(kinds)  # before they are made: their places in memory must not tell them apart
    found = []
    for late in kinds:
        at = len(key) - 1 if late else 0
        wrong = chance.choice(ALPHABET.replace(key[at], ""))
        found.append(Guess(key[:at] + wrong + key[at + 1 :], late))
    return found


def mann_whitney(late: Sequence[float], early: Sequence[float]) -> Difference:
    """By the normal approximation with its correction for ties (Mann & Whitney 1947; Lehmann,
    Nonparametrics, 1975, section 1.4); good from about 20 values each.
    """
    both = np.concatenate([np.asarray(late, dtype=np.float64), np.asarray(early, np.float64)])
    _, places, ties = np.unique(both, return_inverse=True, return_counts=True)
    last_ranks = np.cumsum(ties)
    ranks = (last_ranks - (ties - 1) / 2)[places]  # from 1; equal values share their mean rank
    n_late, n_early, n = len(late), len(early), len(both)
    u = float(ranks[:n_late].sum()) - n_late * (n_late + 1) / 2
    tied = float((ties.astype(np.float64) ** 3 - ties).sum()) / (n * (n - 1))
    deviation = math.sqrt(n_late * n_early / 12 * (n + 1 - tied))
    pairs = n_late * n_early
    if deviation == 0:  # all values are equal
        return Difference(1.0, 0.5, 0.0)
    z = (u - pairs / 2) / deviation
    return Difference(math.erfc(abs(z) / math.sqrt(2)), u / pairs, 1.96 * deviation / pairs)


def timed(attempt: Callable[[str], object], tries: Sequence[Guess]) -> list[float]:
    """Seconds of each of ``tries``."""
    found = []
    for guess in tries:
        began = time.perf_counter_ns()
        attempt(guess.key)
        found.append((time.perf_counter_ns() - began) / 1e9)
    return found


def summary(tries: Sequence[Guess], seconds: Sequence[float]) -> dict[str, Any]:
    """Figures of one series as JSON values; times in microseconds."""
    late = [t for guess, t in zip(tries, seconds, strict=True) if guess.late]
    early = [t for guess, t in zip(tries, seconds, strict=True) if not guess.late]
    difference = mann_whitney(late, early)
    return {
        "guesses": len(tries),
        "late_us": _percentiles(late),
        "early_us": _percentiles(early),
        "p_value": difference.p_value,
        "late_slower": difference.late_slower,
        "late_slower_margin": difference.margin,
    }


def over_http(url: str, key: str, header: str, n: int, seed: int) -> dict[str, Any]:
    """The server's refusals; raises ``WhisperOxError`` where it does not take the right key."""
    tries = guesses(key, n, seed)
    statuses: Counter[int] = Counter()
    with httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS) as client:

        def post(guess: str) -> None:
            answer = client.post("/transcribe", headers={header: guess})
            statuses[answer.status_code] += 1

        post(key)
        if statuses[401]:
            raise WhisperOxError(f"{url} does not take the right key; see --api-key and --header")
        timed(post, tries[:WARM_UPS])
        statuses.clear()
        seconds = timed(post, tries)
    return {
        "statuses": {str(status): count for status, count in statuses.items()},
        **summary(tries, seconds),
    }


def in_process(key: str, n: int, seed: int) -> dict[str, Any]:
    """:class:`serve_app.api.edge.key_ring.KeyRing` by itself."""
    ring = KeyRing(ApiKey(key=key), QuotaSettings())
    return _here(lambda guess: ring.find([guess.encode()]), key, n, seed)


def control(key: str, n: int, seed: int) -> dict[str, Any]:
    """What must not be: a comparison whose time grows with the characters guessed right."""

    def stops_early(guess: str) -> bool:
        return all(ours == theirs for ours, theirs in zip(key, guess, strict=True))

    return _here(stops_early, key, n, seed)


def _here(attempt: Callable[[str], object], key: str, n: int, seed: int) -> dict[str, Any]:
    tries = guesses(key, n, seed)
    timed(attempt, tries[:WARM_UPS])
    return summary(tries, timed(attempt, tries))


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    p5, p50, p95 = np.percentile(seconds, [5, 50, 95]) * 1e6
    return {"p5": round(float(p5), 3), "p50": round(float(p50), 3), "p95": round(float(p95), 3)}


def _measure(given: argparse.Namespace) -> dict[str, Any]:
    about = machine()
    if given.url:
        served = over_http(given.url, given.api_key, given.header, given.n, given.seed)
    else:
        key = "".join(secrets.choice(ALPHABET) for _ in range(KEY_LENGTH))
        with start_server("tiny.en", environment={"WHISPER_API_KEY": key}) as server:
            served = over_http(server.url, key, given.header, given.n, given.seed)
    own = "".join(secrets.choice(ALPHABET) for _ in range(KEY_LENGTH))
    return {
        "tool": "key_timing",
        "machine": about,
        "seed": given.seed,
        "http": served,
        "key_ring": in_process(own, given.lookups, given.seed),
        "control": control(own, given.lookups, given.seed),
    }


def _print(document: dict[str, Any]) -> None:
    for name in ("http", "key_ring", "control"):
        found = document[name]
        print(
            f"{name:<9} {found['guesses']:7d} wrong keys, median {found['late_us']['p50']:.3f} us "
            f"(last character wrong) and {found['early_us']['p50']:.3f} us (first), "
            f"p = {found['p_value']:.3g}, late slower in {found['late_slower']:.4f} "
            f"(0.5 +- {found['late_slower_margin']:.4f} by chance)"
        )
    print(f"statuses  {document['http']['statuses']}")


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 1 where the times differ or an answer was not 401, 2 without answers."""
    return run_tool(_parser().parse_args(arguments), _measure, is_passed, _print)


def is_passed(series: dict[str, dict[str, Any]]) -> bool:
    """Every answer a 401, no difference over HTTP or in the key ring, and the control finds one."""
    return (
        set(series["http"]["statuses"]) == {"401"}
        and series["http"]["p_value"] >= SIGNIFICANT
        and series["key_ring"]["p_value"] >= SIGNIFICANT
        and series["control"]["p_value"] < SIGNIFICANT
    )


def _parser() -> argparse.ArgumentParser:
    parser = tool_parser("key_timing", __doc__)
    parser.add_argument("--url", help="a running server, else one is started")
    parser.add_argument("--api-key", default="", help="its right key")
    parser.add_argument("--header", default="X-API-Key", help="the header that carries it")
    parser.add_argument("--n", type=int, default=10_000, help="wrong keys over HTTP")
    parser.add_argument("--lookups", type=int, default=200_000, help="wrong keys in this process")
    parser.add_argument("--seed", type=int, default=0, help="of the order of the guesses")
    return parser


if __name__ == "__main__":
    sys.exit(main())
