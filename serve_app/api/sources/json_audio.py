"""JSON bodies that hold audio in base64, read as the form in which OpenAI's clients send the same.

Such a body is nearly all audio, so it is not parsed as a whole: the audio is cut out first and
decoded where it lies. So it is held only once, and other requests get their turn in between.
"""

import asyncio
import base64
import json
import re
from collections.abc import Iterator

from starlette.requests import Request

from serve_app.api.sources.form import FILE_FIELD, MAX_FIELD_BYTES, MAX_FIELDS, Form
from serve_app.api.sources.json_object import read_json_object
from serve_app.api.sources.raw_body import OnHead, read_raw_body
from serve_app.errors import FormTooLarge, InvalidRequest

AUDIO_FIELD = "input_audio"

PIECE_CHARACTERS = 256 * 1024
"""What is decoded at a time: a multiple of the four characters that base64 has for three bytes."""

_VALUE = re.compile(rb'"data"\s{0,80}:\s{0,80}"')


async def read_json_form(request: Request, on_head: OnHead) -> Form:
    """Read ``{"input_audio": {"data": BASE64, "format": "wav"}, ...}``.

    The audio becomes the form's file, and all other members become text fields. ``format`` is
    ignored, since the audio shows what it is. ``on_head`` is never called: parsing begins once the
    whole body has come.

    Raises ``InvalidRequest`` if the body breaks off, is not such an object or holds no base64, and
    ``FormTooLarge`` if there is too much apart from the audio.
    """
    body = await read_raw_body(request, lambda head: None)
    start, end = _place_of_audio(body)
    if len(body) - (end - start) > MAX_FIELD_BYTES:
        raise FormTooLarge(
            f"The body has more than {MAX_FIELD_BYTES} bytes apart from the audio, the most it may "
            f'have. The audio belongs in {AUDIO_FIELD}, as {{"data": "<base64>"}}.'
        )
    text = (body[:start] + body[end:]).decode("utf-8", "replace")
    example = f'{{"{AUDIO_FIELD}": {{"data": "<base64>"}}}}'
    values = read_json_object(text, "body", MAX_FIELD_BYTES, example=example)
    audio = values.pop(AUDIO_FIELD, None)
    if start == end or not isinstance(audio, dict) or audio.get("data") != "":
        raise _no_audio()
    fields = [(name, bytearray(text.encode("utf-8", "replace"))) for name, text in _texts(values)]
    if len(fields) > MAX_FIELDS:
        raise FormTooLarge(f"The body has more than {MAX_FIELDS} values, the most it may have.")
    return Form([(FILE_FIELD, await _decoded(body, start, end))], fields)


def _place_of_audio(body: bytearray) -> tuple[int, int]:
    """Where the longest string under the name "data" begins and ends; (0, 0) if there is none.

    If there is more beside it than a body may have, it need not be the longest.
    """
    place, at = (0, 0), 0
    # What lies between such strings may not be longer than this in any case.
    while (at := body.find(b'"data"', at, at + MAX_FIELD_BYTES)) >= 0:
        if at - (place[1] - place[0]) > MAX_FIELD_BYTES:
            break
        begins = _VALUE.match(body, at)
        start = begins.end() if begins else at + 1
        end = max(start, body.find(b'"', start))  # base64 has no quotation marks
        if begins and end - start > place[1] - place[0]:
            place = (start, end)
        at = end
    return place


async def _decoded(body: bytearray, start: int, end: int) -> bytearray:
    """``body`` itself, of which only the bytes that ``body[start:end]`` stands for are left."""
    if body.find(b"\\", start, end) >= 0:  # PHP writes "\/" for "/"
        data = body[start:end].replace(b"\\/", b"/")
        body[start:end], end = data, start + len(data)
    length = 0
    for at in range(start, end, PIECE_CHARACTERS):
        piece = body[at : min(at + PIECE_CHARACTERS, end)]
        piece += b"=" * (-len(piece) % 4)  # some leave the padding out
        try:
            decoded = base64.b64decode(piece, validate=True)
        except ValueError:
            raise _no_audio() from None
        body[length : length + len(decoded)] = decoded
        length += len(decoded)
        await asyncio.sleep(0)
    del body[length:]
    return body


def _texts(values: dict[str, object]) -> Iterator[tuple[str, str]]:
    """Names and texts as forms have them: a list as ``name[]``, an object as ``name[key]``."""
    for name, value in values.items():
        if isinstance(value, list):
            yield from ((f"{name}[]", _text(one)) for one in value)
        elif isinstance(value, dict):
            yield from ((f"{name}[{key}]", _text(one)) for key, one in value.items())
        elif value is not None:
            yield name, _text(value)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _no_audio() -> InvalidRequest:
    return InvalidRequest(
        f'{AUDIO_FIELD}: it must be {{"data": "<base64>"}}, where the text is the audio file in '
        'base64 without "data:" in front of it and without line breaks.',
        code="missing_file",
        field=AUDIO_FIELD,
    )
