"""Hostile options and forms are read or refused, and take little time and memory."""

import asyncio
import gc
import json
import time
import tracemalloc
from collections.abc import Callable

from hypothesis import given
from starlette.requests import Request
from starlette.types import Message

from serve_app.api.edge.state import RequestState
from serve_app.api.error_answers import error_response
from serve_app.api.facades.generate_kwargs import OPTIONS_FIELD, TEXT_NAMES, read_options
from serve_app.api.sources.form import Form, read_form
from serve_app.errors import WhisperOxError
from serve_app.options import ModelFacts, OptionLimits, ParsedOptions, check_against_model
from tests import hostile
from tests.unit.asgi import http_scope

CPU_SECONDS = 1.0
"""Far more than any of them takes, on the slowest machine and under the tracing of memory."""

MEBIBYTES_FOR_EACH, MEBIBYTES = 12, 16
"""Bytes for each byte of the input, and a constant part: parsed JSON takes tens of bytes for two of
text."""

MODELS = (
    ModelFacts("tiny.en", False, ("en",), 51_864),
    ModelFacts("base", True, ("en", "de", "zh"), 51_865),
)


def assert_cheap_and_refused_by_name(read: Callable[[], object], n_bytes: int) -> None:
    """``read`` gives something or raises an error of the caller's, within its bounds."""
    tracemalloc.start()
    # What other tests have left behind must not count: neither their threads nor their garbage.
    gc.disable()
    began = time.thread_time()
    try:
        read()
    except WhisperOxError as error:
        assert 400 <= error.status < 500
        scope = http_scope()
        RequestState.begin(scope)
        answer = bytes(error_response(scope, error).body)
        assert len(answer) < 16_384  # no refusal grows with what the caller sent
        assert json.loads(answer)["error"]["message"].isprintable()
    finally:
        seconds = time.thread_time() - began
        gc.enable()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert seconds < CPU_SECONDS
    assert peak < MEBIBYTES * 2**20 + MEBIBYTES_FOR_EACH * n_bytes


def options_of(form: Form, *, is_complete: bool = False) -> ParsedOptions:
    scope = http_scope()
    RequestState.begin(scope)
    limits = OptionLimits()
    return read_options(Request(scope), form, limits, strict=False, is_complete=is_complete)


@hostile.examples(60)
@given(hostile.options)
def test_options(payload: bytes) -> None:
    def read() -> None:
        options = options_of(Form(fields=[(OPTIONS_FIELD, bytearray(payload))])).options
        for model in MODELS:
            check_against_model(options, model)

    assert_cheap_and_refused_by_name(read, len(payload))


@hostile.examples(30)
@given(hostile.forms())
def test_forms(payload: bytes) -> None:
    pieces = [payload[start : start + 65_536] for start in range(0, len(payload), 65_536)]

    async def receive() -> Message:
        piece = pieces.pop(0) if pieces else b""
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    def read() -> None:
        scope = http_scope(headers=[("content-type", b"multipart/form-data; boundary=x")])
        form = asyncio.run(
            read_form(Request(scope, receive), lambda head: None, text_names=TEXT_NAMES)
        )
        options_of(form, is_complete=True)
        form.audio()

    assert_cheap_and_refused_by_name(read, len(payload))
