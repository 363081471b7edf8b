"""Turns values by name, as a caller sent them, into checked options."""

import difflib
import json
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from serve_app.errors import InvalidOption
from serve_app.options.limits import OptionLimits
from serve_app.options.transcribe_options import TranscribeOptions, VadParameters

_SHOWN_ERRORS = 5
_SHOWN_VALUE = 80
_SHOWN_NAME = 64
_DEFAULT_LIMITS = OptionLimits()


Values = TypeVar("Values", bound=BaseModel)


@dataclass(frozen=True)
class ParsedOptions:
    """Checked options and what was done to the caller's.

    ``ignored``: what had no effect, sorted: unknown keys, nested ones as ``vad_parameters.name``,
    and what a protocol adds. Each is printable ASCII of at most 64 characters, so that it fits into
    a header and a log line. ``model``: the one that the caller names among the options, where a
    protocol has it there.
    """

    options: TranscribeOptions
    ignored: tuple[str, ...] = ()
    model: str | None = None


def build_options(
    values: Mapping[str, object],
    *,
    limits: OptionLimits = _DEFAULT_LIMITS,
    strict: bool = False,
) -> ParsedOptions:
    """Check options by name. None stands for the default.

    Raises :class:`InvalidOption` where a value is of a wrong type or out of range and, if
    ``strict``, where a key is unknown. It names up to five options.
    """
    known, ignored = _known(values, TranscribeOptions)
    vad = known.get("vad_parameters")
    if isinstance(vad, Mapping):
        given, unknown = _known(vad, VadParameters)
        known["vad_parameters"] = given or None  # faster-whisper reads {} unlike no parameters
        ignored += [f"vad_parameters.{name}" for name in unknown]
    problems: list[tuple[str, str]] = []
    if strict:
        # A body may hold thousands of keys: close names are searched for only where they are shown.
        problems = [
            (short_name(key), _unknown(key) if number < _SHOWN_ERRORS else "")
            for number, key in enumerate(sorted(ignored))
        ]
    try:
        options = TranscribeOptions.model_validate(known, context=limits)
    except ValidationError as wrong:
        problems += [problem(error) for error in wrong.errors()]
    if problems:
        raise _invalid(problems)
    if options.batch_size > limits.max_batch_size:
        options = options.model_copy(update={"batch_size": limits.max_batch_size})
    return ParsedOptions(options, tuple(sorted(map(short_name, ignored))))


def read_values(
    model: type[Values], values: Mapping[str, object], limits: OptionLimits = _DEFAULT_LIMITS
) -> Values:
    """``values`` by the kinds of ``model``'s fields. Raises :class:`InvalidOption`."""
    try:
        return model.model_validate(values, context=limits)
    except ValidationError as wrong:
        raise _invalid([problem(error) for error in wrong.errors()]) from None


def shown(value: object) -> str:
    """``value`` as an error message shows it: on one line, at most 80 characters."""
    if isinstance(value, bool):
        return json.dumps(value)
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = _SHOWN_VALUE
    short.maxlevel = 2
    try:
        text = short.repr(value)
    except ValueError:  # an int of more digits than Python prints
        text = "a number of thousands of digits"
    return text if len(text) <= _SHOWN_VALUE else f"{text[: _SHOWN_VALUE - 3]}..."


def _known(
    values: Mapping[Any, object], model: type[BaseModel]
) -> tuple[dict[str, object], list[str]]:
    """The options that are set, and the keys that are not options."""
    known = {key: value for key, value in values.items() if key in model.model_fields}
    ignored = [str(key) for key in values if key not in known]
    return {key: value for key, value in known.items() if value is not None}, ignored


def short_name(key: str) -> str:
    """``key`` in printable ASCII, cut to 64 characters."""
    name = ascii(key)[1:-1] or '""'
    return name if len(name) <= _SHOWN_NAME else f"{name[: _SHOWN_NAME - 3]}..."


def _unknown(key: str) -> str:
    """What is wrong with a key that is not an option."""
    names: Iterable[str] = TranscribeOptions.model_fields
    if key.startswith("vad_parameters."):
        names = [f"vad_parameters.{name}" for name in VadParameters.model_fields]
    close = difflib.get_close_matches(key[:_SHOWN_NAME], names, n=1)
    hint = f"the closest is {close[0]}" if close else f"allowed: {', '.join(sorted(names))}"
    return f" is not an option; {hint}"


def problem(error: ErrorDetails) -> tuple[str, str]:
    """An option's name, and the rest of a sentence that says what is wrong with it."""
    name = ".".join(str(part) for part in error["loc"])
    reason = error.get("ctx", {}).get("error")
    if not name:  # the one check that spans several options
        return "patience", f": {reason}"
    if reason is None and name == "vad_parameters":
        reason = f"allowed: an object with any of {', '.join(VadParameters.model_fields)}"
    reason = reason or error["msg"].replace("Input should be", "allowed:")
    return name, f": got {shown(error['input'])}; {reason}"


def _invalid(problems: list[tuple[str, str]]) -> InvalidOption:
    sentences = [f"{name}{wrong}" for name, wrong in problems[:_SHOWN_ERRORS]]
    if len(problems) > _SHOWN_ERRORS:
        sentences[-1] += f". and {len(problems) - _SHOWN_ERRORS} more"
    return InvalidOption(*sentences, field=problems[0][0])
