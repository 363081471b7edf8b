"""What Ray does not document is as we rely on it, and a version that nobody checked is refused."""

import inspect
import re
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray._common.tls_utils import add_port_to_grpc_server
from ray._private import node, services, utils, worker
from ray.serve._private import replica
from ray.serve._private.constants import (
    SERVE_HTTP_REQUEST_DISCONNECT_DISABLED_HEADER,
    SERVE_HTTP_REQUEST_TIMEOUT_S_HEADER,
    SERVE_MULTIPLEXED_MODEL_ID,
    SERVE_SESSION_ID,
)
from ray.serve._private.handle_options import DynamicHandleOptions
from ray.serve.handle import DeploymentHandle

import serve_app
from serve_app.errors import NotReady
from serve_app.serving import ray_internals
from serve_app.serving.ray_internals import CHECKED_RAY

NODE = "10.1.2.3"


@pytest.fixture(autouse=True)
def untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is replaced in Ray is restored after a test."""
    for module, name in (
        (replica, "add_port_to_grpc_server"),
        (services, "start_api_server"),
        (utils, "set_sigterm_handler"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name))
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: NODE)


def test_the_installed_ray_is_the_one_that_was_checked() -> None:
    ray_internals.require_checked_ray()


@pytest.mark.parametrize(
    "use",
    [
        ray_internals.start_no_usage_reporter,
        ray_internals.leave_sigterm_alone,
        ray_internals.listen_on_node_address_only,
        ray_internals.metrics_port,
        ray_internals.quiet_logs,
        lambda: ray_internals.inside_the_call(DeploymentHandle("Transcriber", "whisper-ox")),
    ],
)
def test_another_ray_is_refused(use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "__version__", "2.61.0")
    with pytest.raises(NotReady, match=rf"needs Ray {CHECKED_RAY}, not 2\.61\.0"):
        use()


def test_ray_handles_sigterm_by_the_function_that_we_replace() -> None:
    assert "ray._private.utils.set_sigterm_handler(" in inspect.getsource(worker.init)
    before = signal.getsignal(signal.SIGTERM)
    ray_internals.leave_sigterm_alone()
    utils.set_sigterm_handler(lambda *_: None)
    assert signal.getsignal(signal.SIGTERM) is before


def test_ray_starts_its_api_server_by_the_function_that_we_replace() -> None:
    source = inspect.getsource(node.Node.start_api_server)
    assert "= ray._private.services.start_api_server(" in source
    ray_internals.start_no_usage_reporter()
    url, process = services.start_api_server(True, "127.0.0.1", "", "", "")
    assert (url, process) == ("", None)


def test_a_replica_opens_its_grpc_port_on_the_nodes_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[str] = []

    def add_port(server: Any, address: str) -> int:
        opened.append(address)
        return 7

    monkeypatch.setattr(replica, "add_port_to_grpc_server", add_port)
    ray_internals.listen_on_node_address_only()
    assert replica.add_port_to_grpc_server(None, "[::]:0") == 7
    replica.add_port_to_grpc_server(None, "127.0.0.1:0")
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: "fd00::1")
    replica.add_port_to_grpc_server(None, "[::]:0")
    assert opened == [f"{NODE}:0", "127.0.0.1:0", "[fd00::1]:0"]


def test_a_replica_opens_its_grpc_port_by_the_function_that_we_replace() -> None:
    assert replica.add_port_to_grpc_server is add_port_to_grpc_server
    assert 'add_port_to_grpc_server(self._server, "[::]:0")' in inspect.getsource(replica)


def test_a_handle_may_send_arguments_inside_the_call() -> None:
    assert "_by_reference" in inspect.signature(DeploymentHandle.options).parameters
    handle: Any = SimpleNamespace(options=DynamicHandleOptions().copy_and_update)
    assert ray_internals.inside_the_call(handle)._by_reference is False


def test_the_agents_port_is_read_from_the_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "nodes", lambda: [{"MetricsExportPort": 9}])
    assert ray_internals.metrics_port() == 9


def test_the_headers_that_are_kept_out_are_those_that_serve_reads() -> None:
    def names(*given: str) -> set[bytes]:
        return {name.lower().replace("_", "-").encode() for name in given}

    assert (
        names(
            SERVE_HTTP_REQUEST_TIMEOUT_S_HEADER,
            SERVE_HTTP_REQUEST_DISCONNECT_DISABLED_HEADER,
            SERVE_MULTIPLEXED_MODEL_ID,
        )
        == ray_internals.SERVES_HEADERS
    )
    assert names(SERVE_SESSION_ID) <= ray_internals.HEADERS_READ_AS_TEXT


def test_only_serving_knows_ray_and_one_file_what_ray_does_not_document() -> None:
    package = Path(serve_app.__file__).parent
    for source in package.rglob("*.py"):
        text = source.read_text()
        if source.parent.name != "serving":
            assert not re.search(r"^ *(import|from) ray\b", text, re.MULTILINE), source
        if source.name != "ray_internals.py":
            assert not re.search(r"\bray\.\S*_private|_by_reference", text), source
