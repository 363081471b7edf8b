"""The HTTP application: every adapter over one core."""

import logging
from typing import Any

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from serve_app import __version__
from serve_app.api.auth import KeyGate
from serve_app.api.drain import Drain, DrainGate
from serve_app.api.edge import Edge
from serve_app.api.errors import install_error_handlers
from serve_app.api.keys import KeyRing
from serve_app.api.openapi import complete_openapi
from serve_app.api.quota import QuotaCore, Quotas
from serve_app.api.status import install_status
from serve_app.api.whisper_ox import install_contract
from serve_app.core import SpeechCore
from serve_app.metrics.catalogue import NO_METRICS, Sink
from serve_app.settings import ApiKey, AppSettings
from serve_app.tracing.span import NO_TRACER, Tracer

logger = logging.getLogger("whisper_ox.api")

DOCS_TREES = ("/docs", "/openapi.json", "/static-offline-docs")
"""Where the documentation is; switched off, these are open to all, to find nothing there."""

_NO_TELEMETRY = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}

DESCRIPTION = (
    "Self-hosted Whisper speech to text. Audio stays on this network and is never written to disk."
)


def build_api(
    core: SpeechCore,
    settings: AppSettings,
    api_key: ApiKey,
    sink: Sink = NO_METRICS,
    drain: Drain | None = None,
    *,
    tracer: Tracer = NO_TRACER,
) -> FastAPI:
    """The ASGI application; it knows the engine only as ``core``. ``drain`` is how to stop it.

    Raises ``InvalidSetting`` for API keys that cannot be used.
    """
    ring = KeyRing(api_key, settings.quota)
    if ring.is_open:
        logger.warning(
            "no API key is set: whoever reaches this server can use it; set WHISPER_API_KEY or "
            "WHISPER_API_KEYS_FILE"
        )
    quotas = Quotas(ring.quota)
    core = QuotaCore(core, quotas)
    with_docs = settings.http.docs != "off"
    app = _application(with_docs=with_docs)
    install_error_handlers(app)
    install_status(app, core, with_docs=with_docs)
    install_contract(app, core, settings, sink)
    complete_openapi(app, key_header=None if ring.is_open else ring.header)
    open_trees = () if settings.http.docs == "key" else DOCS_TREES
    app.add_middleware(KeyGate, ring=ring, quotas=quotas, open_trees=open_trees)
    app.add_middleware(DrainGate, drain=drain or Drain())
    app.add_middleware(Edge, limits=settings.http, sink=sink, tracer=tracer)
    return app


def _application(*, with_docs: bool) -> FastAPI:
    """Its documentation page loads nothing from elsewhere, so that it opens in a closed network."""
    kind: Any = FastAPIOffline if with_docs else FastAPI
    more: dict[str, Any] = {"redoc_url": None} if with_docs else {"openapi_url": None}
    app: FastAPI = kind(
        title="Whisper OX",
        version=__version__,
        description=DESCRIPTION,
        # Behind a proxy that ends TLS a redirect leads to http://, key and audio along with it.
        redirect_slashes=False,
        # FastAPI's own spans and logs would hold query strings and the messages of exceptions.
        telemetry=_NO_TELEMETRY,
        **more,
    )
    return app
