"""A process that decodes one upload within hard limits, and then ends.

Its socket to the pool brings it file descriptors: the upload, and an empty file in memory for the
samples, or one for those of each audio channel. From then on it cannot open anything, neither a
file nor a connection, whatever the upload makes of the decoder. Nothing here needs privileges.
Linux only.
"""

import ctypes
import json
import mmap
import os
import resource
import signal
import socket
import struct
from typing import NoReturn

from serve_app.audio.clip import BYTES_PER_SECOND
from serve_app.audio.decode import decode, decode_audio
from serve_app.audio.limits import AudioLimits, WorkerLimits
from serve_app.audio.plan import inspect
from serve_app.errors import WhisperOxError

MESSAGE_BYTES = 64 * 1024
"""No message on a channel is longer."""

OUT_OF_MEMORY = 9
"""Exit status of a worker whose allocations failed at its limit."""

_PR_SET_PDEATHSIG = 1
_SPARE_SECONDS = 60
_BYTES_BETWEEN_REPORTS = 2**20


_AU_PCM16 = 3
_LOUD_LEFT, _FAINT_RIGHT = bytes.fromhex("40000000c0000000"), bytes.fromhex("000000400000ffc0")


def warm_up() -> None:
    """Touch the memory that decoding needs, while nobody waits: it takes 5 ms after a fork.

    One channel is loud and the other faint, which takes every step that decoding has. Some of them
    import modules when they are first used, and a confined worker cannot open those.
    """
    sound = 7_000 * _LOUD_LEFT + 7_000 * _FAINT_RIGHT
    header = struct.pack(">4s5I", b".snd", 24, len(sound), _AU_PCM16, 8_000, 2)
    decode_audio(header + sound, limits=AudioLimits())


def run(channel: socket.socket, limits: AudioLimits, bounds: WorkerLimits) -> NoReturn:
    """Decode the upload that comes through ``channel``, answer, and end the process."""
    status = 1
    try:
        _end_with_parent()
        warm_up()
        _, descriptors, _, _ = socket.recv_fds(channel, 1, 1 + limits.max_channels)
        if descriptors:  # none: the pool has ended
            upload, *outputs = descriptors
            payload = mmap.mmap(upload, 0, prot=mmap.PROT_READ)
            confine(limits, bounds)
            _answer(payload, outputs, _Progress(channel, bounds), limits)
        status = 0
    except MemoryError:
        status = OUT_OF_MEMORY
    finally:
        os._exit(status)


def _end_with_parent() -> None:
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the call
        os._exit(0)


def confine(limits: AudioLimits, bounds: WorkerLimits) -> None:
    """Give up, for good, what decoding one upload does not need."""
    with open("/proc/self/statm") as statm:
        mapped = int(statm.read().split()[0]) * resource.getpagesize()
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NPROC, 0)  # root is exempt
    _limit(resource.RLIMIT_FSIZE, round((limits.max_seconds + _SPARE_SECONDS) * BYTES_PER_SECOND))
    _limit(resource.RLIMIT_AS, mapped + bounds.memory_bytes)
    _limit(resource.RLIMIT_CPU, bounds.cpu_seconds_for(limits.max_seconds))
    _limit(resource.RLIMIT_NOFILE, 0)  # what is open stays open


def _limit(kind: int, most: int) -> None:
    ceiling = resource.getrlimit(kind)[1]
    most = most if ceiling == resource.RLIM_INFINITY else min(most, ceiling)
    resource.setrlimit(kind, (most, most))


class _Progress:
    """Tells the pool how much sound has come out, which also grants processor time.

    Sound that comes again, in another pass over the file, grants no more.
    """

    def __init__(self, channel: socket.socket, bounds: WorkerLimits) -> None:
        self._channel = channel
        self._bounds = bounds
        self._n_bytes = self._most_bytes = self._n_unreported = 0
        self._grant()

    def count(self, n_bytes: int) -> None:
        self._n_bytes += n_bytes
        self._n_unreported += n_bytes
        if self._n_unreported >= _BYTES_BETWEEN_REPORTS:
            self._n_unreported = 0
            self._grant()
            self.tell(n_bytes=self._n_bytes)

    def forget(self, n_bytes: int) -> None:
        self._n_bytes -= n_bytes

    def tell(self, **message: object) -> None:
        self._channel.send(json.dumps(message).encode())

    def _grant(self) -> None:
        self._most_bytes = max(self._most_bytes, self._n_bytes)
        granted = self._bounds.cpu_seconds_for(self._most_bytes / BYTES_PER_SECOND)
        most = resource.getrlimit(resource.RLIMIT_CPU)[1]
        resource.setrlimit(resource.RLIMIT_CPU, (min(granted, most), most))


class _Output:
    """Where samples go."""

    def __init__(self, descriptor: int, progress: _Progress) -> None:
        self._descriptor = descriptor
        self._progress = progress

    def write(self, piece: memoryview) -> None:
        n_bytes = len(piece)
        while piece:
            piece = piece[os.write(self._descriptor, piece) :]
        self._progress.count(n_bytes)

    def restart(self) -> None:
        self._progress.forget(os.fstat(self._descriptor).st_size)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.ftruncate(self._descriptor, 0)


def _answer(
    payload: mmap.mmap, descriptors: list[int], progress: _Progress, limits: AudioLimits
) -> None:
    outputs = [_Output(descriptor, progress) for descriptor in descriptors]
    try:
        view = memoryview(payload)
        decoded = decode(inspect(view), view, limits=limits, outputs=outputs)
        progress.tell(**decoded._asdict())
    except WhisperOxError as error:
        progress.tell(error=type(error).__name__, message=error.message, code=error.code)
