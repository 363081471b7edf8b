"""Broken multipart bodies: parts and headers built wrongly, and mutants of right ones."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

from starlette.requests import Request
from starlette.types import Message

from loadtest.fuzz.audio_inputs import broken_wav, wav_seeds
from loadtest.fuzz.mutation import MAX_BYTES, mutate
from loadtest.fuzz.option_inputs import broken_options
from loadtest.fuzz.target import coin, refused
from serve_app.api.example import EXAMPLE_OPTIONS
from serve_app.api.facades.whisper_ox import parse_generate_kwargs
from serve_app.api.sources.form import read_form
from serve_app.audio.decode import decode_audio
from serve_app.audio.limits import AudioLimits
from serve_app.audio.plan import check_start
from serve_app.errors import WhisperOxError
from serve_app.options import OptionLimits

_CHARSETS = (
    *("utf-8", "latin-1", "utf-7", "utf-16", "utf-32", "punycode", "idna", "undefined", "zlib"),
    *("base64", "rot13", "unicode_escape", "raw_unicode_escape", "no-such", "a\0b", "x" * 999),
)
_NAMES = (
    *(b"file", b"file", b"file", b"generate_kwargs", b"generate_kwargs", b"", b"audio", b"FILE"),
    *(b"\xff\xfe", b"\xed\xa0\x80", b"a\0b", b"n" * 3_000, b'fi\\"le', b"file[]", b"../file"),
)
_HEADERS = (
    *(b"Content-Type: audio/wav", b"Content-Type: application/octet-stream", b"Content-Type:"),
    *(b"Content-Transfer-Encoding: base64", b"Content-Length: 99999999999", b"Content-Type: \xff"),
    *(b"X: " + b"y" * 9_000, b": no name", b"no colon", b"X\0: y", b"X:\r\n folded", b"X: \r"),
)
_TOKENS = (
    *(b"\r\n", b"\n", b"\r", b"--", b"\r\n--", b"--\r\n", b"\r\n\r\n", b'"', b";", b"\\", b"\0"),
    *(b"Content-Disposition: form-data; name=", b'; filename="a.wav"', b"; filename*=UTF-8''%ff"),
    *(b"Content-Disposition: attachment\r\n", b"generate_kwargs", b"name*0=fi; name*1=le"),
)


def broken_form(rng: Random) -> bytes:
    """A Content-Type header's value, a line feed, and the body that came under it."""
    boundary = rng.choice(
        (b"x", b"----WebKitFormBoundary7MA4YWxkTrZu0gW", rng.randbytes(8).hex().encode())
    )
    if rng.random() < 0.05:
        boundary = rng.choice((b"", b"-", b"--", b"\r\n", b"a b", b"\xff\0", b"b" * 70, b"b" * 300))
    body = b"".join(
        _part(rng, boundary) for _ in range(rng.choice((0,) + (1, 2, 2, 2, 3) * 5 + (6, 80)))
    )
    body = rng.choice((b"",) * 20 + (b"preamble\r\n", b"\r\n" * 2_000)) + body
    if rng.random() < 0.95:
        body += (
            b"--" + boundary + b"--" + rng.choice((b"\r\n", b"\r\n", b"", b"\n", b"\r\nepilogue"))
        )
    if rng.random() < 0.35:
        body = mutate(rng, body, tokens=(*_TOKENS, b"--" + boundary + b"\r\n"))
    return _content_type(rng, boundary).replace(b"\n", b"") + b"\n" + body[:MAX_BYTES]


def read(payload: bytes) -> str:
    """Read the form as the server does, in pieces as a network delivers them, then its parts."""
    content_type, _, body = payload.partition(b"\n")
    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", content_type)]}
    request = Request(scope, _deliver(body, Random(coin(payload, 2**32))))
    try:
        form = asyncio.run(read_form(request, lambda head: check_start(head, AudioLimits())))
        parse_generate_kwargs(form.text("generate_kwargs"), OptionLimits())
        decode_audio(form.audio(), limits=AudioLimits())
    except WhisperOxError as error:
        return refused(error)
    return "read, parsed and decoded"


def _part(rng: Random, boundary: bytes) -> bytes:
    name = rng.choice(_NAMES)
    disposition = rng.choice((b"form-data",) * 20 + (b"attachment", b"", b"form-data" * 50))
    line = b"Content-Disposition: " + disposition + rng.choice((b"; ",) * 9 + (b";", b" "))
    line += (
        rng.choice((b'name="%b"',) * 20 + (b"name=%b", b"NAME=%b", b"name*=UTF-8''%b", b"%b"))
        % name
    )
    if rng.random() < 0.6:
        line += b'; filename="%b"' % rng.choice(
            (b"a.wav", b"", b"\xff.wav", b"C:\\x\\a.wav", *_NAMES)
        )
    headers = [line] * rng.choice((0, 2) + (1,) * 30)
    if rng.random() < 0.1:
        headers += [rng.choice(_HEADERS)] * rng.choice((1, 1, 1, 7, 20))
    content = min(wav_seeds(), key=len) if name != b"generate_kwargs" else EXAMPLE_OPTIONS.encode()
    if rng.random() < 0.2:
        content = (broken_options if name == b"generate_kwargs" else broken_wav)(rng)
    elif rng.random() < 0.1:
        content = rng.choice((b"", b"\r\n--" + boundary[:-1], b"\r" * 9_000, rng.randbytes(300)))
    return b"\r\n".join((b"--" + boundary, *headers, b"", content, b""))


def _content_type(rng: Random, boundary: bytes) -> bytes:
    kind = rng.random()
    if kind < 0.8:
        return b"multipart/form-data; boundary=" + boundary
    if kind < 0.85:
        charset = rng.choice(_CHARSETS).encode()
        return b"multipart/form-data; charset=" + charset + b"; boundary=" + boundary
    if kind < 0.9:
        return b'Multipart/Form-Data; boundary="' + boundary + b'"'
    if kind < 0.97:
        return mutate(rng, b"multipart/form-data; boundary=" + boundary, tokens=_TOKENS)[:20_000]
    return rng.choice((b"", b"text/plain", b"multipart/mixed; boundary=x", b"multipart/form-data"))


def _deliver(body: bytes, rng: Random) -> Callable[[], Awaitable[Message]]:
    """ASGI's ``receive``: pieces of any size; one connection in fifty ends before the body does."""
    position = 0
    leaves = rng.random() < 0.02
    largest = rng.choice((1, 7, 100, 4_096, 65_536)) + len(body) // 500

    async def receive() -> Message:
        nonlocal position
        if leaves and position > len(body) // 2:
            return {"type": "http.disconnect"}
        piece = body[position : position + rng.randint(1, largest)]
        position += len(piece)
        return {"type": "http.request", "body": piece, "more_body": position < len(body)}

    return receive
