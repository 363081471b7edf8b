"""Liveness, readiness and a greeting, which are open to everyone without an API key."""

import asyncio
from typing import Literal

from fastapi import APIRouter, FastAPI
from typing_extensions import NotRequired, TypedDict

from serve_app import __version__
from serve_app.api.model_table import ModelTable
from serve_app.api.openapi import ErrorBody, answers


class Readiness(TypedDict):
    """The default model; ``multilingual`` is false if it knows only English.

    ``models`` names every model if there are several.
    """

    status: Literal["ready"]
    model: str
    multilingual: bool
    models: NotRequired[list[str]]


def install_status(app: FastAPI, models: ModelTable, *, with_docs: bool) -> None:
    """Add ``GET /``, ``/health`` and ``/readyz`` to ``app``; ``/`` names the docs, if any."""
    router = APIRouter(tags=["status"], responses=answers(ErrorBody, (400, 413, 431, 500, 503)))
    docs = {"docs": "/docs"} if with_docs else {}

    @router.head("/", include_in_schema=False)
    @router.get("/")
    async def index() -> dict[str, str]:
        """What this server is, and where to go from here."""
        return {
            "name": "Whisper OX",
            "version": __version__,
            "what": "Speech to text: POST audio to /transcribe",
            **docs,
            "health": "/health",
            "ready": "/readyz",
        }

    @router.head("/health", include_in_schema=False)
    @router.get("/health")
    async def health() -> dict[str, str]:
        """200 while the HTTP side is alive, whatever the model does."""
        return {"status": "ok"}

    @router.head("/readyz", include_in_schema=False)
    @router.get("/readyz", response_model_exclude_unset=True)
    async def ready() -> Readiness:
        """200 once a replica of every model has transcribed the golden clip, else 503 with the
        reason.
        """
        facts, *_ = await asyncio.gather(*(model.service.model() for model in models))
        answer: Readiness = {
            "status": "ready",
            "model": models.default.name,
            "multilingual": facts.multilingual,
        }
        if models.has_several:
            answer["models"] = [model.name for model in models]
        return answer

    app.include_router(router)
