"""A real HTTP server on 127.0.0.1 that speaks what models/ asks of Hugging Face's hub."""

import hashlib
import json
import sys
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from threading import Event, Thread
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

REPO = "someone/tiny-whisper"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
MODEL_FILES = {
    "config.json": b"{}\n",
    "model.bin": Random(7).randbytes(3_000_000),
    "tokenizer.json": b'{"model": {}}\n',
    "vocabulary.txt": b"a\nb\nc\n",
}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def write_model(directory: Path) -> Path:
    directory.mkdir(parents=True)
    for name, content in MODEL_FILES.items():
        (directory / name).write_bytes(content)
    return directory


@dataclass
class LoopbackHub:
    """Serves ``files`` of one repository. ``model.bin`` is large-file storage: it redirects to
    another host name, as the hub does. ``cut_after``: bytes of each answer's body at which the
    connection is dropped, one entry used up per answer. ``stall_after``: bytes at which the answer
    waits for ``go_on`` after it has set ``stalled``.
    """

    files: dict[str, bytes] = field(default_factory=lambda: dict(MODEL_FILES))
    announced: dict[str, bytes] = field(default_factory=lambda: dict(MODEL_FILES))
    commit: str = COMMIT
    token: str | None = None
    cut_after: list[int] = field(default_factory=list)
    stall_after: list[int] = field(default_factory=list)
    stalled: Event = field(default_factory=Event)
    go_on: Event = field(default_factory=Event)
    hits: Counter[str] = field(default_factory=Counter)
    ranges: list[str] = field(default_factory=list)
    storage_authorizations: list[str] = field(default_factory=list)

    def __enter__(self) -> "LoopbackHub":
        hub = self

        class Handler(_Handler):
            def do_GET(self) -> None:
                self.answer(hub)

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def model_info(self) -> dict[str, object]:
        siblings = [
            {
                "rfilename": name,
                "size": len(content),
                **({"lfs": {"sha256": sha256(content)}} if name == "model.bin" else {}),
            }
            for name, content in self.announced.items()
        ]
        siblings.append({"rfilename": "README.md", "size": 3})
        return {"sha": self.commit, "siblings": siblings, "cardData": {"license": "mit"}}


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # clients that give up are usual
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        pass

    def answer(self, hub: LoopbackHub) -> None:
        path = urlsplit(self.path).path
        hub.hits[path] += 1
        if path.startswith("/storage/"):
            hub.storage_authorizations += self.headers.get_all("Authorization", [])
        elif hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
            return self._send(401, b"")
        if path.startswith(f"/api/models/{REPO}/revision/"):
            return self._send(200, json.dumps(hub.model_info()).encode())
        folder, _, name = path.rpartition("/")
        if name not in hub.files:
            return self._send(404, b"")
        if folder == f"/{REPO}/resolve/{hub.commit}":
            if name != "model.bin":
                return self._send(200, hub.files[name])
            location = f"http://localhost:{hub.port}/storage/{name}"
            return self._send(302, b"", {"Location": location})
        if folder == "/storage":
            return self._send_range(hub, hub.files[name])
        return self._send(404, b"")

    def _send_range(self, hub: LoopbackHub, content: bytes) -> None:
        headers = {"ETag": f'"{sha256(content)}"'}
        start = 0
        if asked := self.headers.get("Range"):
            hub.ranges.append(asked)
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                return self._send(416, b"", {"Content-Range": f"bytes */{len(content)}"})
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if hub.stall_after:
            self._send(206 if asked else 200, content[start:], headers, hub.stall_after.pop())
            self.wfile.flush()
            hub.stalled.set()
            hub.go_on.wait(timeout=30)
            return
        cut = hub.cut_after.pop(0) if hub.cut_after else None
        self._send(206 if asked else 200, content[start:], headers, cut)

    def _send(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
        cut: int | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:cut])
        self.close_connection = cut is not None
