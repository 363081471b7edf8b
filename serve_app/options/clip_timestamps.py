"""The stretches of the audio to transcribe."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from typing_extensions import override

from serve_app.options.kinds import Kind, items, number
from serve_app.options.limits import OptionLimits

ClipTimes: TypeAlias = tuple[float, float | None]
"""Start and end of a stretch of the audio, in seconds; None stands for the end of the audio."""

_LONGEST_SECONDS = 1_000_000.0


@dataclass(frozen=True)
class ClipTimestamps(Kind):
    """Stretches of the audio, ascending and not overlapping.

    They come in the forms that faster-whisper's two pipelines take, ``"0,5.2,7"``, ``[0, 5.2, 7]``
    and ``[{"start": 0, "end": 5.2}]``, or as pairs, ``[[0, 5.2], [7, null]]``. An empty list means
    the whole audio, and so does ``"0"``, the default of the sequential pipeline.
    """

    is_list = True

    @override
    def read(self, value: object, limits: OptionLimits) -> tuple[ClipTimes, ...] | None:
        if isinstance(value, str) and value.strip() == "0":
            return None
        values = items(value)
        is_flat = not any(isinstance(one, (dict, list, tuple)) for one in values)
        n_clips = (len(values) + 1) // 2 if is_flat else len(values)
        if n_clips > limits.max_clips:  # before thousands of numbers are read
            raise ValueError(f"{n_clips} clips are too many")
        clips = _flat(values) if is_flat else tuple(_pair(one) for one in values)
        _check_order(clips)
        return clips or None

    @override
    def allowed(self, limits: OptionLimits) -> str:
        return (
            f'up to {limits.max_clips} stretches in seconds as "start,end,start,end", as a list of '
            'numbers or of {"start": 0, "end": 5.2}, ascending, not overlapping, only the last '
            "without an end"
        )


def _flat(values: Sequence[object]) -> tuple[ClipTimes, ...]:
    flat: list[float | None] = [float(number(value)) for value in values]
    if len(flat) % 2:
        flat.append(None)
    return tuple((float(s or 0), e) for s, e in zip(flat[::2], flat[1::2], strict=True))


def _pair(value: object) -> ClipTimes:
    if isinstance(value, dict):
        if not {"start"} <= set(value) <= {"start", "end"}:
            raise ValueError
        value = (value["start"], value.get("end"))
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise ValueError
    start, end = value
    return float(number(start)), None if end is None else float(number(end))


def _check_order(clips: tuple[ClipTimes, ...]) -> None:
    previous: float | None = 0.0
    for start, end in clips:
        if previous is None:
            raise ValueError(f"{start:g} follows a clip without an end")
        if start < previous:
            raise ValueError(f"{start:g} comes after {previous:g}")
        if end is not None and end <= start:
            raise ValueError(f"the end {end:g} is not after the start {start:g}")
        if max(start, end or 0) > _LONGEST_SECONDS:
            raise ValueError(f"{max(start, end or 0):g} s is longer than any audio")
        previous = end
