"""The contract's options: ``generate_kwargs``, and options in the form and the query."""

import json
from collections.abc import Iterable
from typing import Any

from starlette.requests import Request

from serve_app.api.edge.state import RequestState
from serve_app.api.sources.form import Form
from serve_app.api.sources.json_object import read_json_object
from serve_app.api.sources.query import query_pairs
from serve_app.errors import InvalidOption, InvalidRequest
from serve_app.options import OptionLimits, ParsedOptions, TranscribeOptions, build_options
from serve_app.options.kinds import Kind
from serve_app.options.parse import short_name, shown

OPTIONS_FIELD = "generate_kwargs"
MODEL_FIELD = "model"
TEXT_NAMES = frozenset({OPTIONS_FIELD, *TranscribeOptions.model_fields})
"""Parts that are text, whatever their headers say. Web pages send JSON as a file, a ``Blob``."""

_LISTS = frozenset(
    name
    for name, option in TranscribeOptions.model_fields.items()
    if any(isinstance(kind, Kind) and kind.is_list for kind in option.metadata)
)
_STRUCTURED = _LISTS | {"vad_parameters"}
_NOTHING = frozenset({"", "null", "undefined"})
"""What HTML forms and JavaScript send for a value that is not set."""


def read_options(
    request: Request,
    form: Form,
    limits: OptionLimits,
    *,
    strict: bool,
    is_complete: bool,
    with_model: bool = False,
) -> ParsedOptions:
    """The options in the query and in ``form``, of which only the first parts may have come.

    Of an option's values, that in ``generate_kwargs`` counts, else the last in the form, else the
    last in the query; ``ignored`` has the others as ``form.name`` and ``query.name``. If the form
    ``is_complete``, its other file parts count as unknown options. ``model`` is one as
    well unless it is read ``with_model``.

    The request's state learns which options stand beside ``generate_kwargs``, so that errors name
    them right. Raises ``InvalidRequest`` if ``generate_kwargs`` is not a JSON object or, if
    ``strict``, for an option with several values, and ``InvalidOption`` as ``build_options`` does.
    """
    given = _Given()
    given.add("query", _texts(query_pairs(request)))
    given.add("form", _texts(form.texts()))
    if is_complete:
        given.add("form", ((name, None) for name in form.unread_files()))
    text = given.values.pop(OPTIONS_FIELD, None)
    inside = read_json_object(
        text, OPTIONS_FIELD, limits.max_json_characters, example='{"language": "en"}'
    )
    given.add(OPTIONS_FIELD, inside.items())
    beside = [name for name in given.values if given.places[name] != OPTIONS_FIELD]
    RequestState.of(request.scope).bare_options = [*map(short_name, beside)]
    values = given.values | {name: _decoded(name, given.values[name], limits) for name in beside}
    model = values.pop(MODEL_FIELD, None) if with_model else None
    if not (model is None or isinstance(model, str)):
        raise InvalidOption(
            f"model: got {shown(model)}; allowed: the name of a model", field=MODEL_FIELD
        )
    parsed = build_options(values, limits=limits, strict=strict)
    if strict and given.outdone:
        place, _, name = given.outdone[0].partition(".")
        raise InvalidRequest(
            f"{name}: it has several values, and the one in the {place} would be ignored; send one",
            code="invalid_option",
            status=422,
            field=name,
        )
    return ParsedOptions(parsed.options, tuple(sorted({*parsed.ignored, *given.outdone})), model)


class _Given:
    """The values that count, by name, and where each is from; ``outdone`` had other values."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.places: dict[str, str] = {}
        self.outdone: list[str] = []

    def add(self, place: str, values: Iterable[tuple[str, object]]) -> None:
        """Let ``values`` replace those that are there. None does not count."""
        for name, value in values:
            before = self.values.get(name)
            if before is not None and value is None:
                continue
            if before is not None and name in TEXT_NAMES and not _alike(before, value):
                self.outdone.append(f"{self.places[name]}.{name}")
            self.values[name], self.places[name] = value, place


def _texts(pairs: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str | None]]:
    """Each name and value, but the values of a list come as one, joined by commas."""
    lists: dict[str, list[str]] = {}
    for name, text in pairs:
        is_set = text.strip() not in _NOTHING
        option = name.removesuffix("[]")
        if option in _LISTS:
            lists.setdefault(option, []).extend([text] if is_set else [])
        else:
            yield name, text if is_set else None
    for option, texts in lists.items():
        yield option, ",".join(texts) or None


def _alike(text: str, other: object) -> bool:
    is_scalar = isinstance(other, (str, int, float))
    return is_scalar and text.strip().lower() == str(other).strip().lower()


def _decoded(name: str, text: str | None, limits: OptionLimits) -> object:
    """The value of an option that came as text. A list or an object may be JSON."""
    if text is None or name not in TEXT_NAMES:
        return text
    if len(text) > limits.max_json_characters:
        raise InvalidOption(
            f"{name}: got {len(text)} characters; allowed: up to {limits.max_json_characters}",
            field=name,
        )
    if name in _STRUCTURED and text.strip()[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text  # its kind will refuse it
    return text
