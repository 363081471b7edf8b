"""What the OpenAPI document says of errors, headers and keys."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from serve_app import errors
from serve_app.api.app import build_api
from serve_app.api.dialects import NATIVE
from serve_app.api.example import EXAMPLE_ANSWER
from serve_app.api.render.native import render
from serve_app.errors import WhisperOxError
from serve_app.settings import ApiKey, AppSettings
from serve_app.transcript import Segment, Transcript, Word
from tests.unit.deaf_service import DeafService


def document(key: str | None = None) -> dict[str, Any]:
    app = build_api(DeafService(), AppSettings(), ApiKey(key=key or "", header="X-Own-Key"))
    return app.openapi()


def operations(of: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in of["paths"].items()
        for method, operation in methods.items()
    }


def test_every_path_of_the_contract_is_documented() -> None:
    assert set(operations(document())) == {
        *("GET /", "GET /health", "GET /readyz"),
        *("POST /transcribe", "POST /v1/transcribe", "POST /"),
    }


def test_every_status_of_an_error_is_documented() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    statuses = {str(k.status) for k in kinds if issubclass(k, WhisperOxError)}
    documented = operations(document(key="k"))["POST /transcribe"]["responses"]
    assert statuses - {"200"} <= set(documented)


def test_errors_have_the_body_and_headers_of_errors() -> None:
    of = document()
    for operation in operations(of).values():
        for status, response in operation["responses"].items():
            assert "X-Request-ID" in response["headers"]
            if status == "200":
                continue
            assert ("Retry-After" in response["headers"]) == (status in ("429", "503"))
            schema = response["content"]["application/json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/ErrorBody"}
    body = Draft202012Validator({**schema, "components": of["components"]})
    for field in ("file", None):
        body.validate(NATIVE.error_body(WhisperOxError("why", field=field), "id"))
    assert not body.is_valid({"error": {"code": "c"}})


def test_operations_that_need_a_key_say_which() -> None:
    guarded = document(key="k")
    assert guarded["components"]["securitySchemes"]["ApiKey"]["name"] == "X-Own-Key"
    found = {name: operation["security"] for name, operation in operations(guarded).items()}
    needed: list[dict[str, list[str]]] = [{"ApiKey": []}, {"Bearer": []}]
    assert all(found[name] == needed for name in found if name.startswith("POST"))
    assert all(found[name] == [] for name in found if name.startswith("GET"))


def test_an_open_server_names_no_key() -> None:
    public = document()
    assert "securitySchemes" not in public["components"]
    assert all("401" not in operation["responses"] for operation in operations(public).values())


@pytest.mark.parametrize("name", ["POST /transcribe", "POST /"])
def test_a_transcription_takes_an_id_and_a_priority(name: str) -> None:
    parameters = [one["name"] for one in operations(document())[name]["parameters"]]
    assert parameters == ["X-Priority", "X-Request-ID"]


def test_the_schema_and_the_example_are_those_of_what_is_rendered() -> None:
    of = document()
    shown = operations(of)["POST /transcribe"]["responses"]["200"]["content"]["application/json"]
    word = Word(0.0, 0.9, " Hello", 0.93)
    segment = Segment(0.0, 2.5, " Hello", -0.25, 0.0, 1.0, 0.0, 0, (), (word,))
    rendered = render(Transcript((segment,), "en", 1.0, 2.5, 2.5))
    whole = Draft202012Validator({**shown["schema"], "components": of["components"]})
    assert shown["example"] == EXAMPLE_ANSWER
    for body in (EXAMPLE_ANSWER, rendered, render(Transcript((), "en", 1.0, 0.0, 0.0))):
        whole.validate(body)
    assert not whole.is_valid({**EXAMPLE_ANSWER, "segments": [{}]})
