"""The edge: what a request may cost (its head, its body, its time), and what is recorded of it."""

import asyncio
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app import metrics
from serve_app.api.edge.edge import Edge
from serve_app.api.edge.state import RequestState
from serve_app.metrics import NO_METRICS, Sink
from serve_app.settings import HttpSettings
from tests.unit.asgi import Answer, Event, ask, asked, edge_parts, http_scope
from tests.unit.ledger import Ledger
from tests.unit.virtual_time import run_at_once

LIMITS = HttpSettings(
    max_body_bytes=2_000,
    max_held_bytes=3_000,
    max_header_bytes=1_024,
    upload_idle_seconds=20,
    upload_seconds=100,
    request_seconds=600,
)


async def counting(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the number of bytes that came."""
    body = await Request(scope, receive).body()
    await PlainTextResponse(str(len(body)))(scope, receive, send)


async def failing(scope: Scope, receive: Receive, send: Send) -> None:
    raise LookupError("a secret of the server")


class Working:
    """Reads the body, then works for so long; knows whether it could end its work."""

    def __init__(self, seconds: float, *, begins_answer: bool = False) -> None:
        self.seconds = seconds
        self.begins_answer = begins_answer
        self.was_cancelled = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await Request(scope, receive).body()
        if self.begins_answer:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        await PlainTextResponse("done")(scope, receive, send)


def edge(app: ASGIApp = counting, limits: HttpSettings = LIMITS, sink: Sink = NO_METRICS) -> Edge:
    return Edge(app, **edge_parts(limits, sink=sink))


def sent(upload: Iterable[Event] = (b"",), headers: Iterable[Any] = (), app: Any = None) -> Answer:
    return asked(edge(app or counting), http_scope(headers=headers), upload)


def outcome(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.error["code"]


def test_a_head_over_the_limit_is_refused_with_its_size() -> None:
    answer = sent(headers=[("x-filler", b"y" * 1_100)])
    assert outcome(answer) == (431, "headers_too_large")
    assert "1113 bytes; this server takes up to 1024" in answer.error["message"]


def test_a_long_path_counts_to_the_head() -> None:
    answer = asked(edge(), http_scope("/" + "y" * 1_100))
    assert outcome(answer) == (431, "headers_too_large")


@pytest.mark.parametrize(
    "claims",
    [[b"-1"], [b"+5"], [b"1_0"], [b"ten"], [b""], [b" 5"], [b"9" * 5_000], [b"1", b"2"], [b"5,5"]],
)
def test_a_malformed_content_length_is_refused(claims: list[bytes]) -> None:
    limits = LIMITS.model_copy(update={"max_header_bytes": 10_000})
    scope = http_scope(headers=[("content-length", claim) for claim in claims])
    assert outcome(asked(edge(limits=limits), scope)) == (400, "invalid_request")


def test_a_content_length_said_twice_alike_is_taken() -> None:
    assert sent([b"hello"], [("content-length", b"5")] * 2).body == b"5"


def test_an_overlong_content_type_is_refused_before_it_is_parsed() -> None:
    limits = LIMITS.model_copy(update={"max_header_bytes": 10_000})
    longest = b"multipart/form-data; boundary=x".ljust(1_024, b";")
    answers = [
        asked(edge(limits=limits), http_scope(headers=[("content-type", kind)]), [b"hello"])
        for kind in (longest, longest + b";")
    ]
    assert answers[0].status == 200
    assert outcome(answers[1]) == (400, "invalid_request")
    assert answers[1].error["field"] == "Content-Type"


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate", b"br", b"GZIP", b"zstd, gzip"])
def test_a_compressed_body_is_refused_before_a_byte_is_read(encoding: bytes) -> None:
    answer = sent([None], [("content-encoding", encoding)])
    assert outcome(answer) == (415, "unsupported_encoding")
    assert answer.error["field"] == "Content-Encoding"
    assert f"the Content-Encoding '{encoding.decode()}'" in answer.error["message"]
    assert answer.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("encoding", [b"", b"identity", b" Identity "])
def test_a_body_that_is_encoded_as_itself_is_taken(encoding: bytes) -> None:
    assert sent([b"hello"], [("content-encoding", encoding)]).body == b"5"


def test_a_claim_over_the_limit_is_refused_before_a_byte_is_read() -> None:
    answer = sent([None], [("content-length", b"2001")])  # reading would show that the client left
    assert outcome(answer) == (413, "body_too_large")


TOO_LONG = [(f"x-{n}", b"x" * 100) for n in range(20)]


def test_the_rest_of_a_refused_body_is_read_so_that_the_client_sees_the_answer() -> None:
    answer = sent([b"x" * 100, b"x" * 100, b"last"], TOO_LONG)
    assert outcome(answer) == (431, "headers_too_large")
    assert [message.get("more_body", False) for message in answer.sent[1:]] == [True, False]


@pytest.mark.parametrize(
    "header", [("expect", b"100-continue"), ("content-length", b"20000000")], ids=["asks", "long"]
)
def test_a_refused_body_that_is_not_on_its_way_or_is_too_long_is_not_read(
    header: tuple[str, bytes],
) -> None:
    limits = HttpSettings(max_header_bytes=1_024)
    scope = http_scope(headers=[*TOO_LONG, header])
    answer = asked(edge(limits=limits), scope, [])
    assert outcome(answer) == (431, "headers_too_large")
    assert [message.get("more_body", False) for message in answer.sent[1:]] == [False]


def test_a_refused_client_that_sends_nothing_more_is_waited_for_only_briefly() -> None:
    async def scene() -> float:
        began = asyncio.get_running_loop().time()
        await ask(edge(), http_scope(headers=TOO_LONG), [b"x", 1e6])
        return asyncio.get_running_loop().time() - began

    assert run_at_once(scene()) < 10


def test_a_body_without_a_claim_is_refused_where_it_passes_the_limit() -> None:
    answer = sent([b"x" * 900, b"x" * 900, b"x" * 900, 1_000.0])
    assert outcome(answer) == (413, "body_too_large")
    assert answer.seconds == 0


def test_a_body_that_stops_is_given_up() -> None:
    answer = sent([b"x", 5.0, b"x", 1_000.0, b"x"])
    assert outcome(answer) == (408, "upload_timeout")
    assert answer.seconds == 25
    assert answer.headers["connection"] == "close"
    assert "stopped coming for 20 s; 2 bytes" in answer.error["message"]


def test_a_body_that_never_begins_is_given_up() -> None:
    assert outcome(sent([1_000.0])) == (408, "upload_timeout")


def test_pieces_without_a_byte_are_no_progress() -> None:
    answer = sent([b"x", *[piece for _ in range(50) for piece in (1.0, b"")], b"x"])
    assert (answer.status, answer.seconds) == (408, 20)


def test_a_body_that_dribbles_is_given_up_after_all() -> None:
    answer = sent([piece for _ in range(50) for piece in (b"x", 10.0)])
    assert outcome(answer) == (408, "upload_timeout")
    assert answer.seconds == 100
    assert "not complete after 100 s" in answer.error["message"]


def test_a_slow_body_is_taken() -> None:
    assert sent([piece for _ in range(5) for piece in (b"x", 19.0)] + [b"x"]).body == b"6"


def test_work_may_take_longer_than_an_upload() -> None:
    assert sent(app=Working(599)).body == b"done"


def test_a_handler_that_reads_no_body_is_not_held_to_the_uploads_time() -> None:
    async def idle(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(500)
        await PlainTextResponse("done")(scope, receive, send)

    assert sent([1_000.0], app=idle).body == b"done"


def test_work_that_takes_too_long_is_cancelled() -> None:
    app = Working(10_000)
    answer = sent([b"x", 15.0, b"x"], app=app)
    assert outcome(answer) == (504, "request_timeout")
    assert (answer.seconds, app.was_cancelled) == (615, True)


def test_an_answer_that_has_begun_breaks_off_when_time_is_up() -> None:
    app = Working(10_000, begins_answer=True)
    with pytest.raises(Exception, match="took longer"):
        sent(app=app)
    assert app.was_cancelled


def test_uploads_share_a_bound_on_memory() -> None:
    app = edge()

    async def uploads() -> list[Answer]:
        slow = asyncio.ensure_future(ask(app, http_scope(), [b"x" * 1_600, 5.0, b"x"]))
        await asyncio.sleep(1)
        refused = await ask(app, http_scope(), [b"x" * 1_600])
        return [await slow, refused, await ask(app, http_scope(), [b"x" * 1_600])]

    first, second, third = run_at_once(uploads())
    assert (first.body, third.body) == (b"1601", b"1600")
    assert outcome(second) == (429, "overloaded")
    assert int(second.headers["retry-after"]) > 0


def test_what_a_handler_holds_counts_to_the_bound() -> None:
    async def unpacking(scope: Scope, receive: Receive, send: Send) -> None:
        RequestState.of(scope).hold(3_000)
        await PlainTextResponse("unpacked")(scope, receive, send)

    app = edge(unpacking)
    assert [asked(app, http_scope()).body for _ in range(3)] == [b"unpacked"] * 3
    limits = LIMITS.model_copy(update={"max_held_bytes": 2_999})
    assert outcome(asked(edge(unpacking, limits), http_scope())) == (429, "overloaded")


def test_what_nobody_foresaw_is_answered_without_detail() -> None:
    answer = sent(app=failing)
    assert outcome(answer) == (500, "internal_error")
    assert b"secret" not in answer.body


def test_the_log_shows_the_start_of_a_long_path(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "whisper_ox.access"):
        asked(edge(), http_scope("/" + "y" * 10_000))
    assert len(caplog.records[-1].getMessage()) < 300


@pytest.mark.parametrize("path", ["/x 200 5ms key_name=alice", '/x" 200', "/x\u2003200", "/%"])
def test_a_path_cannot_look_like_the_rest_of_its_log_line(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "whisper_ox.access"):
        asked(edge(), http_scope(path))
    method, shown, status, _ = caplog.records[-1].getMessage().split()
    assert (method, status) == ("POST", "200")
    assert unquote(shown) == path
    assert '"' not in shown


def test_the_log_line_says_what_came(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "whisper_ox.access"):
        sent([b"x", 1_000.0])
    assert "POST / 408" in caplog.text
    assert vars(caplog.records[-1])["fields"]["body_bytes"] == 1


def counted(path: str, method: str) -> Ledger:
    """What is counted of a request where only ``/transcribe/{n}`` is routed."""

    async def transcribe(request: Request) -> PlainTextResponse:
        return PlainTextResponse("done")

    routed = Router([Route("/transcribe/{n}", transcribe, methods=["POST"])])
    ledger = Ledger()
    app = Edge(routed, **edge_parts(key="sesame", sink=ledger))
    asked(app, http_scope(path, method, [("x-api-key", b"sesame")]))
    return ledger


def test_a_request_is_counted_under_its_template_key_and_status() -> None:
    ledger, route = counted("/transcribe/7", "POST"), "/transcribe/{n}"
    labels = {"method": "POST", "route": route, "status": "200", "key": "default"}
    assert ledger.total(metrics.REQUESTS, **labels) == 1
    assert len(ledger.observed(metrics.REQUEST_SECONDS, route=route)) == 1
    assert len(ledger.observed(metrics.FIRST_BYTE_SECONDS, route=route)) == 1
    assert ledger.gauge(metrics.REQUESTS_IN_FLIGHT) == 0


def test_clients_cannot_make_up_label_values() -> None:
    ledger = counted("/made/up", "BREW")
    labels = {"method": "other", "route": "other", "status": "404", "key": "default"}
    assert ledger.total(metrics.REQUESTS, **labels) == 1
    assert ledger.total(metrics.REJECTED, reason="http_404", route="other") == 1


def test_a_request_whose_client_leaves_is_counted_without_a_first_byte() -> None:
    async def leaving(scope: Scope, receive: Receive, send: Send) -> None:
        """As a handler does whose client is gone: nothing."""

    ledger = Ledger()
    asked(edge(leaving, sink=ledger), http_scope())
    labels = {"method": "POST", "route": "other", "status": "gone", "key": "anonymous"}
    assert ledger.total(metrics.REQUESTS, **labels) == 1
    assert not ledger.observed(metrics.FIRST_BYTE_SECONDS, route="other")


async def converse(scope: Scope, ledger: Ledger) -> list[Message]:
    answers: list[Message] = []

    async def accepting(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": RequestState.of(scope).request_id})
        await send({"type": "websocket.close", "code": 1000})

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        answers.append(message)

    await edge(accepting, sink=ledger)({**scope, "type": "websocket"}, receive, send)
    return answers


def test_a_web_socket_has_an_id_and_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    scope = http_scope("/live", headers=[("x-request-id", b"call-17")])
    del scope["method"]
    with caplog.at_level("INFO", "whisper_ox.access"):
        answers = asyncio.run(converse(scope, ledger := Ledger()))
    assert answers[1]["text"] == "call-17"
    assert "WS /live 101" in caplog.text
    labels = {"method": "GET", "route": "other", "key": "anonymous"}
    assert ledger.total(metrics.REQUESTS, status="101", **labels) == 1


def test_a_web_socket_with_too_large_a_head_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    scope = http_scope("/live", headers=[("x-filler", b"y" * 1_100)])
    with caplog.at_level("INFO", "whisper_ox.access"):
        answers = asyncio.run(converse(scope, Ledger()))
    closing = {"type": "websocket.close", "code": 1008, "reason": "headers_too_large"}
    assert answers == [closing]
    assert "/live 403" in caplog.text


def test_a_refused_handshake_is_answered_logged_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scope = http_scope("/live", headers=[("x-filler", b"y" * 1_100)])
    scope["extensions"] = {"websocket.http.response": {}}
    with caplog.at_level("INFO", "whisper_ox.access"):
        answers = asyncio.run(converse(scope, ledger := Ledger()))
    assert (answers[0]["type"], answers[0]["status"]) == ("websocket.http.response.start", 431)
    assert "/live 431" in caplog.text
    assert ledger.total(metrics.REJECTED, reason="headers_too_large", route="other") == 1
