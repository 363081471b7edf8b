"""A request's query, as far as it says what to do."""

from starlette.requests import HTTPConnection

from serve_app.api.dialects import KEY_PARAMETERS


def query_pairs(connection: HTTPConnection) -> list[tuple[str, str]]:
    """The names and values in the query, in order, without what may hold an API key."""
    pairs = connection.query_params.multi_items()
    return [(name, text) for name, text in pairs if name.lower() not in KEY_PARAMETERS]
