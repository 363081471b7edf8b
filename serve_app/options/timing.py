"""Options that are lists of temperatures or of clips."""

from dataclasses import dataclass
from typing import TypeAlias

from typing_extensions import override

from serve_app.options.kinds import Kind, Number, number
from serve_app.options.limits import OptionLimits

Clip: TypeAlias = tuple[float, float | None]
"""Start and end of a stretch of the audio, in seconds; an end of None is the audio's own."""

_LONGEST_SECONDS = 1_000_000.0
_TEMPERATURE = Number(0, 2)


@dataclass(frozen=True)
class Temperatures(Kind):
    """One temperature or several, tried in turn."""

    @override
    def read(self, value: object, limits: OptionLimits) -> tuple[float, ...]:
        values = value if isinstance(value, (list, tuple)) else _split(value)
        if not 1 <= len(values) <= limits.max_temperatures:
            raise ValueError
        return tuple(float(_TEMPERATURE.read(one, limits) or 0) for one in values)

    @override
    def allowed(self, limits: OptionLimits) -> str:
        return f"{_TEMPERATURE.allowed(limits)}, or a list of up to {limits.max_temperatures} such"


@dataclass(frozen=True)
class Clips(Kind):
    """Stretches of the audio, ascending and apart.

    Read from what either pipeline of faster-whisper takes: ``"0,5.2,7"``, ``[0, 5.2, 7]``,
    ``[{"start": 0, "end": 5.2}]``, and from pairs, ``[[0, 5.2], [7, null]]``. ``"0"``, the default
    of the sequential pipeline, and an empty list say nothing.
    """

    @override
    def read(self, value: object, limits: OptionLimits) -> tuple[Clip, ...] | None:
        if isinstance(value, str) and value.strip() == "0":
            return None
        values = value if isinstance(value, (list, tuple)) else _split(value)
        clips = _pairs(values)
        if len(clips) > limits.max_clips:
            raise ValueError(f"{len(clips)} clips are too many")
        _check_order(clips)
        return clips or None

    @override
    def allowed(self, limits: OptionLimits) -> str:
        return (
            f'up to {limits.max_clips} stretches in seconds as "start,end,start,end", as a list of '
            'numbers or of {"start": 0, "end": 5.2}, ascending, not overlapping, only the last '
            "without an end"
        )


def _split(value: object) -> list[object]:
    if isinstance(value, str):
        return [part for part in value.split(",") if part.strip()]
    return [value]


def _pairs(values: "list[object] | tuple[object, ...]") -> tuple[Clip, ...]:
    if any(isinstance(value, (dict, list, tuple)) for value in values):
        return tuple(_pair(value) for value in values)
    flat: list[float | None] = [float(number(value)) for value in values]
    if len(flat) % 2:
        flat.append(None)
    return tuple((float(s or 0), e) for s, e in zip(flat[::2], flat[1::2], strict=True))


def _pair(value: object) -> Clip:
    if isinstance(value, dict):
        if not {"start"} <= set(value) <= {"start", "end"}:
            raise ValueError
        value = (value["start"], value.get("end"))
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise ValueError
    start, end = value
    return float(number(start)), None if end is None else float(number(end))


def _check_order(clips: tuple[Clip, ...]) -> None:
    previous: float | None = 0.0
    for start, end in clips:
        if previous is None:
            raise ValueError(f"no clip can follow one without an end, and {start:g} does")
        if start < previous:
            raise ValueError(f"{start:g} comes after {previous:g}")
        if end is not None and end <= start:
            raise ValueError(f"the end {end:g} is not after the start {start:g}")
        if max(start, end or 0) > _LONGEST_SECONDS:
            raise ValueError(f"{max(start, end or 0):g} s lies beyond any audio")
        previous = end
