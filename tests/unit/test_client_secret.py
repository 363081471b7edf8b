"""Client secrets: what opens a live session for a page, and for how long."""

import json
import time

import pytest
from starlette.testclient import TestClient

from serve_app.api.app import build_api
from serve_app.api.edge.client_secret import client_secret, read_secret, session_of
from serve_app.api.edge.keys_file import NamedKey, digest_of
from serve_app.settings import ApiKey, AppSettings, QuotaSettings
from tests.unit.asgi import asked, http_scope
from tests.unit.deaf_service import DeafService

KEY, OTHER = (NamedKey(name, digest_of(name.encode()), QuotaSettings()) for name in ("a", "b"))
NOW = int(time.time())
SESSION = {"audio": {"input": {"transcription": {"prompt": "Zürich"}}}}


def opens(secret: str, key: NamedKey) -> bool:
    read = read_secret(secret.encode())
    return read is not None and read.is_made_with(key)


def test_a_secret_stands_for_the_key_it_was_made_with() -> None:
    secret = client_secret(KEY, NOW + 3_600, SESSION)
    assert opens(secret, KEY)
    assert not opens(secret, OTHER)


def test_a_secret_expires() -> None:
    assert not opens(client_secret(KEY, NOW - 1, SESSION), KEY)


def test_nobody_can_prolong_a_secret() -> None:
    _, session, signature = client_secret(KEY, NOW - 1, SESSION).split(".")
    assert not opens(f"ek_{NOW + 3_600:x}.{session}.{signature}", KEY)


@pytest.mark.parametrize(
    "text",
    # ffffffff is a time in 2106: pytest's workers must agree on every test's name.
    ["", "ek_", "ek_..", "ek_zz.YQ.", "ek_ffffffff..", "a", "ek_.?.?", "ek_\xff.é.é"],
)
def test_anything_else_opens_nothing(text: str) -> None:
    assert not opens(text, KEY)
    assert session_of([text.encode()]) == {}


SIGNATURE = "0" * 64


@pytest.mark.parametrize(
    "text",
    [
        f"ek_ffffffff.{'a' * 8_000}.{SIGNATURE}",
        f"ek_1.YQ.{SIGNATURE}",
        f"ek_ffffffff.YQ.{SIGNATURE[1:]}",
        f"ek_-1.YQ.{SIGNATURE}",
    ],
    ids=["long", "expired", "signature", "expiry"],
)
def test_what_cannot_be_a_secret_is_compared_with_no_key(text: str) -> None:
    assert read_secret(text.encode()) is None
    assert read_secret(f"ek_ffffffff.YQ.{SIGNATURE}".encode())


def test_an_open_server_makes_secrets_that_nobody_looks_at() -> None:
    assert session_of([b"any", client_secret(None, NOW, SESSION).encode()]) == SESSION


@pytest.mark.parametrize(("name", "status"), [("prompt", 200), ("model", 404)])
def test_half_of_a_surrogate_pair_is_told_back_as_a_question_mark(name: str, status: int) -> None:
    session = {"audio": {"input": {"transcription": {name: "half \ud800"}}}}
    client = TestClient(build_api(DeafService(), AppSettings(), ApiKey(key="a")))
    body = json.dumps({"session": session})
    answer = client.post("/v1/realtime/client_secrets", headers={"api-key": "a"}, content=body)
    assert answer.status_code == status
    assert "half ?" in answer.text


def test_a_body_that_is_far_too_long_is_refused_while_it_comes() -> None:
    app = build_api(DeafService(), AppSettings(), ApiKey(key="a"))
    scope = http_scope("/v1/realtime/client_secrets", headers=[("api-key", b"a")])
    answer = asked(app, scope, [b" " * 20_000, 1e6])
    assert (answer.status, answer.error["code"]) == (413, "body_too_large")
    assert answer.seconds == 0
