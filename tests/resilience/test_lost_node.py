"""A node with a model replica is lost under load, and the other one continues."""

import signal
from collections.abc import Iterator

import pytest

from loadtest.server import Server, run_server
from tests.conditions import eventually
from tests.resilience.cluster import NODE_LOST
from tests.resilience.conftest import hellos
from tests.resilience.load import failed, loaded
from tests.resilience.processes import READY, end

pytestmark = pytest.mark.long

N_NODES = 2


@pytest.fixture
def cluster() -> Iterator[Server]:
    flags = ["--nodes", str(N_NODES)]
    with run_server("tests.resilience.cluster", flags, {"RAY_DEDUP_LOGS": "0"}) as server:
        try:
            eventually(lambda: server.log.read_text().count(READY) == N_NODES)
            yield server
        finally:
            print(server.log.read_text())
            end(server.process.pid)


def test_a_lost_node_costs_no_request(cluster: Server) -> None:
    with loaded(f"{cluster.url}", hellos(8), clients=4) as load:
        cluster.process.send_signal(signal.SIGUSR1)
        eventually(lambda: NODE_LOST in cluster.log.read_text())
        load.goes_on()
    assert failed(load.outcomes) == []
    assert {outcome.text for outcome in load.outcomes} == {load.outcomes[0].text}
