"""The contract's optional API key."""

import hmac
from collections.abc import Awaitable, Callable

from starlette.requests import Request

from serve_app.errors import Unauthorized
from serve_app.settings import ApiKey


def key_check(api_key: ApiKey) -> Callable[[Request], Awaitable[None]]:
    """A FastAPI dependency that raises ``Unauthorized`` unless the configured header fits.

    Without a configured key every request passes. ``Authorization: Bearer KEY`` is understood in
    that header and in the configured one, since some callers can send nothing else.
    """

    async def check(request: Request) -> None:
        if api_key.key is None:
            return
        sent = [request.headers.get(api_key.header), request.headers.get("Authorization")]
        expected = api_key.key.get_secret_value().encode()
        given = [_bare(value).encode("latin-1", "replace") for value in sent if value]
        # Every candidate is compared, each in constant time.
        if not any([hmac.compare_digest(value, expected) for value in given]):
            problem = "does not fit" if given else "is missing"
            raise Unauthorized(
                f"The API key {problem}: send it in the header {api_key.header}.",
                field=api_key.header,
            )

    return check


def _bare(value: str) -> str:
    scheme, _, rest = value.partition(" ")
    return rest.strip() if scheme.lower() == "bearer" and rest else value
