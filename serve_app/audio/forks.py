"""Workers and their zygote as the pool sees them: processes at the other end of a socket."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import anyio

from serve_app.audio.limits import AudioLimits, WorkerLimits
from serve_app.audio.worker import MESSAGE_BYTES

_KEPT = ("PATH", "LANG", "LD_LIBRARY_PATH")
"""Environment variables that a zygote gets. API keys are not among them."""

_ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.top_pad=8388608"
    ":glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=33554432",
}
"""One thread, because only one survives a fork, and a heap that a worker keeps. Otherwise each
upload pays again for its pages, some milliseconds."""


class Ending(NamedTuple):
    """How a worker ended: its exit code, or -n for signal n, and what it used in all.

    ``peak_kib`` includes what it shares with the zygote.
    """

    code: int
    peak_kib: int
    cpu_seconds: float


class Worker:
    """A process that decodes one upload: :mod:`serve_app.audio.worker`."""

    def __init__(self, zygote: "Zygote", channel: socket.socket, pid: int) -> None:
        self.zygote = zygote
        self._channel = channel
        self._ending: asyncio.Task[Any] | None = None
        self.pid = pid

    def is_alive(self) -> bool:
        """Whether an idle worker still waits for its upload."""
        try:
            return bool(self._channel.recv(1))  # it says nothing before it has one
        except BlockingIOError:
            return True
        except OSError:
            return False

    def begin(self, upload: int, outputs: Sequence[int]) -> None:
        """Let it decode the file of one descriptor into another, or its channels into several."""
        socket.send_fds(self._channel, [b"!"], [upload, *outputs])

    async def answer(self, within_seconds: float) -> dict[str, Any] | None:
        """Its next message; None once it has ended. Raises ``TimeoutError``."""
        with anyio.fail_after(within_seconds):
            try:
                message = await asyncio.get_running_loop().sock_recv(self._channel, MESSAGE_BYTES)
            except ConnectionError:
                return None
        return dict(json.loads(message)) if message else None

    async def end(self) -> Ending:
        """End it. Its code is that of ``SIGKILL`` if it was still running.

        Raises ``OSError`` if its zygote is gone, with which it ended.
        """
        if self._ending is None:
            self._channel.close()
            self._ending = asyncio.create_task(self.zygote.ask(str(self.pid).encode()))
        return Ending(*await asyncio.shield(self._ending))


class Zygote:
    """The process that forks workers: :mod:`serve_app.audio.zygote`. Used on one event loop."""

    def __init__(self, limits: AudioLimits, bounds: WorkerLimits) -> None:
        self._control, theirs = _channel()
        command = [sys.executable, "-m", "serve_app.audio.zygote", str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(
                [*command, limits.model_dump_json(), bounds.model_dump_json()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={name: os.environ[name] for name in _KEPT if name in os.environ}
                | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
                | _ENVIRONMENT,
            )
        self._asking = asyncio.Lock()

    async def fork(self) -> Worker:
        """A new worker. Raises ``OSError`` if the zygote is gone or cannot fork."""
        channel, theirs = _channel()
        try:
            with theirs:
                pid = await self.ask(b"fork", theirs.fileno())
        except BaseException:
            channel.close()
            raise
        return Worker(self, channel, int(pid))

    async def ask(self, message: bytes, *descriptors: int) -> Any:
        """The zygote's answer to a message. Cancel this only together with the zygote."""
        async with self._asking:
            socket.send_fds(self._control, [message], descriptors)
            answer = await asyncio.get_running_loop().sock_recv(self._control, MESSAGE_BYTES)
        if not answer:
            raise ConnectionResetError("the zygote has ended")
        return json.loads(answer)

    async def close(self) -> None:
        """End the zygote and all of its workers."""
        async with self._asking:
            self._control.close()
        await asyncio.to_thread(self._process.wait)


def _channel() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    return ours, theirs
