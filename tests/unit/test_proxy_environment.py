"""What Ray Serve's proxies are told: the operator's word first, and names that Ray knows."""

import json
import logging
import os
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import uvicorn.config
from ray.serve._private import constants
from ray.serve._private.http_util import validate_http_proxy_callback_return

from serve_app.errors import InvalidSetting
from serve_app.proxy.environment import HAPROXY_COMMAND, PROXY_ENVIRONMENT, set_proxy_environment
from serve_app.proxy.errors import middlewares
from serve_app.settings import HttpSettings, ProxySettings
from tests.unit.conftest import Printed


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An empty one in place of this process's."""
    empty: dict[str, str] = {}
    monkeypatch.setattr(os, "environ", empty)
    return empty


def test_what_the_operator_has_set_stays(environment: dict[str, str]) -> None:
    environment["RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S"] = "5"
    set_proxy_environment()
    assert environment["RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S"] == "5"
    assert environment["RAY_SERVE_HAPROXY_TUNE_BUFSIZE"] == "65536"
    assert Path(environment["RAY_SERVE_HAPROXY_BINARY_PATH"]) == HAPROXY_COMMAND


@pytest.mark.parametrize("name", [*PROXY_ENVIRONMENT, "RAY_SERVE_HAPROXY_BINARY_PATH"])
def test_ray_reads_what_is_set(name: str) -> None:
    assert f'"{name}"' in Path(constants.__file__).read_text()


@pytest.fixture
def protocols(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """uvicorn's, for the test to change."""
    own: dict[str, Any] = dict(uvicorn.config.HTTP_PROTOCOLS)
    monkeypatch.setattr(uvicorn.config, "HTTP_PROTOCOLS", own)
    return own


def test_serve_takes_what_the_callback_returns(protocols: dict[str, Any], printed: Printed) -> None:
    module, name = PROXY_ENVIRONMENT["RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"].split(":")
    assert validate_http_proxy_callback_return(getattr(import_module(module), name)())
    assert protocols["auto"] == "serve_app.proxy.heads:BoundedHeads"


def test_a_proxy_logs_as_the_application_does(
    protocols: dict[str, Any], printed: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_FORMAT", "json")
    middlewares()
    monkeypatch.setenv("LOG_FORMAT", "text")
    middlewares()  # as in a replica, which has its profile's format by then
    logging.getLogger("whisper_ox.proxy").warning("gone")
    assert json.loads(printed())["message"] == "gone"


def test_the_proxies_wait_longer_than_the_application() -> None:
    waits = int(PROXY_ENVIRONMENT["RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S"])
    assert waits > HttpSettings().upload_idle_seconds
    assert int(PROXY_ENVIRONMENT["RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S"]) >= (
        HttpSettings().request_seconds
    )
    assert int(PROXY_ENVIRONMENT["RAY_SERVE_HAPROXY_TUNE_BUFSIZE"]) > (
        HttpSettings().max_header_bytes
    )
    assert ProxySettings().max_head_bytes > HttpSettings().max_header_bytes


def test_proxy_settings_come_from_the_environment(environment: dict[str, str]) -> None:
    environment.update(WHISPER_OX_HEAD_SECONDS="2.5", WHISPER_OX_MAX_HEAD_BYTES="")
    assert ProxySettings.from_environment() == ProxySettings(head_seconds=2.5)


@pytest.mark.parametrize(
    ("name", "value"),
    [("WHISPER_OX_HEAD_SECONDS", "soon"), ("WHISPER_OX_MAX_HEAD_BYTES", "1")],
)
def test_a_value_that_is_not_allowed_is_named(
    environment: dict[str, str], name: str, value: str
) -> None:
    environment[name] = value
    with pytest.raises(InvalidSetting, match=f"{name} is '{value}'"):
        ProxySettings.from_environment()
