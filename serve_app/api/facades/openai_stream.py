"""OpenAI's events of a transcript: server-sent events (WHATWG HTML, section 9.2), one a segment."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import StreamingResponse

from serve_app.api.call import Call
from serve_app.api.dialects import OPENAI
from serve_app.api.edge.state import RequestState
from serve_app.api.error_answers import FAILED
from serve_app.api.facades.openai_answer import answer_to
from serve_app.api.facades.openai_request import SUBTITLES, AudioRequest
from serve_app.api.render.verbose import logprobs, text_of, usage, words_of
from serve_app.errors import WhisperOxError
from serve_app.service import as_told
from serve_app.settings import SubtitleSettings
from serve_app.transcript import Segment, Transcript

logger = logging.getLogger("whisper_ox.api")

END = b"data: [DONE]\n\n"


async def stream(
    request: Request, call: Call, audio: Any, asked: AudioRequest, subtitles: SubtitleSettings
) -> StreamingResponse:
    """An answer whose events are sent while the audio is being heard.

    It begins with the first segment, so errors before that are answered as for any other request.
    """
    told = as_told(lambda tell: call.transcribe(audio, asked.options, tell))
    first = await anext(told)
    events = _events(RequestState.of(request.scope), first, told, asked, subtitles)
    headers = {**call.headers, "Cache-Control": "no-cache"}
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


async def _events(
    state: RequestState,
    first: Segment | Transcript,
    rest: AsyncIterator[Segment | Transcript],
    asked: AudioRequest,
    subtitles: SubtitleSettings,
) -> AsyncIterator[bytes]:
    try:
        number = 0
        item: Segment | Transcript = first
        while isinstance(item, Segment):
            for event in _of_segment(number, item, asked):
                yield event
            number += 1
            item = await anext(rest)
        yield await asyncio.to_thread(_of_transcript, item, asked, subtitles)
        yield END
    except Exception as error:
        if not isinstance(error, WhisperOxError):
            logger.error("the request failed", exc_info=error)
            error = FAILED
        state.error_code = error.code
        yield _event(OPENAI.error_body(error, state.request_id))


def _of_segment(number: int, segment: Segment, asked: AudioRequest) -> list[bytes]:
    """A segment's text and its times. OpenAI's type demands a speaker, whom nobody knows."""
    name = f"seg_{number}"
    delta: dict[str, Any] = {
        "type": "transcript.text.delta",
        "delta": segment.text if number else segment.text.lstrip(),
        "segment_id": name,
    }
    if asked.with_logprobs:
        delta["logprobs"] = logprobs(words_of([segment]))
    times = {"start": segment.start, "end": segment.end, "text": segment.text.strip()}
    return [
        _event(delta),
        _event({"type": "transcript.text.segment", "id": name, **times, "speaker": ""}),
    ]


def _of_transcript(
    transcript: Transcript, asked: AudioRequest, subtitles: SubtitleSettings
) -> bytes:
    """The whole text, or the subtitles in its place; with ``verbose_json`` its body as well."""
    done: dict[str, Any] = {
        "type": "transcript.text.done",
        "text": text_of(transcript.segments),
        "usage": usage(transcript),
    }
    if asked.with_logprobs:
        done["logprobs"] = logprobs(words_of(transcript.segments))
    if asked.response_format in (*SUBTITLES, "verbose_json"):
        answer = answer_to(asked, transcript, subtitles)
        done |= {"text": answer} if isinstance(answer, str) else answer
    return _event(done)


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"
