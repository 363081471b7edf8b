"""Redeploying a running application under load, without a failed request."""

import signal
from collections.abc import Iterator

import pytest

from loadtest.server import Server, run_server
from tests.conditions import eventually
from tests.contract.wire import post
from tests.resilience.conftest import hellos
from tests.resilience.load import failed, loaded
from tests.resilience.processes import READY, end
from tests.resilience.redeploying import REDEPLOYED

ENVIRONMENT = {
    # HAProxy forgets an HTTP replica long before the 30 s that Serve would keep it for.
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
}

REDEPLOY_SECONDS = 180.0
"""Starts of three replicas one after another, while others use the cores."""


@pytest.fixture(
    scope="module", params=[1, pytest.param(2, marks=pytest.mark.long)], ids="{}-replicas".format
)
def redeploying(request: pytest.FixtureRequest) -> Iterator[Server]:
    replicas: int = request.param
    flags = ["--replicas", str(replicas)]
    with run_server("tests.resilience.redeploying", flags, ENVIRONMENT) as server:
        try:
            eventually(lambda: server.log.read_text().count(READY) == replicas)
            yield server
        finally:
            print(server.log.read_text())
            end(server.process.pid)


def redeploy_under_load(server: Server, signum: signal.Signals) -> None:
    before = server.log.read_text().count(REDEPLOYED)
    with loaded(server.url, hellos(8)) as load:
        server.process.send_signal(signum)
        eventually(lambda: server.log.read_text().count(REDEPLOYED) > before, REDEPLOY_SECONDS)
        load.goes_on()
    assert failed(load.outcomes) == []


def test_a_new_user_config_costs_no_request(redeploying: Server) -> None:
    loads = redeploying.log.read_text().count(READY)
    redeploy_under_load(redeploying, signal.SIGUSR1)
    assert redeploying.log.read_text().count(READY) == loads  # without a restart


def test_new_args_cost_no_request(redeploying: Server) -> None:
    redeploy_under_load(redeploying, signal.SIGUSR2)
    response = post(f"{redeploying.url}/transcribe", hellos(1), {"no_such_option": 1})
    assert response.status_code == 422  # strict_options is on now
