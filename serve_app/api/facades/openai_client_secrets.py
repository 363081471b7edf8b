"""OpenAI's client secrets: a server has one made for a page, which holds a live session with it."""

import time
import uuid
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Request
from pydantic import BaseModel
from starlette.responses import JSONResponse

from serve_app.api.call import CallContext
from serve_app.api.edge.client_secret import client_secret
from serve_app.api.edge.state import RequestState
from serve_app.api.facades.openai_realtime import PATHS
from serve_app.api.facades.openai_realtime_session import RealtimeSession
from serve_app.api.sources.json_object import read_json_object
from serve_app.errors import InvalidRequest
from serve_app.options import read_values
from serve_app.options.kinds import Whole

MOST_CHARACTERS = 20_000
"""The longest body."""


class _Expiry(BaseModel):
    seconds: Annotated[int, Whole(10, 7_200)] = 600


def install_openai_client_secrets(app: FastAPI, context: CallContext) -> None:
    """Make secrets under today's path and the beta's. The session in the answer is not kept: the
    page has to configure its own.
    """
    router = APIRouter(include_in_schema=False)

    async def client_secrets(request: Request) -> JSONResponse:
        body = await _body(request)
        session, expires_at = prepare(_object(body, "session"), _object(body, "expires_after"))
        return JSONResponse(
            {
                "value": client_secret(RequestState.of(request.scope).key, expires_at),
                "expires_at": expires_at,
                "session": session.body(uuid.uuid4().hex, expires_at, is_beta=False),
            }
        )

    async def transcription_sessions(request: Request) -> JSONResponse:
        body = await _body(request)
        session, expires_at = prepare(body, _object(_object(body, "client_secret"), "expires_at"))
        value = client_secret(RequestState.of(request.scope).key, expires_at)
        told = session.body(uuid.uuid4().hex, expires_at, is_beta=True)
        return JSONResponse({**told, "client_secret": {"value": value, "expires_at": expires_at}})

    def prepare(change: dict[str, Any], expiry: dict[str, Any]) -> tuple[RealtimeSession, int]:
        session = RealtimeSession().updated(change)
        session.live_options()
        context.models.named(session.model)
        return session, int(time.time()) + read_values(_Expiry, expiry).seconds

    for path in PATHS:
        router.add_api_route(f"{path}/client_secrets", client_secrets, methods=["POST"])
        router.add_api_route(
            f"{path}/transcription_sessions", transcription_sessions, methods=["POST"]
        )
    app.include_router(router)


async def _body(request: Request) -> dict[str, Any]:
    text = (await request.body()).decode(errors="replace")
    return read_json_object(text, "body", MOST_CHARACTERS)


def _object(body: dict[str, Any], field: str) -> dict[str, Any]:
    value = body.get(field) or {}
    if not isinstance(value, dict):
        raise InvalidRequest(f"{field}: has to be an object.", field=field)
    return value
