"""The whole application, over a service that hears nothing: what is open, documented and logged."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from starlette.testclient import TestClient

from serve_app.api.app import build_api
from serve_app.api.edge.drain import Drain, DrainStage
from serve_app.assets import GOLDEN_CLIP
from serve_app.settings import ApiKey, AppSettings, HttpSettings, QuotaSettings
from tests.unit.deaf_service import DeafService

KEY = "open-sesame"
DOCS = ("/docs", "/openapi.json", "/static-offline-docs/swagger-ui.css", "/docs/oauth2-redirect")


def build(
    docs: Literal["key", "open", "off"] = "key",
    key: str | None = KEY,
    keys_file: Path | None = None,
    drain: Drain | None = None,
    **quota: Any,
) -> Any:
    settings = AppSettings(http=HttpSettings(docs=docs), quota=QuotaSettings(**quota))
    return build_api(
        DeafService(), settings, ApiKey(key=key or "", keys_file=keys_file), drain=drain
    )


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(build()) as testing:
        yield testing


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_anyone_may_ask_for_the_state(client: TestClient, method: str) -> None:
    paths = ("/", "/health", "/readyz")
    assert [client.request(method, path).status_code for path in paths] == [200, 200, 503]


@pytest.mark.parametrize("path", ["/transcribe/", "/v1/transcribe//", "//", "/own/", "/own"])
@pytest.mark.parametrize("root", ["", "/speech"])
def test_a_slash_at_the_end_is_ignored_without_a_redirect_of_key_and_audio(
    root: str, path: str
) -> None:
    http = HttpSettings(extra_transcribe_paths=("/own/",))
    app = build_api(DeafService(), AppSettings(http=http), ApiKey(key=KEY))
    client = TestClient(app, root_path=root, headers={"X-API-Key": KEY})
    # As a whole URL, since httpx would take //x for a host.
    url = f"http://testserver{root}{path}"
    files = {"file": GOLDEN_CLIP.read_bytes()}
    assert client.post(url, files=files, follow_redirects=False).status_code == 200


@pytest.mark.parametrize(("path", "without"), [("/health/", 200), ("/docs/", 401)])
def test_a_slash_at_the_end_changes_nothing_about_who_may_come_in(path: str, without: int) -> None:
    client = TestClient(build(), follow_redirects=False)
    assert client.get(path).status_code == without
    assert client.get(path, headers={"X-API-Key": KEY}).status_code == 200


@pytest.mark.parametrize(
    ("docs", "without", "with_key"), [("key", 401, 200), ("open", 200, 200), ("off", 404, 404)]
)
def test_who_reads_the_documentation_is_a_setting(
    docs: Literal["key", "open", "off"], without: int, with_key: int
) -> None:
    client = TestClient(build(docs))
    assert {client.get(path).status_code for path in DOCS} == {without}
    headers = {"X-API-Key": KEY}
    assert {client.get(path, headers=headers).status_code for path in DOCS} == {with_key}
    assert ("docs" in client.get("/").json()) is (docs != "off")


def test_an_open_server_says_so_once_when_it_starts(caplog: pytest.LogCaptureFixture) -> None:
    client = TestClient(build(key=None))
    for _ in range(3):
        client.get("/docs")
    (warning,) = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert warning.name.startswith("whisper_ox.")
    assert "WHISPER_API_KEY" in warning.getMessage()


def test_a_server_with_a_key_starts_without_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    TestClient(build()).get("/docs")
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.mark.parametrize("root", ["", "/speech"])
def test_probes_are_quiet_under_any_prefix(root: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "whisper_ox.access"):
        assert TestClient(build(), root_path=root).get(f"{root}/health").status_code == 200
    assert [record.levelno for record in caplog.records] == [logging.DEBUG]


def test_a_leaving_server_says_so_under_any_prefix() -> None:
    drain = Drain()
    drain.advance(DrainStage.LEAVING)
    response = TestClient(build(drain=drain), root_path="/speech").get("/speech/readyz")
    assert "shutting down" in response.json()["error"]["message"]


def test_a_request_over_the_keys_concurrency_is_refused_while_others_run() -> None:
    headers = {"X-API-Key": KEY, "Content-Type": "multipart/form-data; boundary=x"}

    async def run() -> list[httpx.Response]:
        upload_may_end = asyncio.Event()
        upload_began = asyncio.Event()

        async def slow_upload() -> Any:
            upload_began.set()
            yield b"--x\r\n"
            await upload_may_end.wait()
            yield b"--x--\r\n"

        transport = httpx.ASGITransport(build(concurrent_requests=1))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            first = asyncio.create_task(
                client.post("/transcribe", content=slow_upload(), headers=headers)
            )
            await upload_began.wait()
            second = await client.post("/transcribe", headers=headers)
            upload_may_end.set()
            return [await first, second, await client.post("/transcribe", headers=headers)]

    first, second, third = asyncio.run(run())
    assert (second.status_code, second.headers["Retry-After"]) == (429, "1")
    assert second.json()["error"]["code"] == "quota_exceeded"
    assert [first.status_code, third.status_code] == [400, 400]  # there is no file in either


def test_windows_over_the_quota_of_a_named_key_are_refused(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("alice abracadabra audio_seconds_per_minute=10\n")
    client = TestClient(build(keys_file=keys))
    request: dict[str, Any] = {
        "files": {"file": GOLDEN_CLIP.read_bytes()},
        "headers": {"api-key": "abracadabra"},
    }
    first, second = (client.post("/transcribe", **request) for _ in range(2))
    assert first.json()["segments"] == []
    assert second.status_code == 429
    # A second of audio is a window, which counts as 9 s: 8 s are missing, 10 s come a minute.
    assert 37 <= int(second.headers["Retry-After"]) <= 48
