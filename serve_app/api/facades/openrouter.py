"""OpenRouter's transcriptions: OpenAI's, except that the audio may also come in JSON, as base64."""

from fastapi import FastAPI, Request

from serve_app.api.call import CallContext
from serve_app.api.facades.openai import install_audio
from serve_app.api.sources.form import Form, read_form
from serve_app.api.sources.json_audio import read_json_form
from serve_app.api.sources.raw_body import OnHead

BASE = "/api/v1"


def install_openrouter(app: FastAPI, context: CallContext) -> None:
    """Answer under ``/api/v1``."""
    install_audio(app, context, BASE, source=_read)


async def _read(request: Request, on_head: OnHead) -> Form:
    is_json = request.headers.get("content-type", "").lower().startswith("application/json")
    return await (read_json_form if is_json else read_form)(request, on_head)
