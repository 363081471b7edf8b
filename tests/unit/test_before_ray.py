"""What is ready before Ray is imported: a proxy, ports and files of its own, and nothing on a
disk."""

import errno
import os
import resource
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from serve_app.errors import InvalidSetting, NotReady
from serve_app.serving import before_ray
from serve_app.serving.before_ray import FILES, FIRST_REPLICA_PORT, PORTS, prepared_for_ray
from serve_app.serving.ports import FIRST_PORTS


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """The process's environment, empty, and its limit for core files, restored afterwards."""
    empty: dict[str, str] = {}
    monkeypatch.setattr(os, "environ", empty)
    limits = resource.getrlimit(resource.RLIMIT_CORE)
    yield empty
    resource.setrlimit(resource.RLIMIT_CORE, limits)


def test_haproxy_is_the_proxy_where_rays_wheel_brings_it(environment: dict[str, str]) -> None:
    with prepared_for_ray():
        assert environment["RAY_SERVE_ENABLE_HA_PROXY"] == "1"
        command = Path(environment["RAY_SERVE_HAPROXY_BINARY_PATH"])
        assert os.access(command, os.X_OK)


def test_elsewhere_the_python_proxy_is(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(before_ray, "find_spec", lambda name: None)
    with prepared_for_ray():
        assert environment["RAY_SERVE_ENABLE_HA_PROXY"] == "0"
        assert not PORTS.keys() & environment.keys()


def test_an_operator_may_choose_the_python_proxy(environment: dict[str, str]) -> None:
    environment["RAY_SERVE_ENABLE_HA_PROXY"] = "0"
    with prepared_for_ray():
        assert environment["RAY_SERVE_ENABLE_HA_PROXY"] == "0"
        assert not PORTS.keys() & environment.keys()


def test_two_servers_have_no_port_and_no_file_in_common(environment: dict[str, str]) -> None:
    with prepared_for_ray():
        first = {name: environment.pop(name) for name in (*PORTS, *FILES)}
        end = int(environment.pop("RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT"))
        with prepared_for_ray():
            second = {name: environment[name] for name in (*PORTS, *FILES)}
    assert not set(first.values()) & set(second.values())
    assert end <= int(second["RAY_SERVE_HAPROXY_METRICS_PORT"])


def test_nobody_else_may_give_haproxy_orders(environment: dict[str, str]) -> None:
    with prepared_for_ray():
        folder = Path(environment["RAY_SERVE_HAPROXY_SOCKET_PATH"]).parent
        assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IRWXU
    assert not folder.exists()


def test_metrics_that_nobody_can_read_are_not_collected(environment: dict[str, str]) -> None:
    with prepared_for_ray():
        assert "RAY_enable_metrics_collection" not in environment  # Ray's default is to collect
    with prepared_for_ray(collects_metrics=False):
        assert environment["RAY_enable_metrics_collection"] == "0"


def test_an_operator_may_collect_metrics_all_the_same(environment: dict[str, str]) -> None:
    environment["RAY_enable_metrics_collection"] = "1"
    with prepared_for_ray(collects_metrics=False):
        assert environment["RAY_enable_metrics_collection"] == "1"


def test_ports_that_the_operator_chose_stay(environment: dict[str, str]) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment[FIRST_REPLICA_PORT] = str(port)
    with prepared_for_ray():
        assert environment[FIRST_REPLICA_PORT] == str(port)
        assert int(environment["RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT"]) == port + 90
        assert int(environment["RAY_SERVE_HAPROXY_STATS_PORT"]) in range(
            FIRST_PORTS.start, FIRST_PORTS.stop
        )


def test_a_port_that_is_taken_is_named(environment: dict[str, str]) -> None:
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        environment["RAY_SERVE_HAPROXY_STATS_PORT"] = port
        with (
            pytest.raises(NotReady, match=f"port {port} .* RAY_SERVE_HAPROXY_STATS_PORT"),
            prepared_for_ray(),
        ):
            pass


def test_a_tmp_that_cannot_be_written_is_told_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def mkdir(path: str, mode: int = 0o777) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    monkeypatch.setattr(os, "mkdir", mkdir)
    told = r"/tmp cannot be written \(Read-only file system\).*--tmpfs /tmp"
    with pytest.raises(NotReady, match=told), prepared_for_ray():
        pass


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WHISPER_OX_HEAD_SECONDS", "soon"),
        ("WHISPER_OX_HEAD_SECONDS", "-1"),
        ("WHISPER_OX_HEAD_SECONDS", "nan"),
        ("RAY_SERVE_HAPROXY_METRICS_PORT", "many"),
        ("RAY_SERVE_HAPROXY_MAXCONN", "many"),
        ("RAY_SERVE_HAPROXY_MAXCONN", ""),
    ],
)
def test_a_value_that_is_not_allowed_is_named(
    environment: dict[str, str], name: str, value: str
) -> None:
    environment[name] = value
    with pytest.raises(InvalidSetting, match=f"{name} is '{value}'"), prepared_for_ray():
        pass


def test_ray_spills_nothing_and_a_crash_leaves_no_core(environment: dict[str, str]) -> None:
    with prepared_for_ray():
        assert environment["RAY_automatic_object_spilling_enabled"] == "0"
        assert environment["RAY_object_spilling_directory"] == "/dev/shm"
        assert resource.getrlimit(resource.RLIMIT_CORE)[0] == 0


def test_rays_telemetry_is_off_whatever_the_environment_says(environment: dict[str, str]) -> None:
    environment["RAY_USAGE_STATS_ENABLED"] = "1"
    with prepared_for_ray():
        assert environment["RAY_USAGE_STATS_ENABLED"] == "0"


def test_each_server_has_a_token_of_its_own(environment: dict[str, str]) -> None:
    with prepared_for_ray():
        token = environment.pop("RAY_AUTH_TOKEN")
    with prepared_for_ray():
        assert environment["RAY_AUTH_TOKEN"] != token


@pytest.mark.parametrize("given", [{"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_TOKEN_PATH": "/x"}])
def test_a_token_is_made_up_only_if_one_is_needed(
    environment: dict[str, str], given: dict[str, str]
) -> None:
    environment.update(given)
    with prepared_for_ray():
        assert "RAY_AUTH_TOKEN" not in environment
