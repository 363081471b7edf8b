"""``python -m tests.resilience.sealed_off``: a server and its client where no network is.

To be started in a network namespace of its own. Prints as JSON what was observed, see ``main``.
"""

import fcntl
import json
import os
import socket
import stat
import struct
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from loadtest.server import Server, start_server
from serve_app.assets import GOLDEN_CLIP
from tests.contract.wire import post, wav, words_of
from tests.resilience.processes import family

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1  # linux/sockios.h, linux/if.h

ELSEWHERE = ("192.0.2.1", 443)
"""An address that belongs to nobody (RFC 5737)."""

LONG_SECONDS = 8_700
"""2.4 hours, 278 MB: more than the object store holds, and more than travels inside a call."""

MARKER = np.random.default_rng(4).integers(-7, 8, 64).astype("<i2")
"""Noise too faint to be decoded by the model, 64 samples that come in no other file."""

WRITTEN_TO = (Path("/tmp"), Path("/var/tmp"), Path.cwd(), Path.home())


def main() -> int:
    """Print what one server did with one short clip of speech and one long one of marked noise.

    ``routes``: of this namespace. ``refused``: what a connection to elsewhere yields here.
    ``words``: the transcript. ``lookups``: routes that the kernel was asked for in vain meanwhile.
    ``disk_bytes``: what the server caused to be written to disks. ``shared_bytes``: the most that
    it had in shared memory. ``leaks``: files on a disk that hold the marker.
    """
    raise_loopback()
    began, lookups = time.time(), vain_lookups()
    with start_server("tiny.en") as server:
        words = words_of(post(f"{server.url}/transcribe", GOLDEN_CLIP.read_bytes()))
        before = disk_bytes(server)
        marked = wav(np.tile(MARKER, LONG_SECONDS * 16_000 // len(MARKER)))
        answer = post(f"{server.url}/transcribe", marked)
        observed: dict[str, Any] = {
            "words": words,
            "status": answer.status_code,
            "disk_bytes": disk_bytes(server) - before,
            "leaks": sorted({*leaks(open_files(server)), *leaks(files_since(began))}),
            "lookups": vain_lookups() - lookups,
            "routes": Path("/proc/net/route").read_text().count("\n") - 1,
            "refused": refusal(),
        }
    print(json.dumps(observed))
    return 0


def raise_loopback() -> None:
    """Bring ``lo`` up (netdevice(7)); a new namespace has it down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", b"lo", 0)
        _, flags = struct.unpack("16sH14x", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request))
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | IFF_UP))


def refusal() -> str:
    """The error of a connection to another machine."""
    try:
        socket.create_connection(ELSEWHERE, timeout=5).close()
    except OSError as error:
        return os.strerror(error.errno or 0)
    return "none"


def vain_lookups() -> int:
    """Routes that this namespace's kernel did not find so far (proc(5), Ip: OutNoRoutes)."""
    names, values = [
        line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if "Ip:" in line
    ][:2]
    return int(values[names.index("OutNoRoutes")])


def disk_bytes(server: Server) -> int:
    """Bytes that the server's processes have caused to be written to storage (proc(5)).

    Pages of a memory-mapped file count once they are dirty; a file system in memory has no storage.
    """
    total = 0
    for process in family(server.process.pid):
        with suppress(OSError):
            lines = Path(f"/proc/{process.pid}/io").read_text().splitlines()
            total += int(dict(line.split(": ") for line in lines)["write_bytes"])
    return total


def open_files(server: Server) -> Iterator[Path]:
    """The files that the server's processes hold open, including removed ones."""
    for process in family(server.process.pid):
        with suppress(OSError):
            yield from Path(f"/proc/{process.pid}/fd").iterdir()


def files_since(began: float) -> Iterator[Path]:
    """Files modified since ``began``, in seconds of the epoch, where programs like to write."""
    for root in WRITTEN_TO:
        for folder, _, names in os.walk(root):
            for path in (Path(folder, name) for name in names):
                with suppress(OSError):
                    if path.lstat().st_mtime >= began:
                        yield path


def leaks(paths: Iterable[Path]) -> Iterator[str]:
    """Those of the files that are on a disk and hold the marker, as int16 or float32 samples."""
    needles = (MARKER.tobytes(), (MARKER / np.float32(32768)).astype("<f4").tobytes())
    for path in paths:
        with suppress(OSError):
            status = path.stat()
            if not stat.S_ISREG(status.st_mode) or status.st_dev == os.stat("/dev/shm").st_dev:
                continue
            content = path.read_bytes()
            if any(needle in content for needle in needles):
                yield os.path.realpath(path)


if __name__ == "__main__":
    sys.exit(main())
