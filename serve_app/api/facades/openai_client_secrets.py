"""OpenAI's client secrets: a server has one made for a page, which holds a live session with it."""

import time
import uuid
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Request
from pydantic import BaseModel

from serve_app.api.call import CallContext
from serve_app.api.edge.client_secret import client_secret
from serve_app.api.edge.state import RequestState
from serve_app.api.facades.openai_realtime import PATHS
from serve_app.api.facades.openai_realtime_session import RealtimeSession
from serve_app.api.json_answer import JsonAnswer
from serve_app.api.sources.json_object import read_json_object
from serve_app.api.sources.raw_body import read_raw_body
from serve_app.errors import BodyTooLarge, InvalidRequest
from serve_app.options import read_values
from serve_app.options.kinds import Whole

MOST_CHARACTERS = 4_000
"""The longest body: the secret, which holds the session, has to fit into a header."""


class _Expiry(BaseModel):
    seconds: Annotated[int, Whole(10, 7_200)] = 600


def install_openai_client_secrets(app: FastAPI, context: CallContext) -> None:
    """Make secrets under today's path and the beta's."""
    router = APIRouter(include_in_schema=False)

    def made(
        request: Request, change: dict[str, Any], expiry: dict[str, Any]
    ) -> tuple[RealtimeSession, dict[str, Any]]:
        """A session, and its secret with the time at which it expires."""
        session = RealtimeSession().updated(change)
        session.live_options()
        context.models.named(session.model)
        expires_at = int(time.time()) + read_values(_Expiry, expiry).seconds
        key = RequestState.of(request.scope).key
        value = client_secret(key, expires_at, session.changes())
        return session, {"value": value, "expires_at": expires_at}

    async def client_secrets(request: Request) -> JsonAnswer:
        body = await _body(request)
        session, secret = made(request, _object(body, "session"), _object(body, "expires_after"))
        told = session.body(uuid.uuid4().hex, secret["expires_at"], is_beta=False)
        return JsonAnswer({**secret, "session": told})

    async def transcription_sessions(request: Request) -> JsonAnswer:
        body = await _body(request)
        expiry = _object(_object(body, "client_secret"), "expires_at")
        session, secret = made(request, body, expiry)
        told = session.body(uuid.uuid4().hex, secret["expires_at"], is_beta=True)
        return JsonAnswer({**told, "client_secret": secret})

    for path in PATHS:
        router.add_api_route(f"{path}/client_secrets", client_secrets, methods=["POST"])
        router.add_api_route(
            f"{path}/transcription_sessions", transcription_sessions, methods=["POST"]
        )
    app.include_router(router)


async def _body(request: Request) -> dict[str, Any]:
    text = (await read_raw_body(request, _too_large)).decode(errors="replace")
    return read_json_object(
        text, "body", MOST_CHARACTERS, example='{"session": {"type": "transcription"}}'
    )


def _too_large(head: memoryview) -> None:
    raise BodyTooLarge(f"The body has to be JSON of up to {MOST_CHARACTERS} characters.")


def _object(body: dict[str, Any], field: str) -> dict[str, Any]:
    value = body.get(field) or {}
    if not isinstance(value, dict):
        raise InvalidRequest(f"{field}: has to be an object.", field=field)
    return value
