"""Deepgram's ``POST /v1/listen``: audio or its URL in, words in Deepgram's form out.

docs/deepgram.md says what each parameter does here. The route is not in our OpenAPI document:
Deepgram's own describes it.
"""

import asyncio
import hashlib
import json
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import JSONResponse

from serve_app.api.call import MODEL_HEADER, Call, CallContext, Source
from serve_app.api.edge.state import RequestState
from serve_app.api.facades.deepgram_request import (
    CALLERS_NAMES,
    ListenRequest,
    choose_model,
    read_query,
)
from serve_app.api.render.deepgram import metadata, results
from serve_app.api.sources.query import query_pairs
from serve_app.api.sources.raw_body import OnHead, read_raw_body
from serve_app.api.sources.remote import RemoteAudio
from serve_app.errors import InvalidOption, InvalidRequest

PATH = "/v1/listen"


def install_deepgram(app: FastAPI, context: CallContext) -> None:
    """Answer Deepgram's requests for a transcript of one file."""
    settings = context.settings
    remote = RemoteAudio(settings.remote, settings.http.max_body_bytes)
    router = APIRouter(include_in_schema=False)

    @router.post(PATH)
    async def listen(request: Request) -> JSONResponse:
        call = Call(request, context)
        asked = read_query(query_pairs(request), settings.options)
        choose_model(call.choose_model, asked.model)
        audio = await call.receive(_source(remote, asked))
        sha256 = await asyncio.to_thread(lambda: hashlib.sha256(audio).hexdigest())
        if asked.pcm_header and not audio.startswith(b"RIFF"):
            audio[:0] = asked.pcm_header
        try:
            transcript = await call.transcribe(audio, asked.options)
        except InvalidOption as wrong:
            raise wrong.renamed(CALLERS_NAMES) from None
        state = RequestState.of(request.scope)
        served = call.headers[MODEL_HEADER]
        body = {
            "metadata": metadata(state.request_id, sha256, transcript, served)
            | _noted(asked, served),
            "results": results(transcript, asked.parts),
        }
        return JSONResponse(body, headers=call.headers)

    app.include_router(router)


def _source(remote: RemoteAudio, asked: ListenRequest) -> Source[bytearray]:
    """Reads a body of JSON for the URL in it, and takes any other for audio, whatever its type."""

    async def read(request: Request, on_head: OnHead) -> bytearray:
        check = _anything if asked.pcm_header else on_head
        if not request.headers.get("content-type", "").lower().startswith("application/json"):
            return await read_raw_body(request, check)
        url = _url(await read_raw_body(request, _too_long))
        return await remote.fetch(url, check, RequestState.of(request.scope).hold)

    return read


def _anything(head: memoryview) -> None:
    """Samples without a header may begin with any bytes."""


def _too_long(head: memoryview) -> None:
    raise _no_url()


def _url(body: bytearray) -> str:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise _no_url() from None
    url = found.get("url") if isinstance(found, dict) else None
    if not isinstance(url, str):
        raise _no_url()
    return url


def _no_url() -> InvalidRequest:
    return InvalidRequest(
        'A body of type application/json must be {"url": "https://..."}. To send audio itself, '
        "leave the Content-Type out or set it to that of the audio.",
        field="url",
    )


def _noted(asked: ListenRequest, served: str) -> dict[str, Any]:
    """What ``metadata`` says of the query: labels of the caller's, and what was not done."""
    warnings = [
        _warning(name, "unsupported", "this server does not support it and has ignored it")
        for name in asked.options.ignored
    ]
    named = asked.model.lower()
    if named not in ("whisper", served.lower(), f"whisper-{served.lower().removesuffix('.en')}"):
        warnings.append(_warning("model", "unsupported_model", f"{served} is served instead"))
    noted = {"tags": asked.tags, "extra": asked.extra, "warnings": warnings}
    return {name: value for name, value in noted.items() if value}


def _warning(parameter: str, kind: str, message: str) -> dict[str, str]:
    return {"parameter": parameter, "type": kind, "message": f"{parameter}: {message}."}
