"""The server's answers for many clips, posted concurrently so that their windows share batches."""

import asyncio
import sys
from collections.abc import Sequence

import httpx

from loadtest.client import TIMEOUT_SECONDS, Reply, transcribe_async
from loadtest.options import contract_options
from loadtest.speech import Clip


def server_replies(
    url: str,
    model: str,
    clips: Sequence[Clip],
    batch_size: int,
    *,
    concurrency: int,
    api_key: str | None = None,
    recover: bool = True,
) -> dict[str, Reply]:
    """Replies by clip id under the contract options; at most ``concurrency`` in flight.

    Without ``recover`` the texts are to be faster-whisper's own.

    Clips are posted as their files are. HTTP errors are replies too; a connection that cannot be
    made or breaks raises ``httpx.TransportError``.
    """
    return asyncio.run(
        _replies(
            url,
            model,
            clips,
            batch_size,
            concurrency=concurrency,
            api_key=api_key,
            recover=recover,
        )
    )


async def _replies(
    url: str,
    model: str,
    clips: Sequence[Clip],
    batch_size: int,
    *,
    concurrency: int,
    api_key: str | None,
    recover: bool,
) -> dict[str, Reply]:
    slots = asyncio.Semaphore(concurrency)
    replies: dict[str, Reply] = {}

    async def post(clip: Clip, client: httpx.AsyncClient) -> None:
        async with slots:
            contract = contract_options(model, clip.language, batch_size)
            options = {**contract, "recover": recover}
            reply = await transcribe_async(url, clip.audio_bytes(), options, client, api_key)
        replies[clip.id] = reply
        print(
            f"server {model} batch {batch_size}: {len(replies)}/{len(clips)} {clip.id} "
            f"HTTP {reply.status} in {reply.seconds:.1f} s",
            file=sys.stderr,
            flush=True,
        )

    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, limits=limits) as client:
        await asyncio.gather(*(post(clip, client) for clip in clips))
    return replies
