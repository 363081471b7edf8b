"""Web pages of other origins: what a browser asks first, and what it lets a page read."""

import logging
from typing import Any

import pytest
from starlette.testclient import TestClient

from serve_app.api.app import build_api
from serve_app.api.call import CALL_HEADERS
from serve_app.api.edge.drain import Drain, DrainStage
from serve_app.assets import GOLDEN_CLIP
from serve_app.errors import Overloaded
from serve_app.settings import ApiKey, AppSettings, HttpSettings
from tests.unit.deaf_service import DeafService

PAGE, KEY = "https://app.example.com", "open-sesame"
PREFLIGHT = {
    "Origin": PAGE,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "x-api-key,x-priority,x-stainless-os",
}
ALLOWED = "access-control-allow-origin"


def site(*origins: str, error: Exception | None = None, drain: Drain | None = None) -> TestClient:
    http = HttpSettings(cors_origins=origins, max_body_bytes=100_000)
    app = build_api(DeafService(error), AppSettings(http=http), ApiKey(key=KEY), drain=drain)
    return TestClient(app)


def post(client: TestClient, audio: bytes | None = None, key: str = KEY) -> Any:
    files = {"file": audio or GOLDEN_CLIP.read_bytes()}
    return client.post("/transcribe", files=files, headers={"Origin": PAGE, "X-API-Key": key})


def test_a_preflight_needs_no_key() -> None:
    response = site(PAGE).options("/transcribe", headers=PREFLIGHT)
    assert (response.status_code, response.headers[ALLOWED]) == (200, PAGE)
    assert "POST" in response.headers["access-control-allow-methods"]
    asked = PREFLIGHT["Access-Control-Request-Headers"]
    assert response.headers["access-control-allow-headers"] == asked


def test_a_page_may_read_the_answer_and_our_headers() -> None:
    response = post(site(PAGE))
    assert (response.status_code, response.headers[ALLOWED]) == (200, PAGE)
    exposed = set(response.headers["access-control-expose-headers"].split(", "))
    assert exposed == {"X-Request-ID", "Retry-After", *CALL_HEADERS}
    assert "access-control-allow-credentials" not in response.headers


def test_a_page_may_read_why_it_was_refused() -> None:
    closed = Drain()
    closed.advance(DrainStage.CLOSED)
    answers = [
        post(site(PAGE), key="wrong"),
        post(site(PAGE), bytes(200_000)),
        post(site(PAGE, error=Overloaded("Full."))),
        post(site(PAGE, drain=closed)),
        post(site(PAGE, error=LookupError("a bug"))),
    ]
    assert [answer.status_code for answer in answers] == [401, 413, 429, 503, 500]
    assert {answer.headers[ALLOWED] for answer in answers} == {PAGE}


@pytest.mark.parametrize("origins", [(), ("https://other.example.com",), (f"{PAGE}.evil.com",)])
def test_other_pages_may_read_nothing(origins: tuple[str, ...]) -> None:
    client = site(*origins)
    assert ALLOWED not in client.options("/transcribe", headers=PREFLIGHT).headers
    assert ALLOWED not in post(client).headers


def test_every_page_may_be_allowed() -> None:
    client = site("*")
    assert client.options("/transcribe", headers=PREFLIGHT).headers[ALLOWED] == "*"
    assert post(client).headers[ALLOWED] == "*"


def test_an_allowed_page_on_the_internet_may_ask_a_server_inside() -> None:
    headers = PREFLIGHT | {"Access-Control-Request-Private-Network": "true"}
    response = site(PAGE).options("/transcribe", headers=headers)
    assert response.headers["access-control-allow-private-network"] == "true"


def test_a_preflight_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "whisper_ox.access"):
        site(PAGE).options("/transcribe", headers=PREFLIGHT)
    assert "OPTIONS /transcribe 200" in caplog.text
