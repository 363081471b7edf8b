"""How all tests run: spread over processes, by default with few examples of each property."""

import gc

import pytest
from hypothesis import settings
from xdist.remote import Producer

from tests.shared_servers import ByServer

settings.register_profile("few", max_examples=15, deadline=None)
settings.register_profile("many", max_examples=200, deadline=None)
settings.load_profile("few")


def pytest_collection_finish() -> None:
    """Exempt the objects of modules and tests from garbage collection. faster-whisper collects
    garbage after each decoding, which would take a third of a second.
    """
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByServer:
    return ByServer(config, log)
