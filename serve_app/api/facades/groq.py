"""Groq's audio API: OpenAI's under ``/openai/v1``, which is Azure OpenAI's newer path as well."""

from fastapi import FastAPI

from serve_app.api.call import CallContext
from serve_app.api.facades.openai import install_audio, install_models

BASE = "/openai/v1"


def install_groq(app: FastAPI, context: CallContext) -> None:
    """Answer under ``/openai/v1``, with the ``x_groq`` that @ai-sdk/groq demands."""
    install_audio(
        app, context, BASE, more=lambda state: {"x_groq": {"id": f"req_{state.request_id}"}}
    )
    install_models(app, context, BASE)
