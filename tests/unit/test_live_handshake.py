"""How a page opens a live session where a key is set: what it offers, and what it is answered."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from serve_app.api.app import build_api
from serve_app.options import ModelFacts
from serve_app.settings import ApiKey, AppSettings
from tests.unit.deaf_service import DeafService

KEY = "open-sesame"

PATHS = ["/v1/stream", "/v1/listen", "/v1/speech-to-text/realtime", "/v1/realtime"]


class Multilingual(DeafService):
    """Has a model for any session."""

    async def model(self) -> ModelFacts:
        return ModelFacts("base", True, ("en", "de"), 51_865)


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(build_api(Multilingual(), AppSettings(), ApiKey(key=KEY))) as testing:
        yield testing


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("word", ["token", "bearer"])
def test_the_word_beside_a_key_is_the_subprotocol(client: TestClient, path: str, word: str) -> None:
    with client.websocket_connect(path, subprotocols=[word, KEY]) as socket:
        assert socket.accepted_subprotocol == word


def test_a_protocols_own_name_is_preferred(client: TestClient) -> None:
    offered = ["token", KEY, "realtime"]
    with client.websocket_connect("/v1/realtime", subprotocols=offered) as socket:
        assert socket.accepted_subprotocol == "realtime"


@pytest.mark.parametrize("path", PATHS)
def test_a_key_alone_is_never_the_subprotocol(client: TestClient, path: str) -> None:
    with client.websocket_connect(path, subprotocols=[KEY]) as socket:
        assert socket.accepted_subprotocol is None


@pytest.mark.parametrize("name", ["token", "Token", "Ocp-Apim-Subscription-Key"])
def test_a_key_in_the_query_is_no_option(client: TestClient, name: str) -> None:
    query = f"rate=8000&{name}={KEY}"
    with client.websocket_connect(f"/v1/stream?{query}") as socket:
        assert socket.receive_json()["options"]["rate"] == 8000
