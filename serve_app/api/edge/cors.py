"""Answers that pages of other origins may read, as the Fetch standard has it (CORS)."""

from collections.abc import Collection

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from serve_app.api.edge.state import METHODS, REQUEST_ID_HEADER


def readable_by(
    origins: Collection[str], app: ASGIApp, exposed_headers: Collection[str]
) -> ASGIApp:
    """``app`` whose answers and ``exposed_headers`` pages of ``origins`` may read; "*": all pages.

    Preflights, which browsers send without a key, are answered before ``app``. Any header may be
    sent, because the clients' libraries have their own; cookies play no part.
    """
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=METHODS,
        allow_headers=["*"],
        # An allowed page on the internet may well ask a server inside the company.
        allow_private_network=True,
        expose_headers=[REQUEST_ID_HEADER, "Retry-After", *exposed_headers],
    )
