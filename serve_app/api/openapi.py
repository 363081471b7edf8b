"""What the OpenAPI document says of every operation: errors, headers and the API key.

FastAPI describes what a route declares; the edge and the call object, which answer as well, are
described here.
"""

from typing import Any

from fastapi import FastAPI

from serve_app.api.call import COVERAGE_HEADER, IGNORED_HEADER, PRIORITY_HEADER, TIMING_HEADER
from serve_app.api.edge.key_check import OPEN_PATHS
from serve_app.api.edge.state import REQUEST_ID_HEADER
from serve_app.caller import Priority

_ERRORS = {
    "400": "The request, its form or its audio is malformed.",
    "401": "The API key is missing or wrong.",
    "408": "The request's body stopped coming, or took too long.",
    "413": "The body, the form or the audio is larger or longer than this server takes.",
    "415": "The body is not a multipart form, or its file is not audio that this server reads.",
    "422": "An option has a wrong type, is out of range or does not fit the model; `field` says "
    "which.",
    "429": "The queue is too long, or a quota of the API key is used up.",
    "431": "The request's path and headers are too large.",
    "500": "The server failed; its log says why under the request id.",
    "503": "No model can take the request now.",
    "504": "The transcription took longer than this server gives one request.",
}
"""By status, as ``serve_app.errors`` has them."""

_OPEN_ERRORS = ("400", "413", "431", "500", "503")
"""What a ``GET`` that needs no key may be answered with."""

_RETRIED = ("429", "503")


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    required = {"required": [*properties], "additionalProperties": False}
    return {"type": "object", "properties": properties, **required}


def _header(description: str, kind: str = "string", **more: Any) -> dict[str, Any]:
    return {"description": description, "schema": {"type": kind, **more}}


def _parameter(name: str, description: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, **_header(description, **more)}


CALL_HEADERS = {
    TIMING_HEADER: _header("Milliseconds of each stage (W3C Server Timing)."),
    COVERAGE_HEADER: _header(
        "Share of the speech found that segments cover.", "number", minimum=0, maximum=1
    ),
    IGNORED_HEADER: _header("Keys of generate_kwargs that are not options."),
}
"""What a call adds to the answer of every facade."""

_REQUEST_ID = {REQUEST_ID_HEADER: {"$ref": "#/components/headers/RequestId"}}
_RETRY_AFTER = {"Retry-After": {"$ref": "#/components/headers/RetryAfter"}}

_COMPONENTS: dict[str, dict[str, Any]] = {
    "schemas": {
        "Error": _object(
            error=_object(
                code={"type": "string", "description": "stable; to branch on"},
                message={"type": "string", "description": "for a person: what to do"},
                field={"type": ["string", "null"], "description": "the offending field"},
                request_id={"type": "string", "description": "as in the server's log"},
            )
        )
    },
    "headers": {
        "RequestId": _header("The id of this request in the server's log."),
        "RetryAfter": _header(
            "Seconds after which the request may be sent again.", "integer", minimum=1
        ),
    },
    "parameters": {
        "RequestId": _parameter(
            REQUEST_ID_HEADER,
            "An id of the caller's for this request, returned and logged; kept if it is 1 to 128 "
            "of the characters A-Z a-z 0-9 . _ : -, else replaced.",
        ),
        "Priority": _parameter(
            PRIORITY_HEADER,
            "Who goes first within fairness; auto: the first minute of audio does.",
            enum=[priority.value for priority in Priority],
            default=Priority.AUTO.value,
        ),
    },
    "responses": {
        status: {
            "description": description,
            "headers": _REQUEST_ID | (_RETRY_AFTER if status in _RETRIED else {}),
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
        }
        for status, description in _ERRORS.items()
    },
}


def complete_openapi(app: FastAPI, key_header: str | None) -> None:
    """Let the document of ``app`` name all that the edge and the call object do.

    ``key_header`` is the header for the API key, None where none is needed.
    """
    build = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(build(), key_header)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI documents it


def _completed(document: dict[str, Any], key_header: str | None) -> dict[str, Any]:
    components = document.setdefault("components", {})
    for kind, members in _COMPONENTS.items():
        components.setdefault(kind, {}).update(members)
    if key_header is not None:
        components["securitySchemes"] = {
            "ApiKey": {"type": "apiKey", "in": "header", "name": key_header},
            "Bearer": {"type": "http", "scheme": "bearer"},
        }
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            is_open = method == "get" and path in OPEN_PATHS
            _complete(operation, is_open=is_open, has_keys=key_header is not None)
    return document


def _complete(operation: dict[str, Any], *, is_open: bool, has_keys: bool) -> None:
    names = ("RequestId",) if is_open else ("RequestId", "Priority")
    references = [{"$ref": f"#/components/parameters/{name}"} for name in names]
    operation.setdefault("parameters", []).extend(references)
    responses = operation.setdefault("responses", {})
    for response in responses.values():
        response["headers"] = response.get("headers", {}) | _REQUEST_ID
    for status in _OPEN_ERRORS if is_open else _ERRORS:
        if status != "401" or has_keys:
            responses.setdefault(status, {"$ref": f"#/components/responses/{status}"})
    if has_keys:
        operation["security"] = [] if is_open else [{"ApiKey": []}, {"Bearer": []}]
