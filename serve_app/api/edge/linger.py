"""Reads on while a refused client still sends its body, so that it gets to see the answer.

A server that closes a connection with unread bytes resets it, and a client that was still sending
may then lose the answer that it had already received (RFC 9112, section 9.6).
"""

import anyio
from starlette.types import Message, Receive, Scope, Send

MOST_BYTES = 16 * 2**20
"""Of a longer body nothing is read: that would cost more than the answer is worth."""

MOST_SECONDS = 3.0


def lingering(scope: Scope, receive: Receive, send: Send) -> Send:
    """A ``send`` that ends an answer only once the rest of the body has come, within the limits."""
    headers = dict(scope["headers"])
    # A client that asks before it sends a body sends none after a refusal.
    if b"expect" in headers or int(headers.get(b"content-length") or 0) > MOST_BYTES:
        return send

    async def ending(message: Message) -> None:
        if message["type"] != "http.response.body" or message.get("more_body"):
            await send(message)
            return
        await send({**message, "more_body": True})
        with anyio.move_on_after(MOST_SECONDS):
            await _discard(receive)
        await send({"type": "http.response.body", "body": b""})

    return ending


async def _discard(receive: Receive) -> None:
    n_bytes = 0
    while n_bytes <= MOST_BYTES:
        message = await receive()
        if not message.get("more_body"):
            return
        n_bytes += len(message["body"])
