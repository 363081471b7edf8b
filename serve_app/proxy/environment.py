"""What Ray Serve's two proxies are told, by variables that Ray reads when it is imported."""

import os
import sys
from pathlib import Path

PROXY_ENVIRONMENT = {
    # Their answers in our form, and bounds on the heads of requests: serve_app/proxy/errors.py.
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serve_app.proxy.errors:middlewares",
    # An hour by default. It counts while a body or the reader of an answer stands still, not while
    # a transcription runs; above upload_idle_seconds, whose answer says more.
    "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "60",
    # A head must fit into one buffer: 16 KiB by default, less than max_header_bytes.
    "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": "65536",
    # 2 minutes by default; a change of HTTP replicas then cuts off what has run for longer. As long
    # as request_seconds.
    "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "14400",
    # By default that plus 30 s, while a dead replica's port is not used again: a replica that keeps
    # crashing would use up all ports. Two applications on one node would need it.
    "RAY_SERVE_PORT_QUARANTINE_S": "150",
    # 5 s by default, and after three of them Serve gives up a proxy that is still starting, which
    # takes longer while others use the cores. Three of these are as long as Serve waits in all.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "20",
}

HAPROXY_PORTS = {
    "RAY_SERVE_HAPROXY_METRICS_PORT": 9101,
    "RAY_SERVE_HAPROXY_STATS_PORT": 8404,
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": 8500,
    "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": 30_000,
}
"""HAProxy's own ports and those on which it reaches Serve, with their defaults. Serve shares the
latter with whoever listens already: one server's requests would reach the other."""

HAPROXY_COMMAND = Path(__file__).with_name("haproxy.py")


def set_proxy_environment() -> None:
    """Set what the operator has not set, for this process and those that it starts."""
    for name, value in PROXY_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if os.access(HAPROXY_COMMAND, os.X_OK):
        os.environ.setdefault("RAY_SERVE_HAPROXY_BINARY_PATH", str(HAPROXY_COMMAND))
        # For its first line, which asks for any Python.
        here = str(Path(sys.executable).parent)
        os.environ["PATH"] = os.pathsep.join([here, os.environ.get("PATH", os.defpath)])


def haproxy_ports() -> dict[str, int]:
    """What another server on this machine must not hold, by variable; none without HAProxy."""
    if os.environ.get("RAY_SERVE_ENABLE_HA_PROXY") != "1":
        return {}
    return {name: int(os.environ.get(name, port)) for name, port in HAPROXY_PORTS.items()}
