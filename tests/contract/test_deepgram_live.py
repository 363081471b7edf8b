"""Deepgram's own Python client, unmodified, on a live stream."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from deepgram.listen.v1.socket_client import V1SocketClient
from deepgram.listen.v1.types.listen_v1configure import ListenV1Configure
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from loadtest.server import Server
from tests.contract.conftest import HASHED_KEY
from tests.contract.test_deepgram import client_of

PIECE_BYTES = 3_200
PAUSE = bytes(2 * 24_000)
SAMPLES = {"encoding": "linear16", "sample_rate": "16000"}


@pytest.fixture(scope="module")
def said(hello: bytes) -> bytes:
    return hello[44:]


def stream(server: Server, key: str = "any", **query: Any) -> Any:
    return client_of(server, key).listen.v1.connect(model="whisper", **{**SAMPLES, **query})


def speak(socket: V1SocketClient, audio: bytes) -> None:
    for start in range(0, len(audio), PIECE_BYTES):
        socket.send_media(audio[start : start + PIECE_BYTES])


def until(socket: V1SocketClient, is_it: Callable[[Any], bool]) -> list[Any]:
    """The messages up to the first one that ``is_it``."""
    messages = [socket.recv()]
    while not is_it(messages[-1]):
        messages.append(socket.recv())
    return messages


def results(messages: list[Any], *, is_final: bool) -> list[Any]:
    return [m for m in messages if m.type == "Results" and m.is_final is is_final]


def plain(result: Any) -> str:
    return " ".join(word.word for word in result.channel.alternatives[0].words)


def test_words_are_told_while_people_speak(tiny_en: Server, said: bytes) -> None:
    wishes = {"interim_results": "true", "vad_events": "true", "smart_format": "true"}
    with stream(tiny_en, endpointing="400", utterance_end_ms="1000", **wishes) as socket:
        speak(socket, PAUSE + said)
        told = until(socket, lambda m: m.type == "Results")
        assert [m.type for m in told] == ["SpeechStarted", "Results"]
        assert not told[1].is_final and plain(told[1]).startswith("hello")
        speak(socket, PAUSE)
        told = until(socket, lambda m: m.type == "UtteranceEnd")
        (final,) = results(told, is_final=True)
        assert (plain(final), final.speech_final, final.from_finalize) == (
            "hello world",
            True,
            False,
        )
        (alternative,) = final.channel.alternatives
        assert alternative.words[0].punctuated_word.lower().startswith("hello")
        assert 1.2 < alternative.words[0].start < 1.9 and 0 < alternative.confidence <= 1
        assert told[-1].last_word_end == pytest.approx(alternative.words[-1].end, abs=0.001)
        speak(socket, said)
        socket.send_close_stream()
        told = until(socket, lambda m: m.type == "Metadata")
        (last,) = results(told, is_final=True)
        assert plain(last) == "hello world"
        assert last.start > alternative.words[-1].end
        assert told[-1].duration == pytest.approx(2 * (len(said) + len(PAUSE)) / 32_000, abs=0.1)
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1000


def test_every_pause_is_told_when_the_texts_come_late(tiny_en: Server, said: bytes) -> None:
    with stream(tiny_en, language="en") as socket:
        speak(socket, (said + PAUSE) * 3)  # all at once: the third pause comes before any text
        socket.send_close_stream()
        told = until(socket, lambda m: m.type == "Metadata")
    finals = results(told, is_final=True)
    assert [(plain(one), one.speech_final) for one in finals] == [("hello world", True)] * 3


def test_finalize_is_always_answered(tiny_en: Server, said: bytes) -> None:
    with stream(tiny_en) as socket:
        socket.send_keep_alive()
        socket.send_finalize()
        (nothing,) = until(socket, lambda m: m.from_finalize)
        assert plain(nothing) == ""
        speak(socket, said)
        socket.send_finalize()
        (final,) = until(socket, lambda m: m.from_finalize)
        assert (plain(final), final.is_final) == ("hello world", True)


def test_a_wav_file_needs_no_parameters(tiny_en: Server, hello: bytes) -> None:
    with client_of(tiny_en).listen.v1.connect(model="nova-3") as socket:
        speak(socket, hello)
        socket.send_close_stream()
        told = until(socket, lambda m: m.type == "Metadata")
    assert plain(told[0]) == "hello world"


def test_keyterms_change_and_other_messages_are_an_error(tiny_en: Server, said: bytes) -> None:
    with stream(tiny_en) as socket:
        socket.send_configure(ListenV1Configure(type="Configure", keyterms=["Basel"]))
        assert socket.recv().keyterms == ["Basel"]
        socket.send_configure(ListenV1Configure(type="Configure", keyterms=["Basel" * 1_000]))
        assert socket.recv().code == "CONFIGURE_KEYTERM_LIMIT_EXCEEDED"
        socket._send({"type": "Dance"})
        error = socket.recv()
        assert (error.type, error.variant) == ("Error", "SchemaError")
        speak(socket, said)
        socket.send_finalize()
        assert plain(socket.recv()) == "hello world"


def test_what_is_not_audio_closes_the_stream(tiny_en: Server) -> None:
    with client_of(tiny_en).listen.v1.connect(model="whisper") as socket:
        socket.send_media(b"not audio, whatever it is")
        assert socket.recv().variant == "unsupported_audio"
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "DATA-0000")


@pytest.mark.parametrize(
    "query",
    [
        {"encoding": "opus"},
        {"sample_rate": "10"},
        {"endpointing": "soon"},
        {"callback": "https://example.com"},
        {"channels": "2", "multichannel": "true"},
    ],
)
def test_what_cannot_be_done_is_refused(tiny_en: Server, query: dict[str, str]) -> None:
    with pytest.raises(InvalidStatus) as refused, stream(tiny_en, **query):
        pass
    assert refused.value.response.status_code == 400


def test_the_key_is_needed(guarded: Server, said: bytes) -> None:
    with stream(guarded, HASHED_KEY) as socket:
        speak(socket, said)
        socket.send_finalize()
        assert plain(socket.recv()) == "hello world"
    with pytest.raises(InvalidStatus) as refused, stream(guarded, "wrong"):
        pass
    assert refused.value.response.status_code == 401


def test_a_page_offers_its_key_as_a_subprotocol(tiny_en: Server) -> None:
    url = tiny_en.url.replace("http", "ws", 1) + "/v1/listen?model=whisper"
    with connect(url, subprotocols=["token", "key"]) as socket:  # type: ignore[list-item]  # str
        assert socket.subprotocol == "token"
        socket.send(json.dumps({"type": "CloseStream"}))
        assert json.loads(socket.recv(timeout=60))["type"] == "Metadata"
