"""Bodies that are the audio itself, without a form around it."""

from collections.abc import Callable

from starlette.requests import ClientDisconnect, Request

from serve_app.api.sources.form import HEAD_BYTES
from serve_app.errors import InvalidRequest

OnHead = Callable[[memoryview], None]
"""Gets the first ``HEAD_BYTES`` of the audio while the rest is arriving, and may raise."""


async def read_raw_body(request: Request, on_head: OnHead) -> bytearray:
    """Read a body. Raises ``InvalidRequest`` if it breaks off, and what ``on_head`` raises."""
    audio = bytearray()
    try:
        async for chunk in request.stream():
            add(audio, chunk, on_head)
    except ClientDisconnect as error:
        raise InvalidRequest(
            "The connection closed before the whole body came.", code="incomplete_body"
        ) from error
    return audio


def add(audio: bytearray, chunk: bytes, on_head: OnHead) -> None:
    """Add the next bytes. Once there are enough, show the first of all to ``on_head``."""
    had = len(audio)
    audio += chunk
    if had < HEAD_BYTES <= len(audio):
        on_head(memoryview(bytes(audio[:HEAD_BYTES])))
