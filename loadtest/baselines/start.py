"""The naive server as a subprocess."""

from contextlib import AbstractContextManager

from loadtest.server import Server, run_server


def start_naive_server(model: str) -> AbstractContextManager[Server]:
    """``loadtest.baselines.naive_server`` on a free port, once it is ready."""
    return run_server("loadtest.baselines.naive_server", ["--model", model])
