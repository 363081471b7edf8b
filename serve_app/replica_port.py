"""Where Ray Serve's replicas listen for calls from one another.

Serve 2.60 binds that port, which unpickles whatever it is sent, on every interface and asks nobody
for a token: whoever reaches it runs code as the server. The callers dial the node's own address, so
that is enough to listen on. On a machine by itself (``python -m serve_app``) it is the loopback
interface; between nodes a network policy has to keep others out (docs/operations.md).
"""

import functools
from collections.abc import Callable
from typing import Any

import ray
from ray.serve._private import replica

_WILDCARD = "[::]:"


def listen_on_node_address_only() -> None:
    """Call in a replica while it is being made: Serve opens the port once that is done."""
    replica.add_port_to_grpc_server = _narrowed(replica.add_port_to_grpc_server)


def _narrowed(add_port: Callable[[Any, str], int]) -> Callable[[Any, str], int]:
    @functools.wraps(add_port)
    def add_narrow_port(server: Any, address: str) -> int:
        host = ray.util.get_node_ip_address()
        if address.startswith(_WILDCARD):
            host = f"[{host}]" if ":" in host else host
            address = f"{host}:{address.removeprefix(_WILDCARD)}"
        return add_port(server, address)

    return add_narrow_port
