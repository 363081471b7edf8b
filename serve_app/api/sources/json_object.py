"""JSON objects that arrive as text."""

import json

from serve_app.errors import InvalidRequest
from serve_app.options.parse import shown


def read_json_object(
    text: str | None, field: str, most_characters: int, *, example: str
) -> dict[str, object]:
    """The object in ``text``; an empty one for None, blanks and ``null``.

    A string of JSON is decoded once more, because some clients encode twice. Raises
    ``InvalidRequest`` (``invalid_option``, 422) with ``field``, the name of the text, if it is too
    long, is not JSON or is not an object. Its message shows ``example``.
    """
    allowed = f"allowed: a JSON object such as {example}"
    text = (text or "").strip().removeprefix("\ufeff").strip()
    if len(text) > most_characters:
        raise _refusal(field, f"got {len(text)} characters; allowed: up to {most_characters}")
    try:
        value = _decoded(text)
        if isinstance(value, str):
            value = _decoded(value.strip())
    except (ValueError, RecursionError) as wrong:
        problem = f"got {shown(text)}, which is not valid JSON: {_reason(wrong)}; {allowed}"
        raise _refusal(field, problem) from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _refusal(field, f"got {shown(value)}; {allowed}")
    return value


def _decoded(text: str) -> object:
    return json.loads(text or "null", parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _reason(wrong: ValueError | RecursionError) -> str:
    if isinstance(wrong, json.JSONDecodeError):
        return f"{wrong.msg} at line {wrong.lineno}, column {wrong.colno}"
    return "it is nested too deeply" if isinstance(wrong, RecursionError) else str(wrong)


def _refusal(field: str, problem: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: {problem}", code="invalid_option", status=422, field=field)
