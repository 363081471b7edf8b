"""EchoKit's voice activity detection: a form with a WAV in, the places of speech out.

The protocol is that of its silero_vad_server. Errors are ``{"error": message}``; EchoKit reads the
body and ignores the status. docs/echokit.md says how to point EchoKit here.
"""

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import JSONResponse

from serve_app.api.call import Call, CallContext
from serve_app.api.sources.form import read_form
from serve_app.options import VadParameters

PATH = "/v1/audio/vad"

PARAMETERS = VadParameters(
    threshold=0.5,
    neg_threshold=0.35,
    min_speech_duration_ms=250,
    min_silence_duration_ms=100,
    speech_pad_ms=30,
)
"""Silero's own parameters, which EchoKit's server uses. Ours for transcripts cut more
generously."""


def install_echokit(app: FastAPI, context: CallContext) -> None:
    """Answer where a file holds speech, in samples at 16 kHz, whatever the file's rate.

    The audio may be in a part of any name; EchoKit calls it ``audio``.
    """
    router = APIRouter(include_in_schema=False)

    @router.post(PATH)
    async def detect(request: Request) -> JSONResponse:
        call = Call(request, context)
        form = await call.receive(read_form)
        speech = await call.detect_speech(form.audio(), PARAMETERS)
        return JSONResponse({"timestamps": [{"start": s, "end": e} for s, e in speech]})

    app.include_router(router)
