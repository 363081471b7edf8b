"""What ``python -m serve_app`` may be told, and whether its ports are to be had."""

import argparse
import errno
import socket

from serve_app.errors import NotReady


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    options = argparse.ArgumentParser(
        prog="python -m serve_app",
        description="Serve speech to text on this machine. Settings: configs/dev.yaml.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    options.add_argument(
        "--config", default="dev", metavar="PROFILE", help="profile name or YAML file"
    )
    options.add_argument(
        "--model", metavar="NAME", help="catalogue name, directory or Hugging Face id"
    )
    options.add_argument("--host", help="address to listen on; 0.0.0.0: every interface")
    options.add_argument("--port", type=_port, help="port to listen on")
    options.add_argument(
        "--metrics-port", type=_port, help="serve /metrics for Prometheus on this port as well"
    )
    options.add_argument("--metrics-host", default="127.0.0.1", help="address of that port")
    return options


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65_535):
        raise argparse.ArgumentTypeError(f"{text!r} is no port; allowed: 1 to 65535")
    return int(text)


def require_free(host: str, port: int, option: str) -> None:
    """Raise ``NotReady`` where nothing can listen on ``host:port``, which ``option`` sets.

    Serve binds with SO_REUSEPORT: a second server would get every other request of the first.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # Connections of a server that has just ended do not matter, only listeners do.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except (OSError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise NotReady(
                f"port {port} on {host} is in use; end what listens there or choose another "
                f"with {option}"
            ) from error
        raise NotReady(f"cannot listen on {host} port {port}: {error}") from error
