"""The TCP ports of a local server: that they are free, and that no second server takes them.

Ray Serve shares most of its ports with any process that listens there already (SO_REUSEPORT).
Without these checks, a second server on the machine would receive some of the first one's requests.
"""

import errno
import socket
from contextlib import suppress

from serve_app.errors import NotReady

BLOCK_PORTS = 100
FIRST_PORTS = range(20_000, 30_000, BLOCK_PORTS)
"""Where blocks begin: above the ports of Ray's workers (10002 to 19999), below those that Linux
gives to outgoing connections (from 32768)."""


def require_free(host: str, port: int, option: str) -> None:
    """Raise ``NotReady`` unless something can listen on ``host:port``, which ``option`` sets."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # Only listeners matter, not connections of a server that has just ended.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except (OSError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise NotReady(
                f"port {port} on {host} is in use; stop what listens there or choose another "
                f"port with {option}"
            ) from error
        raise NotReady(f"cannot listen on {host} port {port}: {error}") from error


class PortBlock:
    """``BLOCK_PORTS`` free ports from ``first`` on. ``first`` itself is not for use: it stays bound
    until :meth:`close`, so that another server goes on to the next block.

    Raises ``NotReady`` if no block is free.
    """

    def __init__(self) -> None:
        for self.first in FIRST_PORTS:
            self._held = socket.socket()
            with suppress(OSError):
                self._held.bind(("", self.first))
                for port in range(self.first + 1, self.first + BLOCK_PORTS):
                    with socket.socket() as probe:
                        probe.bind(("", port))
                return
            self._held.close()
        raise NotReady(
            f"no {BLOCK_PORTS} ports in a row are free from {FIRST_PORTS.start} to "
            f"{FIRST_PORTS.stop}, and HAProxy needs some; RAY_SERVE_ENABLE_HA_PROXY=0 does "
            "without it"
        )

    def close(self) -> None:
        """Release the block to other servers."""
        self._held.close()
