"""A profile from rates alone: what ``loadtest.engine_ceiling`` has measured of raw CTranslate2.

A worker that decodes n windows at a time spends ``A + B / n`` seconds on each: A is the encoder and
what the decoder does for each window, B what each of its calls costs whatever the batch. A least
squares fit over the decode batches gives both. Half of a lone window's time is taken to be the
encoder's. The ceiling's windows all have 30 s of context and are not aligned; those of the server
have only the context that they need, and every text is aligned.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from loadtest.capacity.profile import (
    Call,
    CallCost,
    MachineProfile,
    PrepareCost,
    Recipe,
    StageCosts,
)
from serve_app.engine.request import WINDOW_SECONDS
from serve_app.engine.window import context_seconds
from serve_app.errors import WhisperOxError

ENCODED_SHARE = 0.5
"""Of a lone window's time, about so on a CPU."""

LINEAR_SHARE = 0.36
"""Of the encoder's time for 30 s, the part that is proportional to the context; the rest grows with
its square (base, int8, one thread: 0.065 s for 10 s, 0.18 for 20, 0.34 for 30)."""

ALIGNED_SHARE = 0.08
"""What alignment takes, of a window's time."""

BASIS = (
    "derived from the rates of loadtest.engine_ceiling by decode batch, for the context that its "
    f"chunks need, with {ALIGNED_SHARE:.0%} of a window's time for alignment; every window alike, "
    "no second attempts and no speech heard again; serving costs are the rest of the time that "
    "a served chunk took, where that was measured"
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
    loaded = StageCosts(
        encode=CallCost(
            second=LINEAR_SHARE * encode / WINDOW_SECONDS,
            square=(1 - LINEAR_SHARE) * encode / WINDOW_SECONDS**2,
        ),
        generate=CallCost(call=call, window=each - encode),
        align=CallCost(window=ALIGNED_SHARE * each),
    )
    context = context_seconds(min(WINDOW_SECONDS, audio))
    window = (
        Call(stage="encode", context_seconds=context, charged_seconds=context),
        Call(stage="generate", context_seconds=context),
        Call(stage="align", context_seconds=context),
    )
    batch = int(best["decode_batch"])
    model = sum(loaded.of(step.stage).seconds([0] * batch, context) / batch for step in window)
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
        loaded=loaded,
        prepare=PrepareCost(call=max(0.0, _served_seconds(document) - model)),
        recipes=(Recipe(audio_seconds=min(WINDOW_SECONDS, audio), told=(((window,),),)),),
        machine=dict(document["machine"]),
    )


def _served_seconds(document: Mapping[str, Any]) -> float:
    """Seconds of a worker that the server took for a chunk; 0.0 if not measured."""
    if not (serving := document.get("serving")):
        return 0.0
    served = float(np.mean(serving["served_rtfx_per_round"]))
    return int(document["ceiling"]["workers"]) * float(document["chunk_seconds"]) / served
