"""Liveness, readiness and a greeting: open to everyone, without the API key."""

from fastapi import APIRouter, FastAPI
from starlette.responses import JSONResponse

from serve_app import __version__
from serve_app.core import SpeechCore


def install_status(app: FastAPI, core: SpeechCore) -> None:
    """Add ``GET /``, ``/health`` and ``/readyz`` to ``app``."""
    router = APIRouter(tags=["status"])

    @router.get("/")
    async def index() -> dict[str, str]:
        """What this server is and where to go on."""
        return {
            "name": "Whisper OX",
            "version": __version__,
            "what": "Speech to text: POST audio to /transcribe",
            "docs": "/docs",
            "health": "/health",
            "ready": "/readyz",
        }

    @router.get("/health")
    async def health() -> dict[str, str]:
        """200 while the HTTP side lives, whatever the model does."""
        return {"status": "ok"}

    @router.get("/readyz", responses={503: {"description": "No model replica is ready yet"}})
    async def ready() -> JSONResponse:
        """200 once a model replica has transcribed the golden clip, else 503 with the reason."""
        facts = await core.model()
        return JSONResponse(
            {
                "status": "ready",
                "model": facts.name,
                "multilingual": facts.multilingual,
            }
        )

    app.include_router(router)
