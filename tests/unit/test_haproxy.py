"""Real HAProxy, started by our command with configurations in Serve's form."""

import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer

import httpx
import pytest
from ray.serve._private.haproxy_templates import HAPROXY_CONFIG_TEMPLATE

from loadtest.server import free_port
from serve_app.serving import haproxy as haproxy_command
from serve_app.serving.before_ray import prepared_for_ray
from serve_app.serving.haproxy import edited
from tests.conditions import eventually

CONFIG = """global
    maxconn 100
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout http-keep-alive 90s
    retries 0
    errorfile 502 {folder}/500.http
    errorfile 503 {folder}/500.http
    errorfile 504 {folder}/500.http
    balance leastconn
frontend http_frontend
    bind 127.0.0.1:{port}
    acl is_app path_beg /app/
    acl is_gone path_beg /gone/ /v1/audio/
    use_backend app if is_app
    use_backend gone if is_gone
    default_backend default_backend
backend default_backend
    http-request return status 404 content-type text/plain lf-string "Path '%[path]' not found."
backend app
    http-reuse always
    server replica 127.0.0.1:{replica}
backend gone
    server replica 127.0.0.1:{nobody}
"""


class Replica(StreamRequestHandler):
    """Answers with the request id that it was sent, as often as asked; dies under /app/die."""

    def handle(self) -> None:
        with suppress(ConnectionError):  # HAProxy's way to close
            while self.has_answered():
                pass

    def has_answered(self) -> bool:
        lines = []
        while line := self.rfile.readline().strip():
            lines.append(line.decode("latin-1"))
        if not lines or "/app/die" in lines[0]:
            return False
        named = dict(line.split(": ", 1) for line in lines[1:])
        body = named["x-request-id"].encode()
        self.wfile.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        return True


def haproxy(*arguments: str | Path) -> "subprocess.Popen[bytes]":
    """Our command, in the environment in which the server starts it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "environ", {**os.environ, "WHISPER_OX_HEAD_SECONDS": "1"})
        with prepared_for_ray():
            return subprocess.Popen([haproxy_command.__file__, *arguments], env=dict(os.environ))


def can_connect(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Of a HAProxy that our command has started."""
    port, folder = free_port(), tmp_path_factory.mktemp("haproxy")
    with ThreadingTCPServer(("127.0.0.1", 0), Replica) as replica:
        threading.Thread(target=replica.serve_forever, daemon=True).start()
        ports = {"port": port, "replica": replica.server_address[1], "nobody": free_port()}
        config = folder / "haproxy.cfg"
        config.write_text(CONFIG.format(folder=folder, **ports))
        with haproxy("-db", "-f", config) as process:
            try:
                eventually(lambda: can_connect(port), within_seconds=20)
                yield port
            finally:
                process.kill()
                replica.shutdown()


def get(port: int, path: str, *ids: str) -> httpx.Response:
    headers = [("X-Request-ID", one) for one in ids or ("call-17",)]
    return httpx.get(f"http://127.0.0.1:{port}{path}", headers=headers)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/app/die", 503, "not_ready"),
        ("/gone/", 503, "not_ready"),
        ("/nowhere", 404, "not_found"),
    ],
)
def test_haproxys_own_errors_are_json(port: int, path: str, status: int, code: str) -> None:
    response = get(port, path)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code)
    assert error["request_id"] == response.headers["X-Request-ID"] == "call-17"
    assert ("Retry-After" in response.headers) is (status == 503)
    assert set(error) == {"code", "message", "field", "request_id"}


def test_a_replica_that_dies_after_other_requests_is_reported_as_well(port: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        for _ in range(os.cpu_count() or 1):  # each of HAProxy's threads has connections of its own
            assert client.get("/app/", headers={"X-Request-ID": "call-17"}).text == "call-17"
        assert client.get("/app/die").json()["error"]["code"] == "not_ready"


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("/v1/audio/transcriptions", 503, "server_error"),
        ("/v1/models", 404, "invalid_request_error"),
        ("/openai/x", 404, "invalid_request_error"),
    ],
)
def test_on_openais_paths_they_have_its_form(port: int, path: str, status: int, kind: str) -> None:
    response = get(port, path)
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (response.status_code, error["type"]) == (status, kind)


@pytest.mark.parametrize(
    "sent", [["a b"], ["y" * 129], [""], ['"<script>"'], ['safe,"unsafe"'], ["safe", '"unsafe"']]
)
def test_an_unsafe_request_id_is_replaced_before_the_replica(port: int, sent: list[str]) -> None:
    assert re.fullmatch("[0-9a-f-]{36}", get(port, "/app/", *sent).text)


def test_a_callers_request_id_reaches_the_replica(port: int) -> None:
    assert get(port, "/app/").text == "call-17"


@pytest.mark.parametrize("start", [b"", b"GET /app/ HTTP/1.1\r\nHost: x"])
def test_a_head_that_stops_is_given_up(port: int, start: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(start)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_serves_own_configuration_is_edited_in_every_place() -> None:
    config = edited(HAPROXY_CONFIG_TEMPLATE, 20.0, "0.0.0.0")
    assert "    bind 0.0.0.0:{{ config.frontend_port }}\n" in config
    assert "errorfile" not in config
    assert 'text/plain lf-string "Path' not in config
    added = ("timeout http-request 20000ms", "http-error status 503", "unique-id-format %[uuid]")
    assert all(f"\n    {line}" in config for line in added)
    assert config.count("bind 127.0.0.1:") == 2  # metrics and statistics
    assert "local0" not in config  # access lines for a syslog


def test_a_configuration_in_another_form_still_starts(tmp_path: Path) -> None:
    config = tmp_path / "haproxy.cfg"
    config.write_text(f"defaults\n    mode http\nlisten all\n    bind 127.0.0.1:{free_port()}\n")
    with haproxy("-c", "-f", config) as process:
        assert process.wait() == 0


def test_behind_our_command_only_haproxy_listens_for_other_machines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "environ", {haproxy_command.COMMAND: haproxy_command.__file__})
    assert haproxy_command.listen_alone("0.0.0.0") == "127.0.0.1"
    monkeypatch.setattr(os, "environ", {haproxy_command.COMMAND: "/usr/sbin/haproxy"})
    assert haproxy_command.listen_alone("0.0.0.0") == "0.0.0.0"
    monkeypatch.setattr(os, "environ", {})  # the Python proxy
    assert haproxy_command.listen_alone("0.0.0.0") == "0.0.0.0"
