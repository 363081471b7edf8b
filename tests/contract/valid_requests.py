"""Hooks of schemathesis (``SCHEMATHESIS_HOOKS``): what no JSON schema can say is filled in.

The document calls the audio a string of bytes and the options a string of JSON. Where schemathesis
means to send valid ones it takes them from here, so that they must be answered with a transcript.
"""

import json
from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis import HookContext

from serve_app.assets import GOLDEN_CLIP
from serve_app.options import TranscribeOptions
from tests.contract.wire import silence

AUDIO = (GOLDEN_CLIP.read_bytes(), silence(0.3), silence(0.0))
OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"language": "en", "beam_size": 5},
    {"word_timestamps": True, "batch_size": 1},
    {"vad_filter": False, "temperature": [0, 0.4], "unknown": None},
)
OPTIONS_FORMAT = "generate-kwargs"

schemathesis.openapi.format("binary", st.sampled_from(AUDIO))
schemathesis.openapi.format(OPTIONS_FORMAT, st.sampled_from(OPTIONS).map(json.dumps))


@schemathesis.hook
def before_load_schema(context: HookContext, raw_schema: dict[str, Any]) -> None:
    """Called by schemathesis with the document that it has fetched."""
    for operations in raw_schema["paths"].values():
        if "post" in operations:
            form = operations["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
            form["properties"]["generate_kwargs"]["format"] = OPTIONS_FORMAT


@schemathesis.hook
def map_body(context: HookContext, body: Any) -> Any:
    """Drops parts that the document does not name but that the server reads as options.

    Any part may be added to a form, and hypothesis likes to try words of our own source as names.
    """
    if not isinstance(body, dict):
        return body
    return {
        name: value for name, value in body.items() if name not in TranscribeOptions.model_fields
    }
