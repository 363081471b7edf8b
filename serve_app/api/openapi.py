"""What the OpenAPI document says about errors, headers and the API key.

FastAPI describes the answers of the routes. This module adds those of the edge.
"""

from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import FastAPI
from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from serve_app.api.edge.key_check import OPEN_PATHS
from serve_app.api.edge.state import REQUEST_ID_HEADER


@with_config(ConfigDict(extra="forbid"))
class ErrorDetail(TypedDict):
    """What went wrong."""

    code: Annotated[str, Field(description="stable: programs may branch on it")]
    message: Annotated[str, Field(description="tells a person what to do")]
    field: Annotated[str | None, Field(description="the field at fault")]
    request_id: Annotated[str, Field(description="as in the server's log")]


@with_config(ConfigDict(extra="forbid"))
class ErrorBody(TypedDict):
    """An error as the native dialect words it."""

    error: ErrorDetail


_ERRORS = {
    400: "The request, its form or its audio is malformed.",
    401: "The API key is missing or wrong.",
    408: "The request's body stopped coming, or took too long.",
    413: "The body, the form or the audio is larger or longer than this server takes.",
    415: "The body is not a multipart form, is compressed, or its file is not audio that this "
    "server reads.",
    422: "An option has a wrong type, is out of range or does not fit the model; `field` says "
    "which.",
    429: "The queue is too long, or a quota of the API key is used up.",
    431: "The request's path and headers are too large.",
    500: "The server failed; its log says why under the request id.",
    503: "No model can take the request now.",
    504: "The transcription took longer than this server gives one request.",
}
"""By status, as ``serve_app.errors`` has them."""


def header(description: str, kind: str = "string", **more: Any) -> dict[str, Any]:
    """A header of an answer; ``more`` goes into its JSON schema."""
    return {"description": description, "schema": {"type": kind, **more}}


def parameter(name: str, description: str, **more: Any) -> dict[str, Any]:
    """A header that a request may have."""
    return {"name": name, "in": "header", "required": False, **header(description, **more)}


_REQUEST_ID = {REQUEST_ID_HEADER: header("The id of this request in the server's log.")}
_RETRY_AFTER = {
    "Retry-After": header("Seconds to wait before sending it again.", "integer", minimum=1)
}
_SENT_REQUEST_ID = parameter(
    REQUEST_ID_HEADER,
    "Your own id for this request, which the answer and the server's log repeat. It may have 1 to "
    "128 of the characters A-Z a-z 0-9 . _ : -; any other id is replaced.",
)


def answers(
    error_body: type[Any],
    statuses: Iterable[int] = tuple(_ERRORS),
    headers: dict[str, Any] | None = None,
) -> dict[int | str, dict[str, Any]]:
    """``responses`` for a router: errors in its dialect, and the ``headers`` of a success."""
    return {
        200: {"headers": _REQUEST_ID | (headers or {})},
        **{
            status: {
                "model": error_body,
                "description": _ERRORS[status],
                "headers": _REQUEST_ID | (_RETRY_AFTER if status in (429, 503) else {}),
            }
            for status in statuses
        },
    }


def complete_openapi(app: FastAPI, key_header: str | None) -> None:
    """Name the request id and the API key in every operation of the document.

    ``key_header`` is the header for the key, None if the server is open.
    """
    build = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(build(), key_header)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI documents it


def _completed(document: dict[str, Any], key_header: str | None) -> dict[str, Any]:
    if key_header is not None:
        document["components"]["securitySchemes"] = {
            "ApiKey": {"type": "apiKey", "in": "header", "name": key_header},
            "Bearer": {"type": "http", "scheme": "bearer"},
        }
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            operation["parameters"] = [*operation.get("parameters", ()), _SENT_REQUEST_ID]
            if key_header is None:
                operation["responses"].pop("401", None)
            else:
                is_open = method == "get" and path in OPEN_PATHS
                operation["security"] = [] if is_open else [{"ApiKey": []}, {"Bearer": []}]
    return document
