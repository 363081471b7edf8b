"""The environment variables: the operator's word first, names that Ray knows, and the images."""

import os
import re
from pathlib import Path

import pytest
from ray.serve._private import constants

from serve_app import environment
from serve_app.environment import RAYS, Variable, default_of
from serve_app.settings import HttpSettings

ROOT = Path(__file__).parents[2]
SERVES = [variable for variable in RAYS if variable.name.startswith("RAY_SERVE_")]
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


@pytest.mark.parametrize("variable", SERVES, ids=lambda variable: variable.name)
def test_ray_serve_reads_it(variable: Variable) -> None:
    assert f'"{variable.name}"' in Path(constants.__file__).read_text()


def test_haproxy_waits_longer_than_the_application() -> None:
    http = HttpSettings()
    assert int(default_of("RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S")) > http.upload_idle_seconds
    assert int(default_of("RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S")) >= http.request_seconds
    assert int(default_of("RAY_SERVE_HAPROXY_TUNE_BUFSIZE")) > http.max_header_bytes


@pytest.mark.parametrize("dockerfile", ["Dockerfile", "Dockerfile.gpu"])
def test_an_image_sets_what_every_server_sets(dockerfile: str) -> None:
    text = (ROOT / dockerfile).read_text()
    given = dict(re.findall(r"^(?:ENV|   ) (RAY_\w+)=(\S+)", text, re.MULTILINE))
    ours = {one.name: one.default for one in RAYS if one.set_by == "every server"}
    assert given == {**ours, **OF_IMAGES}
