"""What the protocol adapters see of the engine. They know neither Ray nor CTranslate2."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from serve_app.audio.clip import AudioClip
from serve_app.caller import Caller
from serve_app.options import ModelFacts, TranscribeOptions, VadParameters
from serve_app.transcript import Segment, Stretch, Tell, Transcript


@dataclass(frozen=True)
class LiveLoad:
    """What the model's replicas know of live sessions.

    ``sessions`` are the ids of those that have asked for something lately, through whichever
    process. People in about ``capacity`` of them may speak at once; infinity while nobody knows.
    """

    sessions: frozenset[str] = frozenset()
    capacity: float = math.inf


class SpeechService(Protocol):
    """Audio and options in, transcript out."""

    async def admit(self, caller: Caller, body_bytes: int | None) -> None:
        """Ask whether audio may come, before its body is read.

        ``body_bytes`` is what the request's head announces, None if it announces nothing. Raises
        ``NotReady`` while no replica serves and ``Overloaded`` while none would queue such a
        request.
        """

    async def transcribe(
        self,
        clip: AudioClip,
        options: TranscribeOptions,
        caller: Caller,
        tell: Tell | None = None,
    ) -> Transcript:
        """Transcribe one clip; ``tell`` gets each of its segments while the rest is being heard.

        Raises ``WhisperOxError``: ``InvalidOption`` where options do not fit the model,
        ``NotReady`` while no replica serves, ``Overloaded`` when the queue is full. Cancelling the
        call frees the request's queued windows.
        """

    async def detect_speech(
        self, clip: AudioClip, parameters: VadParameters, caller: Caller
    ) -> list[Stretch]:
        """Where somebody speaks in one clip: stretches that are ascending and apart.

        Raises ``NotReady`` while no replica serves. Cancelling the call ends the search.
        """

    async def live_load(self) -> LiveLoad:
        """How many live sessions there are and may be. Raises ``NotReady``."""

    async def model(self) -> ModelFacts:
        """The model being served. Raises ``NotReady`` until a replica has transcribed a clip."""


async def as_told(
    work: Callable[[Tell], Coroutine[Any, Any, Transcript]],
) -> AsyncIterator[Segment | Transcript]:
    """The segments that ``work`` tells, and last the transcript that it returns.

    Raises what ``work`` raises. Closing the iterator cancels ``work``.
    """
    told: asyncio.Queue[Segment | None] = asyncio.Queue()
    working = asyncio.ensure_future(work(told.put_nowait))
    working.add_done_callback(lambda _: told.put_nowait(None))
    try:
        while (segment := await told.get()) is not None:
            yield segment
        yield await working
    finally:
        working.cancel()
