"""Tests that use the same server run in the same process, so that the server starts once."""

import pytest
from xdist.scheduler import LoadScopeScheduling

SHARED_SERVERS = {"tiny_en", "base", "guarded", "server"}
"""Fixtures that start a server for the tests of several files."""


class ByServer(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives all tests of a shared server, or else all tests of a file, to one process.

    xdist's own groups (``--dist loadgroup``) do nothing with pytest 9.2: pytest-xdist issue 1386.
    """

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)


def scope_of(nodeid: str) -> str:
    """The server that a test shares with others, or else its file.

    The id of a test is all that the scheduler knows of it.
    """
    path, _, test = nodeid.partition("::")
    *_, folder, _file = path.split("/")
    servers = SHARED_SERVERS.intersection(test.partition("[")[2].removesuffix("]").split("-"))
    return f"{folder}: {min(servers)}" if servers and folder != "unit" else path


def name_servers(metafunc: pytest.Metafunc, *servers: str) -> None:
    """Add the servers that a test uses to its id."""
    for server in servers:
        if server in metafunc.fixturenames:
            metafunc.parametrize(server, [None], ids=[server], indirect=True, scope="package")
