"""A profile from rates alone: what ``loadtest.engine_ceiling`` has measured of raw CTranslate2.

A worker that decodes n windows at a time spends ``A + B / n`` seconds on each: A is the encoder and
what the decoder does for each window, B what each of its calls costs whatever the batch. A least
squares fit over the decode batches gives both. How A is shared between encoder and decoder does not
change a rate; half of a lone window's time is taken to be the encoder's.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from loadtest.capacity.profile import (
    Call,
    CallCost,
    DecodeCost,
    DecodeRow,
    MachineProfile,
    PrepareCost,
    Recipe,
    StageCosts,
)
from serve_app.errors import WhisperOxError

ENCODED_SHARE = 0.5
"""Of a lone window's time, about so on a CPU."""

BASIS = (
    "derived from the rates of loadtest.engine_ceiling by decode batch; every window alike, no "
    "second attempts; serving costs from its serving efficiency where that was measured"
)


def from_ceiling(document: Mapping[str, Any], name: str) -> MachineProfile:
    """The best number of workers and threads of a results file, as a profile.

    Raises ``WhisperOxError`` where the file has fewer than two decode batches for them.
    """
    best = document["ceiling"]
    workers, threads = int(best["workers"]), int(best["threads"])
    audio = float(document["chunk_seconds"])
    rates: dict[int, list[float]] = defaultdict(list)
    for one in document["combinations"]:
        shape = (one["workers"], one["threads"], one["encode_batch"])
        if shape == (workers, threads, best["encode_batch"]):
            rates[int(one["decode_batch"])] += one["rtfx"]
    if len(rates) < 2:
        raise WhisperOxError(f"{name} has rates of one decode batch only; two are needed")
    batches = sorted(rates)
    per_window = [workers * audio / float(np.mean(rates[n])) for n in batches]
    # Weighted by 1/seconds: relative errors are to be small, of fast batches too.
    weights = 1 / np.asarray(per_window)
    table = np.array([[1.0, 1.0 / n] for n in batches])
    (each, call), *_ = np.linalg.lstsq(
        table * weights[:, None], np.asarray(per_window) * weights, rcond=None
    )
    each, call = (float(each), float(call)) if call > 0 else (float(np.mean(per_window)), 0.0)
    encode = min(each, ENCODED_SHARE * (each + call))
    decode = DecodeCost(call=call, window=each - encode)
    return MachineProfile(
        name=name,
        kind="derived",
        basis=BASIS,
        model=document["model"],
        compute_type=document["compute_type"],
        cores=int(document["machine"]["cores"]),
        workers=workers,
        threads_per_worker=threads,
        encode_batch=1,
        loaded=StageCosts(encode=CallCost(window=encode), decode=decode),
        prepare=PrepareCost(call=_serving_seconds(document, workers, audio)),
        recipes=(Recipe(audio_seconds=min(30.0, audio), calls=_CALLS),),
        decode_table=tuple(
            DecodeRow(
                windows=n,
                calls=len(rates[n]),
                seconds=call + n * decode.window or 1e-9,
                rtfx=float(np.mean(rates[n])),
            )
            for n in batches
        ),
        machine=dict(document["machine"]),
    )


_CALLS = (Call(stage="encode"), Call(stage="generate"))


def _serving_seconds(document: Mapping[str, Any], workers: int, audio: float) -> float:
    """Core seconds per request that the server needs beyond the raw calls; 0.0 if not measured."""
    serving = document.get("serving")
    if not serving:
        return 0.0
    served = float(np.mean(serving["served_rtfx_per_round"]))
    raw = float(np.mean(serving["ceiling_rtfx_per_round"]))
    return max(0.0, workers * audio * (1 / served - 1 / raw))
