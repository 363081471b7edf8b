"""DashScope's own SDK, unmodified, and EchoKit's messages as its Rust client writes them."""

import json
import uuid
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

import dashscope
import pytest
from dashscope.audio.asr import Recognition, RecognitionCallback, RecognitionResult
from dashscope.common.error import InvalidParameter
from websockets.sync.client import ClientConnection, connect

from loadtest.server import Server
from tests.conditions import eventually
from tests.contract.conftest import HASHED_KEY

PATH = "/api-ws/v1/inference"
PAUSE = bytes(2 * 24_000)


@pytest.fixture(scope="module")
def said(hello: bytes) -> bytes:
    return hello[44:]


def address(server: Server) -> str:
    return server.url.replace("http", "ws", 1) + PATH


def plain(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalpha() or c == " ")


class Told(RecognitionCallback):  # type: ignore[misc]  # dashscope has no types
    def __init__(self) -> None:
        self.sentences: deque[dict[str, Any]] = deque()
        self.usages: list[Any] = []
        self.error: RecognitionResult | None = None
        self.is_complete = False

    def on_event(self, result: RecognitionResult) -> None:
        sentence = result.get_sentence()
        self.usages.append(result.get_usage(sentence))
        self.sentences.append(sentence)

    def on_complete(self) -> None:
        self.is_complete = True

    def on_error(self, result: RecognitionResult) -> None:
        self.error = result


class Speaker:
    """The SDK's client and what it was told."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        server: Server,
        key: str = "any",
        **parameters: Any,
    ) -> None:
        monkeypatch.setattr(dashscope, "base_websocket_api_url", address(server))
        monkeypatch.setattr(dashscope, "api_key", key)
        self.told = Told()
        wishes = {"model": "paraformer-realtime-v2", "format": "pcm", "sample_rate": 16_000}
        self.recognition = Recognition(callback=self.told, **wishes | parameters)
        self.recognition.start()

    def say(self, audio: bytes) -> None:
        for start in range(0, len(audio), 3_200):
            self.recognition.send_audio_frame(audio[start : start + 3_200])

    def next(self, *, is_whole: bool) -> dict[str, Any]:
        """The next sentence that is or is not whole."""

        def look() -> dict[str, Any] | None:
            with suppress(InvalidParameter):  # it has stopped
                self.recognition.send_audio_frame(b"")  # it reads only after it has written
            return self.told.sentences.popleft() if self.told.sentences else None

        while RecognitionResult.is_sentence_end(sentence := eventually(look)) is not is_whole:
            pass
        return sentence


def test_sentences_are_told_while_people_speak(
    monkeypatch: pytest.MonkeyPatch, tiny_en: Server, said: bytes
) -> None:
    speaker = Speaker(monkeypatch, tiny_en, language_hints=["en"])
    speaker.say(PAUSE + said)
    partial = speaker.next(is_whole=False)
    assert (partial["sentence_end"], partial["end_time"]) == (False, None)
    speaker.say(PAUSE)
    first = speaker.next(is_whole=True)
    speaker.say(said)
    speaker.recognition.stop()
    second = speaker.next(is_whole=True)
    assert speaker.told.is_complete and speaker.told.error is None
    assert plain(partial["text"]).startswith("hello")
    assert plain(first["text"]) == plain(second["text"]) == "hello world"
    assert [one["sentence_id"] for one in (partial, first, second)] == [1, 1, 2]
    assert [plain(word["text"]) for word in first["words"]] == ["hello", "world"]
    assert 1_200 < first["begin_time"] == first["words"][0]["begin_time"] < 1_900
    assert speaker.told.usages[-1] == {"duration": 6}


def test_a_file_is_read(
    monkeypatch: pytest.MonkeyPatch, tiny_en: Server, hello: bytes, tmp_path: Path
) -> None:
    monkeypatch.setattr(dashscope, "base_websocket_api_url", address(tiny_en))
    monkeypatch.setattr(dashscope, "api_key", "any")
    file = tmp_path / "hello.wav"
    file.write_bytes(hello)
    wishes = {"model": "paraformer-realtime-v2", "format": "wav", "sample_rate": 16_000}
    result = Recognition(callback=None, **wishes).call(str(file))
    (sentence,) = result.get_sentence()
    assert plain(sentence["text"]) == "hello world"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"format": "opus"}, "allowed: pcm, wav"),
        ({"sample_rate": 10}, "sample_rate"),
        ({"language_hints": ["nowhere"]}, "language_hints"),
    ],
)
def test_what_cannot_be_done_fails_the_task(
    monkeypatch: pytest.MonkeyPatch, tiny_en: Server, parameters: dict[str, Any], message: str
) -> None:
    told = Speaker(monkeypatch, tiny_en, **parameters).told
    error = eventually(lambda: told.error)
    assert error.code == "CLIENT_ERROR" and message in error.message


def test_the_key_is_needed(monkeypatch: pytest.MonkeyPatch, guarded: Server, said: bytes) -> None:
    speaker = Speaker(monkeypatch, guarded, HASHED_KEY)
    speaker.say(said)
    speaker.recognition.stop()
    assert plain(speaker.next(is_whole=True)["text"]) == "hello world"
    wrong = Speaker(monkeypatch, guarded, "wrong").told
    assert eventually(lambda: wrong.error).status_code == 401


class EchoKit:
    """EchoKit's client for push to talk."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    def ask(self, audio: bytes) -> str:
        task_id = str(uuid.uuid4())
        self.send(task_id, "run-task", START)
        while self.receive(task_id)["header"]["event"] != "task-started":
            pass
        self.socket.send(audio)
        self.send(task_id, "finish-task", {"input": {}})
        while (event := self.receive(task_id))["header"]["event"] != "task-finished":
            sentence = event["payload"]["output"]["sentence"]
            if sentence["sentence_end"]:
                return str(sentence["text"])
        return ""

    def send(self, task_id: str, action: str, payload: dict[str, Any]) -> None:
        head = {"action": action, "task_id": task_id, "streaming": "duplex"}
        self.socket.send(json.dumps({"header": head, "payload": payload}))

    def receive(self, task_id: str) -> dict[str, Any]:
        """The next message of this task: those of an earlier one may have been left unread."""
        while True:
            event: dict[str, Any] = json.loads(self.socket.recv(timeout=60))
            assert "payload" in event
            if event["header"]["task_id"] == task_id:
                return event


START = {
    "task_group": "audio",
    "task": "asr",
    "function": "recognition",
    "model": "paraformer-realtime-v2",
    "parameters": {"format": "pcm", "sample_rate": 16_000},
    "input": {},
}


def test_echokit_gets_all_that_was_said_and_asks_again(tiny_en: Server, said: bytes) -> None:
    headers = {"Authorization": "Bearer any", "X-DashScope-DataInspection": "enable"}
    with connect(address(tiny_en), additional_headers=headers) as socket:
        echokit = EchoKit(socket)
        assert plain(echokit.ask(said)) == "hello world"
        assert echokit.ask(PAUSE) == ""
        assert plain(echokit.ask(said)) == "hello world"


def test_other_messages_are_refused_in_the_protocols_form(tiny_en: Server) -> None:
    with connect(address(tiny_en)) as socket:
        EchoKit(socket).send("one", "dance", {})
        event = json.loads(socket.recv(timeout=60))
        assert event["header"]["event"] == "task-failed"
        assert "run-task" in event["header"]["error_message"]
        socket.send("not JSON")
        assert json.loads(socket.recv(timeout=60))["header"]["event"] == "task-failed"
