"""ElevenLabs' ``POST /v1/speech-to-text``: a form in, words in ElevenLabs' form out.

docs/elevenlabs.md says what each parameter does here. The route is not in our OpenAPI document:
ElevenLabs' own describes it.
"""

import asyncio

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import JSONResponse

from serve_app.api.call import Call, CallContext
from serve_app.api.edge.state import RequestState
from serve_app.api.facades.elevenlabs_request import (
    CALLERS_NAMES,
    has_bare_samples,
    read_request,
)
from serve_app.api.render.elevenlabs import body
from serve_app.api.sources.bare_samples import wav_header
from serve_app.api.sources.form import Form, read_form
from serve_app.api.sources.raw_body import OnHead
from serve_app.errors import InvalidOption

PATH = "/v1/speech-to-text"

BARE_HEADER = wav_header(tag=1, bits=16, n_channels=1, rate_hz=16_000)


def install_elevenlabs(app: FastAPI, context: CallContext) -> None:
    """Answer ElevenLabs' requests for a transcript."""
    settings = context.settings
    router = APIRouter(include_in_schema=False)

    @router.post(PATH)
    async def convert(request: Request) -> JSONResponse:
        call = Call(request, context)
        form = await call.receive(_read)
        asked = read_request(form, settings.options)
        if not asked.model.startswith("scribe"):
            call.choose_model(asked.model)
        audio = form.audio()
        if has_bare_samples(form):
            audio[:0] = BARE_HEADER
        try:
            transcript = await call.transcribe(audio, asked.options)
        except InvalidOption as wrong:
            raise wrong.renamed(CALLERS_NAMES) from None
        request_id = RequestState.of(request.scope).request_id
        # In a thread, since subtitles of hours of speech take more than a tenth of a second.
        answer = await asyncio.to_thread(
            body, transcript, asked.parts, settings.subtitles, request_id
        )
        return JSONResponse(answer, headers=call.headers)

    app.include_router(router)


async def _read(request: Request, on_head: OnHead) -> Form:
    """Read a form. Only if its fields come before the file is a file of bare samples accepted."""
    is_bare = False

    def note(form: Form) -> None:
        nonlocal is_bare
        is_bare = has_bare_samples(form)

    def check(head: memoryview) -> None:
        if not is_bare:
            on_head(head)

    return await read_form(request, check, on_file=note)
