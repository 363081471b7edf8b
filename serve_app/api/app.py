"""The HTTP application: every adapter over one core."""

from fastapi import Depends, FastAPI
from fastapi_offline import FastAPIOffline

from serve_app import __version__
from serve_app.api.auth import key_check
from serve_app.api.edge import Edge
from serve_app.api.errors import install_error_handlers
from serve_app.api.status import install_status
from serve_app.api.whisper_ox import install_contract
from serve_app.core import SpeechCore
from serve_app.settings import ApiKey, AppSettings

DESCRIPTION = (
    "Self-hosted Whisper speech to text. Audio stays on this network and is never written to disk."
)


def build_api(core: SpeechCore, settings: AppSettings, api_key: ApiKey) -> FastAPI:
    """The ASGI application; it knows the engine only as ``core``.

    Its documentation page loads nothing from elsewhere, so that it opens in a closed network.
    """
    app: FastAPI = FastAPIOffline(
        title="Whisper OX", version=__version__, description=DESCRIPTION, redoc_url=None
    )
    install_error_handlers(app)
    install_status(app, core)
    install_contract(app, core, settings, dependencies=[Depends(key_check(api_key))])
    app.add_middleware(Edge, max_body_bytes=settings.http.max_body_bytes)
    return app
