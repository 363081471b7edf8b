"""Live connections over a service that hears nothing, message by message."""

import json
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from serve_app.api.app import build_api
from serve_app.api.facades import dashscope, stream
from serve_app.errors import WhisperOxError
from serve_app.options import ModelFacts
from serve_app.settings import ApiKey, AppSettings, LiveSettings
from tests.unit.deaf_service import DeafService

HALF = "\\ud800"
"""Half of a surrogate pair, as JSON escapes it."""


class Service(DeafService):
    async def model(self) -> ModelFacts:
        return ModelFacts("base", True, ("en", "de"), 51_865)


@pytest.fixture
def client() -> Iterator[TestClient]:
    """Of a server with one place."""
    settings = AppSettings(live=LiveSettings(sessions=1))
    with TestClient(build_api(Service(), settings, ApiKey())) as testing:
        yield testing


def test_half_of_a_surrogate_pair_in_the_name_of_a_task_is_told_back(client: TestClient) -> None:
    header = f'{{"action": "run-task", "task_id": "{HALF}"}}'
    with client.websocket_connect(dashscope.PATH) as socket:
        socket.send_text(f'{{"header": {header}, "payload": {{}}}}')
        told = socket.receive_text().encode()  # as a real connection would
    assert json.loads(told)["header"]["task_id"] == "\ud800"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (dashscope.PATH, "dashscope._Connection.tell_error"),
        (stream.PATH, "stream._Connection._tell"),
    ],
)
def test_a_connection_whose_error_cannot_be_told_gives_up_its_place(
    client: TestClient, path: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(connection: object, error: WhisperOxError) -> None:
        raise LookupError

    monkeypatch.setattr(f"serve_app.api.facades.{name}", broken)
    with pytest.raises(LookupError), client.websocket_connect(path) as socket:
        socket.send_text("garbage")
        while socket.receive()["type"] != "websocket.close":
            pass
    with client.websocket_connect(path):
        pass
