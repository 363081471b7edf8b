"""Lets pages of other origins read answers, as the Fetch standard defines it (CORS)."""

from collections.abc import Collection

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from serve_app.api.edge.state import METHODS, REQUEST_ID_HEADER


def readable_by(
    origins: Collection[str], app: ASGIApp, exposed_headers: Collection[str]
) -> ASGIApp:
    """Wrap ``app`` so that pages of ``origins`` may read its answers and ``exposed_headers``.

    "*" allows all pages. Preflights, which browsers send without a key, are answered before
    ``app``. A page may send any header, because the clients' libraries have their own. Cookies are
    not used.
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
