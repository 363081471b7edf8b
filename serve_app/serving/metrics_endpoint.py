"""The Prometheus endpoint of a local server, at the address that its user chose.

Ray's agent answers Prometheus at a port of its own, on the loopback interface or on all of them. A
thread of the process that started the server passes its answers on.
"""

import http.client
import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATH = "/metrics"
SOURCE_TIMEOUT_SECONDS = 8.0
"""Below the 10 s after which Prometheus gives up on a scrape."""


class MetricsEndpoint:
    """``GET /metrics`` on ``host:port``, answered by what listens on ``source_port`` here.

    Raises ``OSError`` if nothing can listen on ``host:port``.
    """

    def __init__(self, host: str, port: int, source_port: int) -> None:
        class Server(ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
            daemon_threads = True

        class Handler(_Relay):
            source = source_port

        self._server = Server((host, port), Handler)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._server.server_port}{PATH}"
        threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


class _Relay(BaseHTTPRequestHandler):
    source: int
    timeout = 10.0  # for a client that connects and says nothing

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != PATH:
            self.send_error(HTTPStatus.NOT_FOUND, f"metrics are at {PATH}")
            return
        try:
            text, content_type = self._scrape()
        except (OSError, http.client.HTTPException):
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, "Ray's metrics agent does not answer")
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _scrape(self) -> tuple[bytes, str]:
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.source, timeout=SOURCE_TIMEOUT_SECONDS
        )
        try:
            connection.request("GET", PATH)
            answer = connection.getresponse()
            if answer.status != HTTPStatus.OK:
                raise http.client.HTTPException(answer.status)
            return answer.read(), answer.getheader("Content-Type", "text/plain; version=0.0.4")
        finally:
            connection.close()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing: a scrape every few seconds is not an event."""
