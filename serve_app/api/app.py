"""The HTTP application: every facade over one service."""

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from serve_app import __version__
from serve_app.api.call import CALL_HEADERS, CallContext
from serve_app.api.edge.drain import Drain
from serve_app.api.edge.edge import Edge
from serve_app.api.edge.key_check import KeyCheck
from serve_app.api.edge.key_ring import KeyRing
from serve_app.api.edge.quotas import Quotas
from serve_app.api.edge.record import Recorder
from serve_app.api.error_answers import install_error_handlers
from serve_app.api.facades.azure_openai import install_azure_openai
from serve_app.api.facades.azure_speech import install_azure_speech
from serve_app.api.facades.azure_speech_live import install_azure_speech_live
from serve_app.api.facades.dashscope import install_dashscope
from serve_app.api.facades.deepgram import install_deepgram
from serve_app.api.facades.deepgram_live import install_deepgram_live
from serve_app.api.facades.echokit import install_echokit
from serve_app.api.facades.echokit_live import install_echokit_live
from serve_app.api.facades.elevenlabs import install_elevenlabs
from serve_app.api.facades.elevenlabs_live import install_elevenlabs_live
from serve_app.api.facades.groq import install_groq
from serve_app.api.facades.openai import install_openai
from serve_app.api.facades.openai_client_secrets import install_openai_client_secrets
from serve_app.api.facades.openai_realtime import install_openai_realtime
from serve_app.api.facades.openrouter import install_openrouter
from serve_app.api.facades.status import install_status
from serve_app.api.facades.stream import install_stream
from serve_app.api.facades.whisper_ox import install_whisper_ox
from serve_app.api.model_table import ModelTable
from serve_app.api.openapi import complete_openapi
from serve_app.audio.pool import DecodingPool
from serve_app.live.sessions import Sessions
from serve_app.metrics import NO_METRICS, Sink
from serve_app.service import SpeechService
from serve_app.settings import ApiKey, AppSettings
from serve_app.tracing.span import NO_TRACER, Tracer

logger = logging.getLogger("whisper_ox.api")

DOCS_TREES = ("/docs", "/openapi.json", "/static-offline-docs")
"""Paths of the documentation. When disabled, they answer 404 without asking for a key."""


def build_api(
    service: SpeechService,
    settings: AppSettings,
    api_key: ApiKey,
    sink: Sink = NO_METRICS,
    drain: Drain | None = None,
    *,
    tracer: Tracer = NO_TRACER,
    others: Mapping[str, SpeechService] | None = None,
) -> FastAPI:
    """The ASGI application. It knows the engine only as ``service``, and ``drain`` stops it.

    If there are several models, ``service`` has the first, and ``others`` has the rest by name.

    Raises ``InvalidSetting`` for API keys that cannot be used.
    """
    ring = KeyRing(api_key, settings.quota)
    if ring.is_open:
        logger.warning(
            "no API key is set: whoever reaches this server can use it; set WHISPER_API_KEY or "
            "WHISPER_API_KEYS_FILE"
        )
    quotas = Quotas()
    with_docs = settings.http.docs != "off"
    decoding = DecodingPool(settings.audio, settings.decoding)
    app = _application(decoding, with_docs=with_docs)
    install_error_handlers(app)
    models = ModelTable(settings, service, others)
    install_status(app, models, with_docs=with_docs)
    sessions = Sessions(settings.live, sink)
    context = CallContext(models, settings, quotas, sink, decoding, sessions)
    for install in (
        install_whisper_ox,
        install_openai,
        install_openai_realtime,
        install_openai_client_secrets,
        install_groq,
        install_azure_openai,
        install_openrouter,
        install_deepgram,
        install_deepgram_live,
        install_echokit,
        install_echokit_live,
        install_elevenlabs,
        install_elevenlabs_live,
        install_azure_speech,
        install_azure_speech_live,
        install_dashscope,
        install_stream,
    ):
        install(app, context)
    complete_openapi(app, key_header=None if ring.is_open else ring.header)
    app.add_middleware(
        Edge,
        limits=settings.http,
        recorder=Recorder(sink, tracer),
        drain=drain or Drain(),
        keys=KeyCheck(ring, quotas, () if settings.http.docs == "key" else DOCS_TREES),
        exposed_headers=CALL_HEADERS,
    )
    return app


def _application(decoding: DecodingPool, *, with_docs: bool) -> FastAPI:
    # FastAPIOffline: on a closed network the page must not load its scripts from elsewhere.
    kind: Any = FastAPIOffline if with_docs else FastAPI
    more: dict[str, Any] = {"redoc_url": None} if with_docs else {"openapi_url": None}
    app: FastAPI = kind(
        title="Whisper OX",
        version=__version__,
        description="Self-hosted Whisper speech to text. Audio stays on this network and is never "
        "written to disk.",
        # Behind a proxy that ends TLS, a redirect would take key and audio along to http://.
        redirect_slashes=False,
        lifespan=lambda app: decoding.running(),
        # FastAPI's own spans and logs would hold query strings and the messages of exceptions.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        **more,
    )
    return app
