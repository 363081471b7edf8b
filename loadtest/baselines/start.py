"""The naive server as a subprocess."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loadtest.server import Server, _stop, _wait_until_ready, free_port


@contextmanager
def start_naive_server(model: str) -> Iterator[Server]:
    """Run ``loadtest.baselines.naive_server`` on a free port and yield it once it is ready.

    Raises ``NotReady`` as :func:`loadtest.server.start_server` does.
    """
    port = free_port()
    command = [sys.executable, "-m", "loadtest.baselines.naive_server"]
    command += ["--model", model, "--port", str(port)]
    with tempfile.NamedTemporaryFile(prefix="naive-server-", suffix=".log") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        server = Server(f"http://127.0.0.1:{port}", process, Path(log.name))
        try:
            _wait_until_ready(server)
            yield server
        finally:
            _stop(process)
