"""Which tests share a process when several run side by side (``make test``'s ``JOBS``)."""

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling


class ByServer(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Tests that share a server, else those of a file.

    xdist's own groups (``--dist loadgroup``) do nothing with pytest 9.2: pytest-xdist issue 1386.
    """

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByServer:
    return ByServer(config, log)


def scope_of(nodeid: str) -> str:
    """A test's ``nodeid`` is all that the scheduler knows of it."""
    path = nodeid.partition("::")[0]
    folder = path.split("/")[-2]
    return folder if folder == "contract" else path
