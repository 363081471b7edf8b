"""Environment variables: the operator's values win, Ray knows the names, and the images agree."""

import os
import re
from pathlib import Path

import pytest
from ray.serve._private import constants

from serve_app import environment
from serve_app.environment import SET_BY_A_LOCAL_SERVER, SET_BY_EVERY_SERVER
from serve_app.errors import InvalidSetting
from serve_app.settings import HttpSettings
from tools.variables import RAYS

ROOT = Path(__file__).parents[2]
SERVES = [one.name for one in RAYS if one.name.startswith("RAY_SERVE_")]
OF_IMAGES = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_HAPROXY_BINARY_PATH": (
        "/opt/venv/lib/python3.11/site-packages/serve_app/serving/haproxy.py"
    ),
}
"""What a local server finds out by itself."""


def test_what_the_operator_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "5"})
    environment.set_defaults()
    assert os.environ["RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S"] == "5"
    assert os.environ["RAY_SERVE_HAPROXY_TUNE_BUFSIZE"] == "65536"
    assert "RAY_LOG_TO_STDERR" not in os.environ


def test_a_choice_is_read_leniently_and_an_unknown_one_is_refused_with_those_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    allowed = ("text", "json")
    for value, read in [(" JSON ", "json"), (" ", ""), ("", "")]:
        monkeypatch.setenv("LOG_FORMAT", value)
        assert environment.choice("LOG_FORMAT", allowed) == read
    monkeypatch.delenv("LOG_FORMAT")
    assert environment.choice("LOG_FORMAT", allowed) == ""
    monkeypatch.setenv("LOG_FORMAT", "x" * 1_000)
    with pytest.raises(InvalidSetting, match=r"is 'x{40}'; allowed: text, json\.$") as refusal:
        environment.choice("LOG_FORMAT", allowed)
    assert refusal.value.field == "LOG_FORMAT"


@pytest.mark.parametrize("name", SERVES)
def test_ray_serve_reads_it(name: str) -> None:
    assert f'"{name}"' in Path(constants.__file__).read_text()


def test_haproxy_waits_longer_than_the_application() -> None:
    http, given = HttpSettings(), SET_BY_EVERY_SERVER
    assert int(given["RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S"]) > http.upload_idle_seconds
    assert int(given["RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S"]) >= http.request_seconds
    assert int(given["RAY_SERVE_HAPROXY_TUNE_BUFSIZE"]) > http.max_header_bytes


@pytest.mark.parametrize("dockerfile", ["Dockerfile", "Dockerfile.gpu"])
def test_an_image_sets_what_every_server_sets(dockerfile: str) -> None:
    text = (ROOT / dockerfile).read_text()
    given = dict(re.findall(r"^(?:ENV|   ) (RAY_\w+)=(\S+)", text, re.MULTILINE))
    assert given == {**SET_BY_EVERY_SERVER, **OF_IMAGES}


def test_every_variable_that_is_set_is_explained() -> None:
    assert SET_BY_A_LOCAL_SERVER.keys() <= {one.name for one in RAYS}
