"""From timed calls to the costs of a profile: least squares without negative costs."""

from collections import defaultdict
from collections.abc import Sequence
from statistics import mean

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from loadtest.capacity.profile import (
    CallCost,
    DecodeCost,
    DecodeRow,
    LoneCosts,
    PrepareCost,
    StageCosts,
)


class TimedCall(BaseModel):
    """One call of the model: ``tokens`` of each of its windows, 0 where it does not decode."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: str
    tokens: tuple[int, ...]
    seconds: float

    @property
    def windows(self) -> int:
        """In the call."""
        return len(self.tokens)


def least_squares(table: Sequence[Sequence[float]], seconds: Sequence[float]) -> list[float]:
    """Coefficients of at least 0 for the columns of ``table``, for small relative errors.

    Columns whose best coefficient would be negative are left out, the worst first.
    """
    found = np.zeros(len(table[0]))
    columns = list(range(len(table[0])))
    target: npt.NDArray[np.float64] = np.asarray(seconds, dtype=float)
    weights = 1 / target
    while columns:
        weighted = np.asarray(table, dtype=float)[:, columns] * weights[:, None]
        best, *_ = np.linalg.lstsq(weighted, target * weights, rcond=None)
        if best.min() >= 0:
            found[columns] = best
            break
        columns.pop(int(best.argmin()))
    return [float(value) for value in found]


def call_cost(calls: Sequence[TimedCall]) -> CallCost:
    """Of the encoder or of language detection; free where there are no calls."""
    if not calls:
        return CallCost()
    if len({call.windows for call in calls}) == 1:
        return CallCost(window=mean(call.seconds / call.windows for call in calls))
    call, window = least_squares(
        [[1.0, call.windows] for call in calls], [call.seconds for call in calls]
    )
    return CallCost(call=call, window=window)


def decode_cost(calls: Sequence[TimedCall]) -> DecodeCost:
    """Of the decoder, over batches of several sizes."""
    call, window, step, token = least_squares(
        [[1.0, one.windows, max(one.tokens), sum(one.tokens)] for one in calls],
        [one.seconds for one in calls],
    )
    return DecodeCost(call=call, window=window, step=step, token=token)


def stage_costs(calls: Sequence[TimedCall]) -> StageCosts:
    """Of a worker, all of its calls."""
    by_stage: dict[str, list[TimedCall]] = defaultdict(list)
    for call in calls:
        by_stage[call.stage].append(call)
    return StageCosts(
        encode=call_cost(by_stage["encode"]),
        detect=call_cost(by_stage["detect"]),
        decode=decode_cost(by_stage["generate"]),
    )


def lone_costs(calls: Sequence[TimedCall], decode: DecodeCost | None) -> LoneCosts:
    """Of the whole-machine worker, from calls over one window; ``decode`` as of a busy worker, None
    where lone batches are not decoded on every core.
    """
    return LoneCosts(
        encode=call_cost([c for c in calls if c.stage == "encode" and c.windows == 1]),
        detect=call_cost([c for c in calls if c.stage == "detect" and c.windows == 1]),
        decode=decode and _lone_decode_cost(calls, decode),
    )


def _lone_decode_cost(calls: Sequence[TimedCall], busy: DecodeCost) -> DecodeCost:
    """What grows with a batch cannot be told from one window: it is shared out as in ``busy``."""
    single = [c for c in calls if c.stage == "generate" and c.windows == 1]
    fixed, each = least_squares([[1.0, c.tokens[0]] for c in single], [c.seconds for c in single])
    fixed_share = _share(busy.call, busy.window)
    step_share = _share(busy.step, busy.token)
    return DecodeCost(
        call=fixed * fixed_share,
        window=fixed * (1 - fixed_share),
        step=each * step_share,
        token=each * (1 - step_share),
    )


def _share(first: float, second: float) -> float:
    return first / (first + second) if first + second > 0 else 1.0


def prepare_cost(audio_seconds: Sequence[float], seconds: Sequence[float]) -> PrepareCost:
    """A straight line through what requests took beside the model."""
    if len(set(audio_seconds)) == 1:
        return PrepareCost(call=mean(seconds))
    call, each = least_squares([[1.0, audio] for audio in audio_seconds], seconds)
    return PrepareCost(call=call, audio_second=each)


def decode_rows(
    calls: Sequence[TimedCall], loaded: StageCosts, workers: int, audio_seconds: float
) -> list[DecodeRow]:
    """Measured decoder calls by batch, with the RTFx of windows of ``audio_seconds``."""
    by_size: dict[int, list[float]] = defaultdict(list)
    for call in calls:
        if call.stage == "generate":
            by_size[call.windows].append(call.seconds)
    rows = []
    for windows, seconds in sorted(by_size.items()):
        detect = loaded.detect.seconds(windows)
        whole = windows * loaded.encode.seconds(1) + detect + mean(seconds)
        rtfx = workers * windows * audio_seconds / whole
        rows.append(
            DecodeRow(windows=windows, calls=len(seconds), seconds=mean(seconds), rtfx=rtfx)
        )
    return rows


def mean_error(calls: Sequence[TimedCall], costs: StageCosts) -> float:
    """Mean relative error of the decoder's fit, without sign."""
    errors = [
        abs(costs.decode.seconds(call.tokens) / call.seconds - 1)
        for call in calls
        if call.stage == "generate"
    ]
    return mean(errors) if errors else 0.0
