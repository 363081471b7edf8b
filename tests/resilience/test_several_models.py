"""A server of two models, as real clients see it."""

import httpx
import openai
import pytest

from loadtest.server import Server
from tests.conditions import eventually
from tests.contract.wire import post, words_of
from tests.resilience.test_lost_processes import is_ready


@pytest.fixture
def client(server: Server) -> openai.OpenAI:
    eventually(lambda: is_ready(server))
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0)


def test_the_server_is_ready_with_all_of_its_models(server: Server, client: openai.OpenAI) -> None:
    assert httpx.get(f"{server.url}/readyz").json() == {
        "status": "ready",
        "model": "tiny.en",
        "multilingual": False,
        "models": ["tiny.en", "base"],
    }
    assert [model.id for model in client.models.list()] == ["tiny.en", "base", "whisper-1"]


@pytest.mark.parametrize(("named", "model"), [("whisper-1", "tiny.en"), ("base", "base")])
def test_a_client_chooses_the_model(
    client: openai.OpenAI, hello: bytes, named: str, model: str
) -> None:
    answer = client.audio.transcriptions.with_raw_response.create(file=hello, model=named)
    assert answer.headers["X-Model"] == model
    assert "hello" in answer.parse().text.lower()


def test_only_the_multilingual_model_takes_other_languages(
    server: Server, client: openai.OpenAI, hello: bytes
) -> None:
    german = {"language": "de"}
    url = f"{server.url}/transcribe"
    assert post(url, hello, german).json()["error"]["code"] == "invalid_option"
    assert words_of(post(url, hello, german | {"model": "base"}))


def test_an_unknown_model_is_not_found(client: openai.OpenAI, hello: bytes) -> None:
    with pytest.raises(openai.NotFoundError, match=r"tiny\.en, base"):
        client.audio.transcriptions.create(file=hello, model="small")
