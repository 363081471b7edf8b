"""The contract: multipart WAV and ``generate_kwargs`` in, segments out."""

import json
import time
from typing import Any

import anyio.to_thread
from fastapi import APIRouter, FastAPI, Request
from starlette.responses import JSONResponse

from serve_app.api.caller import announced_bytes, caller_of
from serve_app.api.examples import CURL_EXAMPLE, RESPONSE_EXAMPLE
from serve_app.api.multipart import read_form
from serve_app.api.request_span import span_of
from serve_app.audio.clip import AudioClip
from serve_app.audio.decode import decode
from serve_app.audio.limits import Hold
from serve_app.audio.plan import check_start, inspect
from serve_app.call_log import log_received
from serve_app.core import SpeechCore
from serve_app.metrics.catalogue import AUDIO_DECODE_SECONDS, Sink
from serve_app.options import CONTRACT_EXAMPLE, parse_generate_kwargs
from serve_app.settings import AppSettings
from serve_app.tracing.span import AUDIO_SECONDS
from serve_app.transcript import Segment, Transcript

IGNORED_HEADER = "X-Ignored-Options"
COVERAGE_HEADER = "X-Speech-Coverage"
MAX_NAMED = 20


def install_contract(app: FastAPI, core: SpeechCore, settings: AppSettings, sink: Sink) -> None:
    """Answer the contract's POST under every configured path of ``app``."""
    router = APIRouter(tags=["transcribe"])

    async def transcribe(request: Request) -> JSONResponse:
        began = time.perf_counter()
        caller = caller_of(request)
        await core.admit(caller, announced_bytes(request))
        with span_of(request).child("receive audio"):
            form = await read_form(
                request,
                # A character takes up to four bytes.
                field_bytes={"generate_kwargs": 4 * settings.options.max_json_characters},
                on_head=lambda head: check_start(head, settings.audio),
            )
        received = time.perf_counter()
        parsed = parse_generate_kwargs(
            form.field("generate_kwargs"),
            limits=settings.options,
            strict=settings.http.strict_options,
        )
        audio = form.audio()
        with span_of(request).child("decode audio") as span:
            clip = await _decode(audio, settings, request.state.hold)
            span.note({AUDIO_SECONDS: round(clip.received_seconds, 3)})
        decoded = time.perf_counter()
        log_received(
            len(audio), clip, receive_seconds=received - began, decode_seconds=decoded - received
        )
        sink.observe(AUDIO_DECODE_SECONDS, decoded - received)
        transcript = await core.transcribe(clip, parsed.options, caller)
        done = time.perf_counter()
        headers = {
            "Server-Timing": _timing(
                receive=received - began,
                decode=decoded - received,
                engine=transcript.engine_seconds,
                handover=done - decoded - transcript.engine_seconds,
            )
        }
        if transcript.speech_coverage is not None:
            headers[COVERAGE_HEADER] = f"{transcript.speech_coverage:.3f}"
        if parsed.ignored:
            headers[IGNORED_HEADER] = _name_some(parsed.ignored)
        request.state.log = {
            "audio_s": round(clip.received_seconds, 2),
            "engine_s": round(transcript.engine_seconds, 2),
            "language": transcript.language,
            "segments": len(transcript.segments),
            **({"ignored_options": headers[IGNORED_HEADER]} if parsed.ignored else {}),
        }
        return JSONResponse(render(transcript), headers=headers)

    paths = (*settings.http.transcribe_paths, *settings.http.extra_transcribe_paths)
    for number, path in enumerate(dict.fromkeys(paths)):
        router.add_api_route(
            path,
            transcribe,
            methods=["POST"],
            summary="Transcribe one audio file" if number == 0 else f"The same as {paths[0]}",
            description=f"Try it:\n\n```sh\n{CURL_EXAMPLE}\n```" if number == 0 else "An alias.",
            operation_id="transcribe" if number == 0 else f"transcribe_{number + 1}",
            openapi_extra=_OPENAPI,
            response_model=None,
        )
    app.include_router(router)


def render(transcript: Transcript) -> dict[str, Any]:
    """The contract's response body."""
    return {
        "segments": [_render_segment(segment) for segment in transcript.segments],
        "language": transcript.language,
        "duration": round(transcript.duration_seconds, 3),
    }


def _render_segment(segment: Segment) -> dict[str, Any]:
    words = None
    if segment.words is not None:
        words = [
            {"start": w.start, "end": w.end, "word": w.word, "probability": round(w.probability, 6)}
            for w in segment.words
        ]
    return {
        "start": segment.start,
        "end": segment.end,
        "text": segment.text.strip(),
        "sequence_confidence": round(segment.avg_logprob, 6),
        "words": words,
    }


async def _decode(payload: bytes | memoryview, settings: AppSettings, hold: Hold) -> AudioClip:
    plan = inspect(payload)
    if plan.is_instant:
        return decode(plan, payload, limits=settings.audio)
    # FFmpeg needs milliseconds to minutes: never on the event loop. ``hold`` ends the thread of a
    # request that is over.
    return await anyio.to_thread.run_sync(
        lambda: decode(plan, payload, limits=settings.audio, hold=hold), abandon_on_cancel=True
    )


def _timing(**seconds: float) -> str:
    """W3C Server-Timing, milliseconds."""
    return ", ".join(f"{name};dur={value * 1000:.1f}" for name, value in seconds.items())


def _name_some(names: tuple[str, ...]) -> str:
    """A header value; the parser has already made each name short printable ASCII."""
    rest = len(names) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f" and {rest} more" if rest > 0 else "")


_OPENAPI: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {
                            "type": "string",
                            "format": "binary",
                            "description": "The audio: WAV (16 kHz, 16-bit, mono is fastest), "
                            "FLAC, MP3, OGG, M4A, WebM ...",
                        },
                        "generate_kwargs": {
                            "type": "string",
                            "contentMediaType": "application/json",
                            "description": "JSON object of options; see docs/options.md. "
                            "Unknown keys are ignored and named in X-Ignored-Options.",
                            "default": json.dumps(CONTRACT_EXAMPLE),
                        },
                    },
                },
                "encoding": {"file": {"contentType": "audio/*, application/octet-stream"}},
            }
        },
    },
    "responses": {
        "200": {
            "description": "The transcript; `segments` is empty for silence.",
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/Transcript"},
                    "example": RESPONSE_EXAMPLE,
                }
            },
            "headers": {
                "Server-Timing": {
                    "description": "Milliseconds of each stage (W3C Server Timing).",
                    "schema": {"type": "string"},
                },
                COVERAGE_HEADER: {
                    "description": "Share of the speech found that segments cover.",
                    "schema": {"type": "number", "minimum": 0, "maximum": 1},
                },
                IGNORED_HEADER: {
                    "description": "Keys of generate_kwargs that are no options.",
                    "schema": {"type": "string"},
                },
            },
        }
    },
}
