"""OpenAI's audio API as ``whisper-1`` has it: transcriptions, translations and models.

docs/openai.md says what each parameter does here. The routes are not in our OpenAPI document:
OpenAI's own describes them.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from serve_app.api.call import Call, CallContext, Source
from serve_app.api.edge.state import RequestState
from serve_app.api.facades.openai_answer import answer_to
from serve_app.api.facades.openai_request import (
    CALLERS_NAMES,
    Task,
    read_request,
)
from serve_app.api.facades.openai_stream import stream
from serve_app.api.model_table import OPENAIS_NAME
from serve_app.api.sources.form import Form, read_form
from serve_app.errors import InvalidOption

RELEASED = 1_663_804_800
"""Whisper's release, 22 September 2022, as a Unix time: clients want to know a model's age."""

More = Callable[[RequestState], dict[str, Any]]


def install_openai(app: FastAPI, context: CallContext) -> None:
    """Answer OpenAI's requests under ``/v1``."""
    install_audio(app, context, "/v1")
    install_models(app, context, "/v1")


def install_audio(
    app: FastAPI,
    context: CallContext,
    base: str,
    *,
    more: More = lambda state: {},
    unknown_model: str = "model_not_found",
    source: Source[Form] = read_form,
) -> None:
    """Answer transcriptions and translations under ``base``, whose bodies ``source`` reads.

    A part ``{deployment}`` of ``base`` names the model. ``more`` is added to JSON answers;
    ``unknown_model`` is the code of the error for a name of no model.
    """
    router = APIRouter(include_in_schema=False)

    async def answer(request: Request, task: Task) -> Response:
        call = Call(request, context)
        deployment = request.path_params.get("deployment")
        if deployment is not None:
            call.choose_model(deployment, unknown_model)
        form = await call.receive(source)
        asked = read_request(form, task, context.settings.options)
        if deployment is None:
            call.choose_model(asked.model, unknown_model)
        try:
            if asked.is_streamed:
                return await stream(request, call, form.audio(), asked, context.settings.subtitles)
            transcript = await call.transcribe(form.audio(), asked.options)
        except InvalidOption as wrong:
            raise wrong.renamed(CALLERS_NAMES) from None
        body = await asyncio.to_thread(answer_to, asked, transcript, context.settings.subtitles)
        if isinstance(body, str):
            return PlainTextResponse(body, headers=call.headers)
        extra = more(RequestState.of(request.scope))
        return JSONResponse(body | extra, headers=call.headers)

    @router.post(f"{base}/audio/transcriptions")
    async def transcriptions(request: Request) -> Response:
        return await answer(request, "transcribe")

    @router.post(f"{base}/audio/translations")
    async def translations(request: Request) -> Response:
        return await answer(request, "translate")

    app.include_router(router)


def install_models(app: FastAPI, context: CallContext, base: str) -> None:
    """Answer which models there are, under ``base``."""
    router = APIRouter(include_in_schema=False)

    @router.get(f"{base}/models")
    async def models() -> JSONResponse:
        served = [model.name for model in context.models]
        aliases = [alias for model in context.models for alias in model.aliases]
        names = dict.fromkeys((*served, OPENAIS_NAME, *aliases))
        return JSONResponse({"object": "list", "data": [_model(name) for name in names]})

    @router.get(f"{base}/models/{{name:path}}")
    async def model(name: str) -> JSONResponse:
        context.models.named(name)
        return JSONResponse(_model(name))

    app.include_router(router)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": RELEASED, "owned_by": "whisper-ox"}
