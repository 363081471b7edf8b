"""Whisper OX's own protocol, the contract: a form with audio and options in, segments out."""

import functools
import json
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import JSONResponse

from serve_app.api.call import CALL_HEADERS, PRIORITY_PARAMETER, Call, CallContext
from serve_app.api.example import CONTRACT_OPTIONS, EXAMPLE_ANSWER, curl_example
from serve_app.api.openapi import ErrorBody, answers
from serve_app.api.render.native import TranscriptBody, render
from serve_app.api.sources.form import MAX_FIELD_BYTES, read_form
from serve_app.api.sources.json_object import read_json_object
from serve_app.options import OptionLimits, ParsedOptions, build_options

OPTIONS_FIELD = "generate_kwargs"
BYTES_PER_CHARACTER = 4
"""The most in UTF-8."""


def install_whisper_ox(app: FastAPI, context: CallContext) -> None:
    """Answer the contract's POST under every configured path of ``app``."""
    http, limits = context.settings.http, context.settings.options
    field_bytes = max(MAX_FIELD_BYTES, BYTES_PER_CHARACTER * limits.max_json_characters)
    source = functools.partial(read_form, field_bytes=field_bytes)

    async def transcribe(request: Request) -> JSONResponse:
        call = Call(request, context)
        form = await call.receive(source)
        parsed = parse_generate_kwargs(form.text(OPTIONS_FIELD), limits, http.strict_options)
        transcript = await call.transcribe(form.audio(), parsed)
        return JSONResponse(render(transcript), headers=call.headers)

    try_it = curl_example("http://127.0.0.1:8000", "serve_app/assets/golden.wav")
    router = APIRouter(tags=["transcribe"], responses=answers(ErrorBody, headers=CALL_HEADERS))
    asked = (*http.transcribe_paths, *http.extra_transcribe_paths)
    paths = [*dict.fromkeys(path.rstrip("/") or "/" for path in asked)]
    for number, path in enumerate(paths, start=1):
        is_first = number == 1
        router.add_api_route(
            path,
            transcribe,
            methods=["POST"],
            summary="Transcribe one audio file" if is_first else f"The same as {paths[0]}",
            description=f"Try it:\n\n```sh\n{try_it}\n```" if is_first else "An alias.",
            operation_id="transcribe" if is_first else f"transcribe_{number}",
            response_model=TranscriptBody,
            response_description="The transcript; `segments` is empty for silence.",
            openapi_extra=_DOCUMENTED,
        )
    app.include_router(router)


def parse_generate_kwargs(
    text: str | None, limits: OptionLimits, strict: bool = False
) -> ParsedOptions:
    """The options in the contract's field; None, blanks and ``null`` are the defaults.

    Raises ``InvalidRequest`` for text that is not a JSON object and ``InvalidOption`` as
    ``build_options`` does.
    """
    values = read_json_object(text, OPTIONS_FIELD, limits.max_json_characters)
    return build_options(values, limits=limits, strict=strict)


_DOCUMENTED: dict[str, Any] = {
    "parameters": [PRIORITY_PARAMETER],
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {
                            "type": "string",
                            "format": "binary",
                            "description": "The audio: WAV (16 kHz, 16-bit, mono is fastest), "
                            "FLAC, MP3, OGG, M4A, WebM ...",
                        },
                        OPTIONS_FIELD: {
                            "type": "string",
                            "contentMediaType": "application/json",
                            "description": "JSON object of options; see docs/options.md. Unknown "
                            "keys are ignored and named in X-Ignored-Options.",
                            "default": json.dumps(CONTRACT_OPTIONS),
                        },
                    },
                },
                "encoding": {"file": {"contentType": "audio/*, application/octet-stream"}},
            }
        },
    },
    "responses": {"200": {"content": {"application/json": {"example": EXAMPLE_ANSWER}}}},
}
