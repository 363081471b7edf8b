"""What is fuzzed: a source of inputs and a reader of ours that must accept or refuse each."""

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from serve_app.api.edge.state import RequestState
from serve_app.api.error_answers import error_response
from serve_app.errors import WhisperOxError

MAX_ANSWER_BYTES = 16 * 1024
"""No refusal grows with what the caller sent."""


@dataclass(frozen=True)
class Target:
    """One reader of callers' bytes.

    ``generate`` gives the input that a random state stands for. ``attempt`` feeds it to the reader
    and names the outcome, such as ``decoded`` or ``400 truncated_audio``; whatever it raises is a
    bug. Both are functions of a module, so that a worker process can import them.
    """

    name: str
    generate: Callable[[Random], bytes]
    attempt: Callable[[bytes], str]

    def input(self, seed: int, number: int) -> bytes:
        """Input ``number`` of a run with ``seed``, whichever inputs came before it."""
        return self.generate(Random(f"{seed}/{self.name}/{number}"))


def refused(error: WhisperOxError) -> str:
    """The outcome's name. Raises ``AssertionError`` for an error that no client should see.

    The answer is rendered as the server does, since what it quotes of the input may break there.
    """
    assert error.status < 500, f"status {error.status}"
    scope = {"type": "http", "path": "/transcribe", "headers": []}
    RequestState.begin(scope)
    answer = error_response(scope, error)
    assert len(answer.body) <= MAX_ANSWER_BYTES, f"an answer of {len(answer.body)} bytes"
    body = json.loads(bytes(answer.body))["error"]
    assert body["message"].isprintable(), "control characters in the message"
    return f"{answer.status_code} {body['code']}"


def coin(payload: bytes, sides: int) -> int:
    """A throw, 0 to ``sides`` - 1, that falls alike whenever this input is tried."""
    return zlib.crc32(payload) % sides
