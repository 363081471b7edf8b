"""Runs the largest batches that the limits allow, once, before any request.

Whether they fit into a GPU's memory depends on the card, the model, the profile, and on what else
runs there. So a replica finds out when it starts, not under its callers' requests.
"""

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from faster_whisper.tokenizer import Tokenizer

from serve_app.engine.engine import Engine
from serve_app.engine.queue import Step
from serve_app.engine.steps import Encoded, encode_step, generate_step
from serve_app.engine.window import FULL_FRAMES
from serve_app.options import TranscribeOptions

logger = logging.getLogger("whisper_ox.engine")


def try_largest_batches(engine: Engine) -> None:
    """Encode and decode as many full windows at once as the limits allow, on every worker.

    Their texts run up to the limit of a window. The engine's :class:`Device` learns from what does
    not fit. Raises what the model raises for a lone window.
    """
    began = time.perf_counter()
    limits, device = engine.limits(), engine.scheduler.device
    encoding = encode_step(np.zeros((1, engine.whisper.model.n_mels, FULL_FRAMES), np.float32))

    def run(_: int) -> Step:
        output = _sound(device.run([encoding] * limits.encode, alone=False))
        decoding = _decoding(engine, output)
        _sound(device.run([decoding] * limits.decode, alone=False))
        return decoding

    with ThreadPoolExecutor(engine.workers) as threads:
        *_, decoding = threads.map(run, range(engine.workers))
    logger.info(
        "tried the largest batches in %.1f s: %d windows fit an encoder call, %d a decoder call",
        time.perf_counter() - began,
        device.most_windows(encoding) or limits.encode,
        device.most_windows(decoding) or limits.decode,
    )


def _decoding(engine: Engine, output: Any) -> Step:
    model = engine.whisper.model
    tokenizer = Tokenizer(engine.whisper.hf_tokenizer, model.is_multilingual, "transcribe", "en")
    options = {
        "beam_size": TranscribeOptions().beam_size,
        "max_length": engine.whisper.max_length,
        "suppress_tokens": (tokenizer.eot,),
    }
    prompt = tokenizer.sot_sequence
    return generate_step(Encoded(output, FULL_FRAMES), prompt, options, engine.vocabulary)


def _sound(outcomes: list[Any]) -> Any:
    """The first outcome. Raises it if it is an exception."""
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return outcomes[0]
