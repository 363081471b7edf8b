"""The kinds of value that an option can have: how each is read, and what it allows.

A kind is part of a field's annotation, as in ``Annotated[int, Whole(1, 10)]``. Pydantic reads the
field through it. Error messages and the documentation take their wording from it.
"""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import GetCoreSchemaHandler, ValidationInfo
from pydantic_core import core_schema
from typing_extensions import override

from serve_app.options.limits import OptionLimits

# No string matches it in two ways: where the same digits did, refusing 20,000 of them took 14 s.
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
_FLAGS = {
    "true": True, "yes": True, "on": True, "1": True,
    "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip
_OFF = ("off", "none", "false")


class Kind(ABC):
    """Reads one option under the server's ``limits``."""

    is_list: ClassVar[bool] = False
    """Whether a value has items, which a string separates by commas."""

    @abstractmethod
    def read(self, value: object, limits: OptionLimits) -> object:
        """The option's value. Raises ``ValueError``, with a reason if there is one to add."""

    @abstractmethod
    def allowed(self, limits: OptionLimits) -> str:
        """What :meth:`read` accepts, in words."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.with_info_before_validator_function(self._validate, handler(source))

    def _validate(self, value: object, info: ValidationInfo) -> object:
        if value is None:
            return None
        limits = info.context if isinstance(info.context, OptionLimits) else OptionLimits()
        try:
            return self.read(value, limits)
        except ValueError as refused:
            reason = f"{refused}; " if refused.args else ""
            raise ValueError(f"{reason}allowed: {self.allowed(limits)}") from None


def number(value: object) -> float:
    """A finite number, given as a number or a string. A whole number stays an ``int``."""
    if isinstance(value, str) and _NUMBER.fullmatch(text := value.strip()):
        # int() refuses very long strings of digits, so only short ones are read exactly.
        value = int(text) if len(text) < 16 and text.lstrip("+-").isdigit() else float(text)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError
    try:
        finite = math.isfinite(value)
    except OverflowError:  # an int beyond the largest float
        finite = False
    if not finite:
        raise ValueError
    return value


def items(value: object) -> Sequence[object]:
    """The items of a list, the parts of a comma-separated string, or else ``value`` alone."""
    if isinstance(value, (list, tuple)):
        return value
    if isinstance(value, str):
        return [part for part in value.split(",") if part.strip()]
    return [value]


@dataclass(frozen=True)
class Flag(Kind):
    """True or false, also as a string or as 0 and 1."""

    @override
    def read(self, value: object, limits: OptionLimits) -> bool:
        if isinstance(value, str):
            value = _FLAGS.get(value.strip().lower())
        if value in (0, 1):
            return bool(value)
        raise ValueError

    @override
    def allowed(self, limits: OptionLimits) -> str:
        return "true or false"


@dataclass(frozen=True)
class Whole(Kind):
    """A whole number. ``most`` may be the name of a field of :class:`OptionLimits`."""

    least: int
    most: int | str | None = None

    def _most(self, limits: OptionLimits) -> int | None:
        return getattr(limits, self.most) if isinstance(self.most, str) else self.most

    @override
    def read(self, value: object, limits: OptionLimits) -> int:
        given = number(value)
        most = self._most(limits)
        if given != int(given) or given < self.least or (most is not None and given > most):
            raise ValueError
        return int(given)

    @override
    def allowed(self, limits: OptionLimits) -> str:
        most = self._most(limits)
        return f"a whole number from {self.least}" + (f" to {most}" if most is not None else " up")


@dataclass(frozen=True)
class Number(Kind):
    """A number. With ``off``, the words "off" and "none" and false turn the option off (None)."""

    least: float
    most: float
    off: bool = False

    @override
    def read(self, value: object, limits: OptionLimits) -> float | None:
        if self.off and (
            value is False or (isinstance(value, str) and value.strip().lower() in _OFF)
        ):
            return None
        given = float(number(value))
        if not self.least <= given <= self.most:
            raise ValueError
        return given + 0.0  # no negative zero

    @override
    def allowed(self, limits: OptionLimits) -> str:
        off = ', or "off"' if self.off else ""
        return f"a number from {self.least:g} to {self.most:g}{off}"


_TEMPERATURE = Number(0, 2)


@dataclass(frozen=True)
class Temperatures(Kind):
    """One temperature, or several that are tried in turn."""

    is_list = True

    @override
    def read(self, value: object, limits: OptionLimits) -> tuple[float, ...]:
        values = items(value)
        if not 1 <= len(values) <= limits.max_temperatures:
            raise ValueError
        return tuple(float(_TEMPERATURE.read(one, limits) or 0) for one in values)

    @override
    def allowed(self, limits: OptionLimits) -> str:
        return f"{_TEMPERATURE.allowed(limits)}, or a list of up to {limits.max_temperatures} such"


@dataclass(frozen=True)
class Choice(Kind):
    """One of ``words``, in any case."""

    words: tuple[str, ...]

    @override
    def read(self, value: object, limits: OptionLimits) -> str:
        if isinstance(value, str) and (word := value.strip().lower()) in self.words:
            return word
        raise ValueError

    @override
    def allowed(self, limits: OptionLimits) -> str:
        return " or ".join(f'"{word}"' for word in self.words)
