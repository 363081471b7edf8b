"""What the OpenAPI document says of every operation: errors, headers and the API key.

FastAPI describes what a route declares; the middlewares around the routes answer as well.
"""

from typing import Any

from fastapi import FastAPI

from serve_app.api.auth import STATUS_PATHS
from serve_app.api.caller import PRIORITY_HEADER
from serve_app.api.examples import RESPONSE_SCHEMA
from serve_app.api.request_id import HEADER
from serve_app.caller import Priority

_ERRORS = {
    "400": "The request, its form or its audio is malformed.",
    "401": "The API key is missing or wrong.",
    "408": "The request's body stopped coming, or took too long.",
    "413": "The body, the form or the audio is larger or longer than this server takes.",
    "415": "The body is no multipart form, or its file no audio that this server reads.",
    "422": "An option has a wrong type, is out of range or does not fit the model; `field` says "
    "which.",
    "429": "The queue is too long, or a quota of the API key is used up.",
    "431": "The request's path and headers are too large.",
    "500": "The server failed; its log says why under the request id.",
    "503": "No model can take the request now.",
    "504": "The transcription took longer than this server gives one request.",
}
"""Descriptions by status, as ``serve_app.errors`` has them."""

_STATUS_ERRORS = ("400", "413", "431", "500", "503")
"""What may come instead of an answer to a ``GET`` that needs no key."""

_RETRIED = ("429", "503")

_ERROR_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "field", "request_id"],
            "additionalProperties": False,
            "properties": {
                "code": {"type": "string", "description": "stable; to branch on"},
                "message": {"type": "string", "description": "for a person: what to do"},
                "field": {"type": ["string", "null"], "description": "the offending field"},
                "request_id": {"type": "string", "description": "as in the server's log"},
            },
        }
    },
}

_ID_HEADER: dict[str, Any] = {
    "description": "The id of this request in the server's log.",
    "schema": {"type": "string"},
}
_RETRY_HEADER: dict[str, Any] = {
    "description": "Seconds after which the request may be sent again.",
    "schema": {"type": "integer", "minimum": 1},
}

_ID_PARAMETER: dict[str, Any] = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "An id of the caller's for this request, returned and logged; kept if it is 1 "
    "to 128 of the characters A-Z a-z 0-9 . _ : -, else replaced.",
    "schema": {"type": "string"},
}
_PRIORITY_PARAMETER: dict[str, Any] = {
    "name": PRIORITY_HEADER,
    "in": "header",
    "required": False,
    "description": "Who goes first within fairness; auto: the first minute of audio does.",
    "schema": {
        "type": "string",
        "enum": [priority.value for priority in Priority],
        "default": Priority.AUTO.value,
    },
}


def complete_openapi(app: FastAPI, key_header: str | None) -> None:
    """Let the document of ``app`` name all that its middlewares do.

    ``key_header`` is the header that an API key is sent in, None where none is needed.
    """
    build = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(build(), key_header)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI documents it


def _completed(document: dict[str, Any], key_header: str | None) -> dict[str, Any]:
    components = document.setdefault("components", {})
    components.setdefault("schemas", {}).update(Error=_ERROR_SCHEMA, Transcript=RESPONSE_SCHEMA)
    components["responses"] = {status: _error_response(status) for status in _ERRORS}
    components["headers"] = {"RequestId": _ID_HEADER, "RetryAfter": _RETRY_HEADER}
    components["parameters"] = {"RequestId": _ID_PARAMETER, "Priority": _PRIORITY_PARAMETER}
    if key_header is not None:
        components["securitySchemes"] = {
            "ApiKey": {"type": "apiKey", "in": "header", "name": key_header},
            "Bearer": {"type": "http", "scheme": "bearer"},
        }
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            is_open = method == "get" and path in STATUS_PATHS
            _complete(operation, is_open=is_open, has_keys=key_header is not None)
    return document


def _complete(operation: dict[str, Any], *, is_open: bool, has_keys: bool) -> None:
    responses = operation.setdefault("responses", {})
    parameters = operation.setdefault("parameters", [])
    parameters.append({"$ref": "#/components/parameters/RequestId"})
    if not is_open:
        parameters.append({"$ref": "#/components/parameters/Priority"})
    for response in responses.values():
        headers = response.setdefault("headers", {})
        headers[HEADER] = {"$ref": "#/components/headers/RequestId"}
    for status in _STATUS_ERRORS if is_open else _ERRORS:
        if status != "401" or has_keys:
            responses.setdefault(status, {"$ref": f"#/components/responses/{status}"})
    if has_keys:
        operation["security"] = [] if is_open else [{"ApiKey": []}, {"Bearer": []}]


def _error_response(status: str) -> dict[str, Any]:
    headers = {HEADER: {"$ref": "#/components/headers/RequestId"}}
    if status in _RETRIED:
        headers["Retry-After"] = {"$ref": "#/components/headers/RetryAfter"}
    return {
        "description": _ERRORS[status],
        "headers": headers,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
