"""The process from which workers are forked: small, with one thread and everything imported.

``python -m serve_app.audio.zygote FD LIMITS BOUNDS``: FD is its end of a socket to the pool. A
message with a descriptor asks for a worker on that channel, and the answer is its process id. A
message with a process id asks to end that worker, and the answer is how it ended. Both happen here,
because only the parent of a process can be sure that the id still means that process.
"""

import gc
import json
import os
import signal
import socket
import sys

from serve_app.audio.limits import AudioLimits, WorkerLimits
from serve_app.audio.worker import run, warm_up


def main() -> None:
    """Fork and end workers until the pool closes its end of the socket. This ends all workers."""
    control = socket.socket(fileno=int(sys.argv[1]))
    limits = AudioLimits.model_validate_json(sys.argv[2])
    bounds = WorkerLimits.model_validate_json(sys.argv[3])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the pool, which closes its end
    warm_up()
    gc.collect()
    gc.freeze()  # a collection in a worker would copy every page
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 32, 1)
        if not message:
            return
        if descriptors:
            control.send(str(_fork(control, descriptors[0], limits, bounds)).encode())
        else:
            control.send(json.dumps(_end(int(message))).encode())


def _fork(
    control: socket.socket, descriptor: int, limits: AudioLimits, bounds: WorkerLimits
) -> int:
    pid = os.fork()
    if not pid:
        control.close()
        run(socket.socket(fileno=descriptor), limits, bounds)
    os.close(descriptor)
    return pid


def _end(pid: int) -> tuple[int, int, float]:
    os.kill(pid, signal.SIGKILL)  # one that has ended already keeps its status
    _, status, usage = os.wait4(pid, 0)
    return os.waitstatus_to_exitcode(status), usage.ru_maxrss, usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
