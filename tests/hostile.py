"""Strategies for what no client should send: options, forms, and whole HTTP requests.

Each starts from something valid, in which a field or two are wrong, long or repeated, and of which
bytes may be changed. ``WHISPER_OX_EXAMPLES`` says how many examples each test tries, in place of a
few; with it, every run tries new ones.
"""

import json
import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from serve_app.options import TranscribeOptions, VadParameters
from tests.contract.wire import silence

MANY = int(os.environ.get("WHISPER_OX_EXAMPLES", "0"))
AUDIO = silence(0.2)
EDGES = [0, -1, 1e999, float("nan"), 5e-324, 2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64]
NAMES = [*TranscribeOptions.model_fields, *VadParameters.model_fields]
TEXTS = [
    *("", "off", "auto", "en", "zh-yue", "translate", "0,5,7", "NaN", "1e999", "0x10", "1_000"),
    *("<|endoftext|>", "<|en|>", "\0", "\x1b[31m", "\r\nX-Injected: 1", "\ud800", "\u202e", "%s%n"),
    *("\u0661\u0662", "i\u0307", "\U0001f600", "{{7*7}}", "9" * 5_000, "en-" * 5_000, "1," * 9_000),
]  # fmt: skip
TOKENS = [
    *(b"\r\n", b"\n", b"\r", b"--x", b"--x--", b"\r\n--x\r\n", b"\r\n\r\n", b'"', b";", b"\0"),
    *(b" ", b"\xff", b"{", b"[", b"RIFF", b"0\r\n", b"\r\n--x "),
    b"Content-Disposition: form-data; name=",
]  # fmt: skip


def examples(few: int) -> settings:
    """The settings of a test that tries ``few`` examples, always the same, if no more are asked."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
    return settings(
        max_examples=MANY or few,
        derandomize=not MANY,
        deadline=None,
        database=None,
        suppress_health_check=slow,
    )


@st.composite
def broken(draw: st.DrawFn, payloads: st.SearchStrategy[bytes]) -> bytes:
    """One of ``payloads`` in which up to four stretches are cut, repeated, or written over."""
    payload = draw(payloads)
    for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2, 4]))):
        start = draw(st.integers(0, len(payload)))
        end = min(len(payload), start + 2 ** draw(st.integers(0, 12)))
        stretch = payload[start:end]
        ways = [
            b"",
            stretch * 9,
            stretch * 1_000,
            b" " * 70_000,
            draw(st.binary(max_size=8)),
            *TOKENS,
        ]
        payload = payload[:start] + draw(st.sampled_from(ways)) + payload[end:]
    return payload[:1_000_000]


_ITEMS: list[Any] = [0, "x", [], {}]
_LONG_LISTS = st.sampled_from([[item] * 20_000 for item in _ITEMS])
_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([None, True, False, *EDGES, *TEXTS]) | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*NAMES, "start", "end"]), inner, max_size=4)
    ),
    max_leaves=8,
)


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()[:300_000]


options = broken(
    st.dictionaries(st.sampled_from([*NAMES, *TEXTS]), _VALUES | _LONG_LISTS, max_size=4).map(_json)
    | st.sampled_from([b"[" * 50_000, b'{"a":' * 900 + b"1" + b"}" * 900, b" " * 70_000])
)
"""``generate_kwargs``."""

_OPTION_PARTS = [b"generate_kwargs", b"temperature", b"suppress_tokens[]", b"vad_parameters"]
_NAMES_OF_PARTS = [*[b"file"] * 3, *_OPTION_PARTS, b"", b"\xff", b"n" * 3_000]
_DISPOSITIONS = [
    b'; filename="a.wav"',
    b'; filename="a.wav"',
    b"",
    b"; filename*=UTF-8''%ff",
    b";" * 999,
]
_MORE_HEADERS = [b"X: " + b" " * 4_000 + b"y\r\n", b"no colon\r\n", b"X\0: y\r\n", b"X:\r\n y\r\n"]
_STARTS = [b""] * 9 + [b"\r\n" * 50_000, b"preamble\r\n"]
_ENDS = [b"--x--\r\n"] * 9 + [b"", b"--x--" + b"epilogue" * 20_000, b"--x "]


@st.composite
def _parts(draw: st.DrawFn) -> bytes:
    name = draw(st.sampled_from(_NAMES_OF_PARTS))
    padding = draw(st.sampled_from([b""] * 9 + [b" " * 100_000]))
    more = draw(st.sampled_from([b""] * 9 + _MORE_HEADERS)) * draw(st.sampled_from([1, 2, 9]))
    line = b'Content-Disposition: form-data; name="%b"' % name
    line += draw(st.sampled_from(_DISPOSITIONS))
    is_option = name in _OPTION_PARTS
    valid = b'{"language": "en"}' if is_option else AUDIO
    wrong = options if is_option else broken(st.just(AUDIO))
    content = draw(wrong if draw(st.booleans()) else st.just(valid))
    return b"--x%b\r\n%b%b\r\n\r\n%b\r\n" % (padding, more, line, content)


@st.composite
def forms(draw: st.DrawFn) -> bytes:
    """Bodies with the boundary ``x``."""
    parts = draw(st.lists(_parts(), max_size=3))
    many = 1_200 if len(b"".join(parts[-1:])) < 1_000 else 80
    parts += parts[-1:] * draw(st.sampled_from([0] * 9 + [many]))
    body = draw(st.sampled_from(_STARTS)) + b"".join(parts) + draw(st.sampled_from(_ENDS))
    return draw(broken(st.just(body))) if draw(st.booleans()) else body


_HEADERS = [
    b"X-Request-ID", b"X-Priority", b"Authorization", b"X-API-Key", b"Host", b"Expect", b"TE",
    b"Trailer", b"X-Request-Timeout-Seconds", b"Serve_Multiplexed_Model_Id", b"X-Session-ID",
    b"Traceparent", b"Content-Encoding", b"Content-Type", b"Range", b"Upgrade", b"Connection",
    b"Content-Length", b"Transfer-Encoding", b"", b"X\xff", b"X Y", b"h" * 5_000,
]  # fmt: skip
_VALUES_OF_HEADERS = [
    b"", b" ", b"BULK", b"-1", b"1e999", b"\xff\xfe", b"\0", b"x" * 9_000, b"Bearer x", b"a\tb",
    b"100-continue", b"chunked", b"chunked, x", b"4", b"5, 6", b"gzip", b"websocket", b"close",
    b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", b"multipart/form-data",
]  # fmt: skip
_METHODS = [b"POST"] * 8 + [
    b"GET", b"OPTIONS", b"PUT", b"TRACE", b"CONNECT", b"PRI", b"post", b"\xff", b"M" * 9_000,
]  # fmt: skip
_PATHS = [b"/transcribe"] * 8 + [
    b"/", b"/health", b"/docs", b"/openapi.json", b"/transcribe/", b"//x", b"/%ff", b"/\xff", b"*",
    b"http://x/transcribe", b"/-/routes", b"/../../etc/passwd", b"/" + b"a" * 70_000, b"",
    b"/x%0A2026-01-01%20INFO%20whisper_ox.access", b"/static-offline-docs/../../x",
]  # fmt: skip
_VERSIONS = [b"HTTP/1.1"] * 8 + [b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2", b"HTTP/1.1 x", b""]
_NOT_HTTP = [
    b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /\r\n\r\n", b"\r\n" * 5_000, b"\0" * 2_000, b"EHLO x\r\n", b"*1\r\n$4\r\nPING\r\n",
]  # fmt: skip
_FORM_HEAD = b"Host: x\r\nConnection: close\r\nContent-Type: multipart/form-data; boundary=x\r\n"


@st.composite
def whole_requests(draw: st.DrawFn) -> bytes:
    """Valid HTTP with a form that may be invalid."""
    body, head = draw(forms()), b"POST /transcribe HTTP/1.1\r\n" + _FORM_HEAD
    size = draw(st.sampled_from([0, 0, 0, 1 + len(body) // 100, 1 + len(body) // 5_000]))
    if not size:
        return head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


@st.composite
def _odd_requests(draw: st.DrawFn) -> bytes:
    line = b" ".join(draw(st.sampled_from(some)) for some in (_METHODS, _PATHS, _VERSIONS))
    names = draw(st.lists(st.sampled_from(_HEADERS), max_size=4)) * draw(
        st.sampled_from([1] * 9 + [50])
    )
    headers = [name + b": " + draw(st.sampled_from(_VALUES_OF_HEADERS)) for name in names]
    body = draw(
        st.sampled_from(
            [b"", b"0\r\n\r\n", b"zz\r\nx", b"ffffffffffffffff\r\nx", b"5;x\r\nhello\r\n0\r\nT: "]
        )
    )
    body += draw(st.sampled_from([b"", b"y" * 70_000, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"]))
    length = draw(
        st.sampled_from([b"%d" % len(body), b"-1", b"+5", b"0x10", b"5, 6", b"", b"9" * 30])
    )
    framing = draw(st.sampled_from([b"Content-Length: " + length, b"Transfer-Encoding: chunked"]))
    return b"\r\n".join((line, _FORM_HEAD + framing, *headers, b"", body))


broken_requests = broken(
    _odd_requests() | whole_requests() | st.sampled_from(_NOT_HTTP) | st.binary(max_size=300)
)
"""Bytes that a server may take for an incomplete request."""
