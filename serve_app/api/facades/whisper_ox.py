"""Whisper OX's own protocol, the contract: a form with audio and options in, segments out."""

import functools
import json
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import JSONResponse

from serve_app.api.call import CALL_HEADERS, PRIORITY_PARAMETER, Call, CallContext
from serve_app.api.example import CONTRACT_OPTIONS, EXAMPLE_ANSWER, curl_example
from serve_app.api.facades.generate_kwargs import OPTIONS_FIELD, TEXT_NAMES, read_options
from serve_app.api.openapi import ErrorBody, answers
from serve_app.api.render.native import TranscriptBody, render
from serve_app.api.sources.form import MAX_FIELD_BYTES, Form, read_form
from serve_app.options import ParsedOptions

BYTES_PER_CHARACTER = 4
"""Most bytes of a character in UTF-8."""


def install_whisper_ox(app: FastAPI, context: CallContext) -> None:
    """Answer the contract's POST under every configured path."""
    http, limits = context.settings.http, context.settings.options
    field_bytes = max(MAX_FIELD_BYTES, BYTES_PER_CHARACTER * limits.max_json_characters)
    source = functools.partial(read_form, field_bytes=field_bytes, text_names=TEXT_NAMES)

    async def transcribe(request: Request) -> JSONResponse:
        def options(form: Form, *, is_complete: bool = False) -> ParsedOptions:
            parsed = read_options(
                request,
                form,
                limits,
                strict=http.strict_options,
                is_complete=is_complete,
                with_model=context.models.has_several,
            )
            if parsed.model is not None:
                call.choose_model(parsed.model)
            return parsed

        call = Call(request, context)
        # A wrong option is not worth the upload of the file after it.
        form = await call.receive(functools.partial(source, on_file=options))
        parsed = options(form, is_complete=True)
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
                            "description": "A JSON object with options; docs/options.md "
                            "describes them. An option may also be a form field or a query "
                            "parameter of its own. The server ignores unknown options and names "
                            "them in X-Ignored-Options.",
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
