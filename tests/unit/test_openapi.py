"""What the OpenAPI document says of errors, headers and keys."""

from typing import Any

import pytest
from pydantic import SecretStr

from serve_app import errors
from serve_app.api.app import build_api
from serve_app.api.examples import RESPONSE_EXAMPLE, RESPONSE_SCHEMA
from serve_app.settings import ApiKey, AppSettings
from tests.unit.test_quota import DeafCore


def document(key: str | None = None) -> dict[str, Any]:
    secret = None if key is None else SecretStr(key)
    app = build_api(DeafCore(), AppSettings(), ApiKey(key=secret, header="X-Own-Key"))
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
    statuses = {str(k.status) for k in kinds if issubclass(k, errors.WhisperOxError)}
    documented = operations(document(key="k"))["POST /transcribe"]["responses"]
    assert statuses - {"200"} <= set(documented)


def test_errors_have_the_body_and_headers_of_errors() -> None:
    responses = document()["components"]["responses"]
    for status, response in responses.items():
        schema = response["content"]["application/json"]["schema"]
        assert schema == {"$ref": "#/components/schemas/Error"}
        assert ("Retry-After" in response["headers"]) == (status in ("429", "503"))


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
    parameters = [one["$ref"].rsplit("/")[-1] for one in operations(document())[name]["parameters"]]
    assert parameters == ["RequestId", "Priority"]


def test_the_example_has_what_the_schema_requires() -> None:
    shown = operations(document())["POST /transcribe"]["responses"]["200"]["content"]
    assert shown["application/json"]["example"] == RESPONSE_EXAMPLE
    assert set(RESPONSE_EXAMPLE) == set(RESPONSE_SCHEMA["required"])
    segment = RESPONSE_SCHEMA["properties"]["segments"]["items"]
    assert set(RESPONSE_EXAMPLE["segments"][0]) == set(segment["required"])
