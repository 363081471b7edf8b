"""Broken HTTP requests as bytes on a connection: bad bodies, heads and framing."""

import json
from random import Random

from loadtest.fuzz.audio_inputs import broken_container, broken_wav
from loadtest.fuzz.form_inputs import broken_form
from loadtest.fuzz.mutation import EDGES, mutate
from loadtest.fuzz.option_inputs import broken_options
from serve_app.api.example import EXAMPLE_CLIP, EXAMPLE_OPTIONS

_METHODS = (
    *(b"POST", b"POST", b"GET", b"OPTIONS", b"PUT", b"DELETE", b"PATCH", b"TRACE"),
    *(b"CONNECT", b"PRI", b"post", b"\xff", b"P\0ST", b"M" * 9_000, b""),
)
_PATHS = (
    *(b"/", b"/transcribe", b"/v1/transcribe", b"/health", b"/readyz", b"/docs", b"/openapi.json"),
    *(
        b"/transcribe/",
        b"//transcribe",
        b"/transcribe?x=%00",
        b"/%74ranscribe",
        b"/../../etc/passwd",
    ),
    *(b"/%2e%2e/%2e%2e", b"/%ff%fe", b"/\xff", b"/\xc3\xa9", b"*", b"http://x/transcribe", b""),
    *(b"/-/routes", b"/-/healthz", b"/static-offline-docs/../../x", b"/" + b"a" * 70_000, b"/;x#y"),
    *(
        b"/transcribe?" + b"a=b&" * 10_000,
        b"/docs/oauth2-redirect",
        b"/static-offline-docs/nothing",
    ),
)
_VALUES = (
    *(b"", b" ", b"auto", b"BULK", b"0", b"-1", b"1e999", b"NaN", b"\xff\xfe", b"\xc3\xa9", b"\0"),
    *(
        b"x" * 9_000,
        b"Bearer",
        b"Bearer " + b"k" * 3_000,
        b"Basic Og==",
        b"a\tb",
        b"'\"<>&",
        b"%0d%0a",
    ),
    *(
        b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        b"call-17",
        b"*/*;q=nan",
        b"gzip",
    ),
)
_HEADERS = (
    *(
        b"X-Request-ID",
        b"X-Priority",
        b"Authorization",
        b"X-API-Key",
        b"Accept",
        b"Host",
        b"Origin",
    ),
    *(
        b"X-Request-Timeout-Seconds",
        b"X-Request-Disconnect-Disabled",
        b"Serve_Multiplexed_Model_Id",
    ),
    *(b"Traceparent", b"Tracestate", b"Content-Encoding", b"Content-Type", b"Expect", b"Range"),
    *(b"Cookie", b"Forwarded", b"X-Forwarded-For", b"Access-Control-Request-Method", b"If-Match"),
    *(b"Upgrade", b"Sec-WebSocket-Key", b"TE", b"Trailer", b"Transfer-Encoding", b"Content-Length"),
    *(b"", b"X\xff", b"X Y", b"X\0", b"h" * 5_000),
)
_WEBSOCKET = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
_NO_HTTP = (
    b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",  # TLS
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /\r\n\r\n",
    b"\r\n" * 5_000,
    b"\0" * 2_000,
    b"EHLO x\r\n",
    b"*1\r\n$4\r\nPING\r\n",
)
_CHUNKINGS = (
    b"zz\r\n%b\r\n0\r\n\r\n",
    b"-5\r\n%b\r\n0\r\n\r\n",
    b"fffffffffffffffff\r\n%b",
    b"5;%b\r\nhello\r\n0\r\n\r\n",
    b"5\r\n%b",
    b"0\r\nTrailer: %b\r\n\r\n",
    b"%b",
    b"0x5\r\n%b\r\n0\r\n\r\n",
    b"5\n%b\n0\n\n",
)


def broken_request(rng: Random) -> tuple[bytes, bool]:
    """What a client sends, and whether a server can know that it has sent all."""
    kind = rng.random()
    if kind < 0.45:
        content_type, _, body = broken_form(rng).partition(b"\n")
        return _post(rng, content_type, body), b"\r" not in content_type
    if kind < 0.75:
        return _post(rng, *_form_with_one_bad_part(rng)), True
    if kind < 0.9:
        return _odd_head(rng), False
    return _odd_framing(rng), False


def _form_with_one_bad_part(rng: Random) -> tuple[bytes, bytes]:
    options, audio = EXAMPLE_OPTIONS.encode(), EXAMPLE_CLIP.read_bytes()
    kind = rng.random()
    if kind < 0.4:
        audio = broken_wav(rng)
    elif kind < 0.7:
        audio = broken_container(rng)
    else:
        options = broken_options(rng)
    parts = (
        b'--x\r\nContent-Disposition: form-data; name="generate_kwargs"\r\n\r\n' + options,
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + audio,
    )
    return b"multipart/form-data; boundary=x", b"\r\n".join((*parts, b"--x--\r\n"))


def _post(rng: Random, content_type: bytes, body: bytes) -> bytes:
    head = b"POST /transcribe HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: "
    head += content_type + b"\r\n"
    if rng.random() < 0.8:
        return head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    size = rng.choice((100, 4_096, 65_536)) + len(body) // 100
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


def _odd_head(rng: Random) -> bytes:
    method = rng.choice(_METHODS) if rng.random() < 0.5 else b"POST"
    path = rng.choice(_PATHS) if rng.random() < 0.5 else b"/transcribe"
    version = rng.choice(
        (b"HTTP/1.1",) * 12 + (b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2", b"HTTP/1.1 x", b"")
    )
    body = b"" if method == b"GET" else b'--x\r\n\r\n{"a": 1}\r\n--x--'
    lines = [b" ".join((method, path, version)), b"Host: x", b"Content-Length: %d" % len(body)]
    for _ in range(rng.choice((0, 1, 1, 2, 3, 200))):
        name = rng.choice(_HEADERS)
        lines.append(name + b": " + rng.choice(_VALUES))
    raw = b"\r\n".join((*lines, b"", b"")) + body
    if rng.random() < 0.1:
        raw = raw.replace(b"Host: x\r\n", b"Host: x\r\n" + _WEBSOCKET, 1)
    return (
        mutate(rng, raw, tokens=(*_HEADERS, *_VALUES, b"\r\n", b": "))
        if rng.random() < 0.3
        else raw
    )


def _odd_framing(rng: Random) -> bytes:
    kind = rng.random()
    if kind < 0.1:
        return rng.choice(_NO_HTTP)
    if kind < 0.2:
        return rng.randbytes(rng.randint(1, 300))
    head = (
        b"POST /transcribe HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    )
    body = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nRIFF\r\n--x--\r\n'
    )
    if kind < 0.5:
        claims = (
            *EDGES,
            -1,
            "+5",
            "5, 6",
            "0x10",
            "",
            "1e3",
            "\u0665",
            f"{len(body)}\r\nContent-Length: 3",
        )
        claim = str(rng.choice(claims)).encode()
        return head + b"Content-Length: " + claim + b"\r\n\r\n" + body
    if kind < 0.8:
        chunked = rng.choice(_CHUNKINGS) % rng.choice(
            (body, b"A" * 70_000, b"a=" + json.dumps("b" * 99).encode())
        )
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked
    if kind < 0.9:
        both = b"Content-Length: 4\r\nTransfer-Encoding: " + rng.choice(
            (b"chunked", b"x", b"chunked, x")
        )
        return head + both + b"\r\n\r\n0\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    complete = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    return complete * 5 if rng.random() < 0.5 else complete[: rng.randint(1, len(complete))]
