"""Every use of undocumented parts of Ray. The rest of ``serving/`` uses only its public interface.

Each function here has been checked with Ray 2.60, refuses every other version with ``NotReady``,
and has a test in ``tests/unit/test_ray_internals.py`` that fails if Ray changes what the function
relies on. To upgrade Ray, run those tests with the new version, then change ``CHECKED_RAY``.

Two more things rely on undocumented behaviour and are tested in the same way: the names of Ray's
environment variables (:mod:`serve_app.environment`), and the form of the configuration that Serve
writes for HAProxy (``haproxy.py``, a command that Serve starts).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import ray
from ray._private import services, utils
from ray.serve._private import proxy, replica
from ray.serve._private.direct_ingress_http_util import ASGIDIReceiveProxy
from ray.serve._private.http_util import ASGIReceiveProxy, MessageQueue
from ray.serve.handle import DeploymentHandle
from starlette.types import Message, Receive

from serve_app.errors import NotReady

CHECKED_RAY = "2.60"

SERVES_HEADERS = frozenset(
    {b"x-request-timeout-seconds", b"x-request-disconnect-disabled", b"serve-multiplexed-model-id"}
)
"""With these headers a caller could lift Serve's time limit, hide that it left, or choose a
replica."""

HEADERS_READ_AS_TEXT = frozenset({b"x-session-id", b"traceparent", b"tracestate"})
"""Serve reads the values of these headers as UTF-8, and fails if they are not."""

READ_AHEAD_MESSAGES = 4
"""Bytes of a body that the Python proxy reads before the replica asks for more. A message of
uvicorn has up to 320 KiB."""

_EVERY_INTERFACE = "[::]:"


def require_checked_ray() -> None:
    """Raise ``NotReady`` unless this is the version of Ray that this module was checked with."""
    if not ray.__version__.startswith(f"{CHECKED_RAY}."):
        raise NotReady(
            f"This version of Whisper OX needs Ray {CHECKED_RAY}, not {ray.__version__}: install "
            "the packages that requirements.lock names."
        )


def start_no_usage_reporter() -> None:
    """Make Ray leave out its API server. Call this before ``ray.init``.

    With the dashboard off, the API server only serves usage statistics. With these off too, it
    still asks the metadata services of three clouds whether it runs there.
    """
    require_checked_ray()
    services.start_api_server = lambda *args, **options: ("", None)


def leave_sigterm_alone() -> None:
    """Keep ``ray.init`` from handling SIGTERM. Call this before it.

    Ray's handler would end the process without a word while Ray starts.
    """
    require_checked_ray()
    utils.set_sigterm_handler = lambda handler: None


def listen_on_node_address_only() -> None:
    """Bind Serve's gRPC port to the node's address. Call this while a replica is being constructed.

    Serve would open the port on every interface. It unpickles everything that it receives and asks
    for no token, so whoever reaches it can run code as the server. Callers use the node's own
    address, which is the loopback address for a local server. Between nodes, a network policy must
    keep others out.
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


def pull_bodies() -> None:
    """Let bodies arrive as they are read. Call this in a replica or a proxy before its first
    request.

    Serve would read a body from the connection as fast as it arrives and queue all of it, without a
    limit, before the application asks for a byte. It would also tell a client that sends ``Expect:
    100-continue`` to continue before the application can refuse the request.
    """
    require_checked_ray()
    replica.ASGIDIReceiveProxy = _PulledFromServer
    replica.ASGIReceiveProxy = _PulledFromProxy
    proxy.MessageQueue = _PulledQueue
    proxy.HTTPProxy.proxy_asgi_receive = _fill_as_pulled


class _Pull:
    """Lets one side fetch once for each time that the other side asks.

    ``loop`` is that of the fetching side if the other side is on a different one. After the last
    piece of a body nobody asks any more, and the fetching side only waits for the client to leave.
    A WebSocket has no last message, so its application always asks.
    """

    def __init__(self, scope: Any, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._loop = loop
        self._was_asked = asyncio.Event()
        self._is_over = False
        self._is_body = scope["type"] == "http"

    async def turn(self) -> None:
        """Wait until the other side has asked."""
        if not self._is_over:
            await self._was_asked.wait()
            self._was_asked.clear()

    def ask(self) -> None:
        if self._loop is None:
            self._was_asked.set()
        else:
            self._loop.call_soon_threadsafe(self._was_asked.set)

    def took(self, message: Message) -> None:
        if self._is_body and not message.get("more_body", False):
            self._is_over = True
            self.ask()


class _Pulled:
    """The part of Serve's two classes below that the application calls."""

    queue: "asyncio.Queue[Message]"
    _pull: _Pull

    async def __call__(self) -> Message:
        if self.queue.empty():
            self._pull.ask()
        message: Message = await super().__call__()  # type: ignore[misc]  # Serve's
        self._pull.took(message)
        return message


class _PulledFromServer(_Pulled, ASGIDIReceiveProxy):  # type: ignore[misc]  # ray has no types
    """What a replica behind HAProxy reads from the HTTP server in the same process."""

    def __init__(self, scope: Any, receive: Receive, user_event_loop: Any) -> None:
        self._pull = _Pull(scope, asyncio.get_running_loop())

        async def pulled() -> Message:
            await self._pull.turn()
            return await receive()

        super().__init__(scope, pulled, user_event_loop)


class _PulledFromProxy(_Pulled, ASGIReceiveProxy):  # type: ignore[misc]  # ray has no types
    """What a replica behind the Python proxy reads from that process."""

    def __init__(
        self, scope: Any, request_metadata: Any, fetch: Callable[[Any], Awaitable[bytes]]
    ) -> None:
        self._pull = _Pull(scope)

        async def pulled(metadata: Any) -> bytes:
            await self._pull.turn()
            return await fetch(metadata)

        super().__init__(scope, request_metadata, pulled)


class _PulledQueue(MessageQueue):  # type: ignore[misc]  # ray has no types
    """What the Python proxy has read of a request and the replica has not fetched yet."""

    def __init__(self) -> None:
        super().__init__()
        self._has_room = asyncio.Event()

    async def room(self) -> None:
        """Wait until the replica has asked, and while the queue is full."""
        await self._has_room.wait()
        if len(self._message_queue) >= READ_AHEAD_MESSAGES - 1:
            self._has_room.clear()

    async def wait_for_message(self) -> None:
        self._has_room.set()
        await super().wait_for_message()

    def get_messages_nowait(self) -> list[Message]:
        self._has_room.set()
        messages: list[Message] = super().get_messages_nowait()
        return messages


_fill = proxy.HTTPProxy.proxy_asgi_receive


async def _fill_as_pulled(self: Any, receive: Receive, queue: _PulledQueue) -> int | None:
    async def pulled() -> Message:
        await queue.room()
        return await receive()

    code: int | None = await _fill(self, pulled, queue)
    return code


def inside_the_call(handle: DeploymentHandle) -> DeploymentHandle:
    """``handle`` over Serve's gRPC instead of Ray's core, which saves 5 ms per call.

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
    """Keep Ray's messages about a start out of this process's log."""
    require_checked_ray()
    for chatty in ("ray.serve", "ray._private.authentication.authentication_token_setup"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
