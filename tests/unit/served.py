"""An application on a port of this machine, without Ray."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from loadtest.server import free_port
from serve_app.api.app import build_api
from serve_app.settings import ApiKey, AppSettings
from tests.conditions import eventually
from tests.unit.deaf_service import DeafService


@contextmanager
def served(service: DeafService, key: str = "") -> Iterator[str]:
    """The URL of our API in front of ``service``."""
    with listening(build_api(service, AppSettings(), ApiKey(key))) as url:
        yield url


@contextmanager
def listening(app: ASGIApp) -> Iterator[str]:
    """The URL of ``app``."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        eventually(lambda: server.started)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
