"""Which tests go to one process where several run beside each other (``make test``'s ``JOBS``)."""

import re

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

PROXY = re.compile(r"\[.*(python|haproxy)")


class ByServer(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Those that share a server; else those of a file.

    xdist's own groups (``--dist loadgroup``) do nothing with pytest 9.2: pytest-xdist issue 1386.
    """

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByServer:
    return ByServer(config, log)


def scope_of(nodeid: str) -> str:
    """A test's ``nodeid`` is all that the scheduler knows of it."""
    path, _, test = nodeid.partition("::")
    folder = path.split("/")[-2]
    if folder == "contract":
        return folder
    proxy = PROXY.search(test) if folder == "resilience" else None
    return proxy[1] if proxy else path
