"""Lists and objects in a form's text fields, and the kinds of parameter that they hold."""

import json
import re
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from serve_app.api.sources.form import Form
from serve_app.options import OptionLimits
from serve_app.options.kinds import Choice, Kind, items

_INDEXED = re.compile(r"([^\[\]]+)\[([^\[\]]*)\]")


def form_values(form: Form) -> dict[str, Any]:
    """The form's text fields by name, without blank ones.

    Clients write a list as ``name[]`` or by repeating ``name``, and an object as ``name[key]``.
    """
    values: dict[str, Any] = {}
    for field, text in form.texts():
        if not text.strip():
            continue
        indexed = _INDEXED.fullmatch(field)
        name, key = indexed.groups() if indexed else (field, None)
        held = values.get(name)
        if key:
            if not isinstance(held, dict):
                held = values[name] = {}
            held[key] = text
        elif key is None and held is None:
            values[name] = text
        elif isinstance(held, list):
            held.append(text)
        else:
            values[name] = [text] if held is None else [held, text]
    return values


def from_json(value: object) -> object:
    """``value``, decoded if it is JSON, which hand-written requests contain."""
    if isinstance(value, str) and value.strip()[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError("it is not valid JSON") from None
    return value


@dataclass(frozen=True)
class Texts(Kind):
    """Texts, as a list or separated by commas."""

    @override
    def read(self, value: object, limits: OptionLimits) -> tuple[str, ...]:
        found = items(from_json(value))
        if not all(isinstance(one, str) for one in found):
            raise ValueError
        # Some clients send a list as one item with commas.
        return tuple(part.strip() for one in found for part in str(one).split(",") if part.strip())

    @override
    def allowed(self, limits: OptionLimits) -> str:
        return "a list of texts"


@dataclass(frozen=True)
class Choices(Texts):
    """Any of ``words``."""

    words: tuple[str, ...]

    @override
    def read(self, value: object, limits: OptionLimits) -> tuple[str, ...]:
        choice = Choice(self.words)
        return tuple(dict.fromkeys(choice.read(one, limits) for one in super().read(value, limits)))

    @override
    def allowed(self, limits: OptionLimits) -> str:
        return f"any of {', '.join(self.words)}"


@dataclass(frozen=True)
class Unserved(Kind):
    """A parameter that this server does not support."""

    reason: str

    @override
    def read(self, value: object, limits: OptionLimits) -> None:
        raise ValueError(self.reason)

    @override
    def allowed(self, limits: OptionLimits) -> str:
        return "nothing"
