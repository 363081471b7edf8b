"""One request as a collector sees it: from the HTTP server to the batches of the model process."""

import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from loadtest.server import start_server
from tests.collector import Received, collector
from tests.contract.wire import post, words_of

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PROMPT, KEY = "Zanzibar Quetzal", "correct horse"
STOP_SECONDS = 20.0


@dataclass(frozen=True)
class Observed:
    """``before_end`` are the spans that had arrived before the server was asked to stop."""

    spans: list[Received]
    sent: bytes
    before_end: int
    words: str
    log: str

    def named(self, name: str) -> Received:
        [found] = [span for span in self.spans if span.name == name]
        return found


@pytest.fixture(scope="module")
def observed(hello: bytes) -> Iterator[Observed]:
    """A server that traces one request and stops long before it would send spans by itself."""
    with collector() as collected:
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collected.url,
            "OTEL_BSP_SCHEDULE_DELAY": "3600000",
            "WHISPER_API_KEY": KEY,
            "LOG_FORMAT": "json",
        }
        with start_server("tiny.en", environment=environment) as server:
            headers = {"traceparent": f"00-{TRACE}-{CALLER}-01", "X-Request-ID": "traced-1"}
            answer = post(
                f"{server.url}/transcribe?secret={KEY}",
                hello,
                {"initial_prompt": PROMPT, "word_timestamps": True},
                headers={**headers, "X-API-Key": KEY},
            )
            before_end = len(collected.spans)
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(STOP_SECONDS) == 0
            log = server.log.read_text()
    sent = b"".join(collected.bodies)
    yield Observed(collected.spans, sent, before_end, words_of(answer), log)


def test_a_trace_leads_from_the_caller_through_both_processes(observed: Observed) -> None:
    request, call = observed.named("POST /transcribe"), observed.named("call Transcriber")
    served = observed.named("transcribe")
    assert {span.trace_id for span in observed.spans} == {TRACE}
    assert request.parent_id == CALLER
    assert (call.parent_id, served.parent_id) == (request.span_id, call.span_id)
    assert request.resource["whisper_ox.deployment"] == "Ingress"
    assert served.resource["whisper_ox.deployment"] == "Transcriber"
    assert request.resource["process.pid"] != served.resource["process.pid"]
    for name in ("receive audio", "decode audio"):
        assert observed.named(name).parent_id == request.span_id
    assert 0 < served.seconds < call.seconds < request.seconds


def test_it_has_vad_and_every_batch_with_the_wait_before(observed: Observed) -> None:
    served = observed.named("transcribe")
    below = {span.name for span in observed.spans if span.parent_id == served.span_id}
    stages = ("encode", "generate", "align")
    assert below == {"vad", *stages, *(f"wait for {stage}" for stage in stages)}
    batch = observed.named("generate").attributes
    assert (batch["whisper_ox.batch.windows"], batch["whisper_ox.batch.requests"]) == (1, 1)


def test_the_request_is_told_by_route_status_and_sizes(observed: Observed) -> None:
    told = observed.named("POST /transcribe").attributes
    assert (told["http.route"], told["http.response.status_code"]) == ("/transcribe", 200)
    assert told["whisper_ox.request_id"] == "traced-1"
    assert told["whisper_ox.audio_seconds"] == pytest.approx(1.14, abs=0.01)
    assert not any(span.is_failure for span in observed.spans)


def test_nothing_that_was_said_or_is_secret_is_sent(observed: Observed) -> None:
    assert observed.words == "hello world"
    sent = observed.sent.lower()
    for word in (*observed.words.split(), *PROMPT.lower().split(), *KEY.split()):
        assert word.encode() not in sent


def test_the_end_of_a_server_sends_what_has_been_traced(observed: Observed) -> None:
    assert observed.before_end == 0
    assert {span.resource["whisper_ox.deployment"] for span in observed.spans} == {
        "Ingress", "Transcriber",
    }  # fmt: skip


def test_lines_of_the_log_name_the_trace(observed: Observed) -> None:
    lines = [line for line in observed.log.splitlines() if "traced-1" in line]
    assert {json.loads(line[line.index("{") :])["trace_id"] for line in lines} == {TRACE}
