"""Every use of what Ray does not document; the rest of ``serving/`` keeps to its public interface.

Each function here has been checked with Ray 2.60, refuses every other version with ``NotReady``,
and has a test in ``tests/unit/test_ray_internals.py`` that fails if Ray changes what it relies on.
To upgrade Ray, run those tests with the new version, then change ``CHECKED_RAY``.

Two more things rely on what a version of Ray happens to do, and are tested likewise: the names of
Ray's environment variables (:mod:`serve_app.environment`) and the form of the configuration that
Serve writes for HAProxy (``haproxy.py``, a command that Serve starts).
"""

import logging
from typing import Any

import ray
from ray._private import services
from ray.serve._private import replica
from ray.serve.handle import DeploymentHandle

from serve_app.errors import NotReady

CHECKED_RAY = "2.60"

SERVES_HEADERS = frozenset(
    {b"x-request-timeout-seconds", b"x-request-disconnect-disabled", b"serve-multiplexed-model-id"}
)
"""With these a caller would lift Serve's own time limit, hide that it left, or choose a replica."""

HEADERS_READ_AS_TEXT = frozenset({b"x-session-id", b"traceparent", b"tracestate"})
"""Serve takes their values for UTF-8 and fails if they are not."""

_EVERY_INTERFACE = "[::]:"


def require_checked_ray() -> None:
    """Raise ``NotReady`` unless this is the version of Ray that this module was checked with."""
    if not ray.__version__.startswith(f"{CHECKED_RAY}."):
        raise NotReady(
            f"This version of Whisper OX needs Ray {CHECKED_RAY}, not {ray.__version__}: install "
            "the packages that requirements.lock names."
        )


def start_no_usage_reporter() -> None:
    """Call before ``ray.init``: Ray then leaves out its API server.

    With the dashboard off, that serves usage statistics alone. With these off too, it still asks
    the metadata services of three clouds whether it runs there.
    """
    require_checked_ray()
    services.start_api_server = lambda *args, **options: ("", None)


def listen_on_node_address_only() -> None:
    """Call in a replica while it is being constructed: Serve opens its gRPC port after that.

    Serve would open it on every interface. It unpickles whatever it is sent and asks for no token,
    so whoever reaches it runs code as the server. Callers use the node's own address, which is the
    loopback address for a local server. Between nodes a network policy has to keep others out.
    """
    require_checked_ray()
    add_port = replica.add_port_to_grpc_server

    def add_port_on_node_address(server: Any, address: str) -> int:
        if address.startswith(_EVERY_INTERFACE):
            host = ray.util.get_node_ip_address()
            host = f"[{host}]" if ":" in host else host
            address = f"{host}:{address.removeprefix(_EVERY_INTERFACE)}"
        port: int = add_port(server, address)
        return port

    replica.add_port_to_grpc_server = add_port_on_node_address


def inside_the_call(handle: DeploymentHandle) -> DeploymentHandle:
    """``handle`` over Serve's gRPC instead of Ray's core, which saves 5 ms a call.

    A message may have up to 4 MiB.
    """
    require_checked_ray()
    return handle.options(_by_reference=False)


def metrics_port() -> int:
    """The port on which the agent of a local server's only node answers Prometheus."""
    require_checked_ray()
    port: int = ray.nodes()[0]["MetricsExportPort"]
    return port


def quiet_logs() -> None:
    """Keep Ray's notes about a start out of this process's log."""
    require_checked_ray()
    for chatty in ("ray.serve", "ray._private.authentication.authentication_token_setup"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
