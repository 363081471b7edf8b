"""Readers that do to a fuzzer's worker what ours must not. A module of few imports: each worker
that they end is followed by another.
"""

import os
import signal
import threading
from random import Random


def one_byte(rng: Random) -> bytes:
    return rng.randbytes(1)


def die_of_small_ones(payload: bytes) -> str:
    if payload[0] < 128:
        os.kill(os.getpid(), signal.SIGKILL)
    return "read"


def wait_for_ever(payload: bytes) -> str:
    threading.Event().wait()
    return "read"


def stumble(payload: bytes) -> str:
    raise KeyError(payload)
