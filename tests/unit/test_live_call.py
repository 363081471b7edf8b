"""Live connections over a service that hears nothing, message by message."""

import asyncio
import io
import json
import wave
from collections.abc import Iterator, Sequence

import pytest
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message

from serve_app.api.app import build_api
from serve_app.api.facades import dashscope, echokit_live, stream
from serve_app.assets import GOLDEN_CLIP
from serve_app.audio.clip import AudioClip
from serve_app.caller import Caller
from serve_app.errors import WhisperOxError
from serve_app.options import ModelFacts, TranscribeOptions
from serve_app.service import LiveLoad
from serve_app.settings import ApiKey, AppSettings, LiveSettings
from serve_app.transcript import Segment, Tell, Transcript, Word
from tests.unit.asgi import http_scope
from tests.unit.deaf_service import DeafService
from tests.unit.virtual_time import run_at_once

HALF = "\\ud800"
"""Half of a surrogate pair, as JSON escapes it."""


class Service(DeafService):
    async def model(self) -> ModelFacts:
        return ModelFacts("base", True, ("en", "de"), 51_865)

    async def live_load(self) -> LiveLoad:
        return LiveLoad(capacity=1.0)


@pytest.fixture
def client() -> Iterator[TestClient]:
    """Of a server with one place."""
    settings = AppSettings(live=LiveSettings(sessions=1))
    with TestClient(build_api(Service(), settings, ApiKey())) as testing:
        yield testing


def test_half_of_a_surrogate_pair_in_the_name_of_a_task_is_told_back(client: TestClient) -> None:
    header = f'{{"action": "run-task", "task_id": "{HALF}"}}'
    with client.websocket_connect(dashscope.PATH) as socket:
        socket.send_text(f'{{"header": {header}, "payload": {{}}}}')
        told = socket.receive_text().encode()  # as a real connection would
    assert json.loads(told)["header"]["task_id"] == "\ud800"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (dashscope.PATH, "dashscope._Connection.tell_error"),
        (stream.PATH, "stream._Connection._tell"),
    ],
)
def test_a_connection_whose_error_cannot_be_told_gives_up_its_place(
    client: TestClient, path: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(connection: object, error: WhisperOxError) -> None:
        raise LookupError

    monkeypatch.setattr(f"serve_app.api.facades.{name}", broken)
    with pytest.raises(LookupError), client.websocket_connect(path) as socket:
        socket.send_text("garbage")
        while socket.receive()["type"] != "websocket.close":
            pass
    with client.websocket_connect(path):
        pass


async def exchange(app: ASGIApp, path: str, events: Sequence[str | bytes | float]) -> list[Message]:
    """What a client is sent that sends messages, with seconds of silence in between."""
    left = iter(events)
    sent: list[Message] = []

    async def receive() -> Message:
        if not sent:
            return {"type": "websocket.connect"}
        for event in left:
            if isinstance(event, float):
                await asyncio.sleep(event)
            else:
                kind = "text" if isinstance(event, str) else "bytes"
                return {"type": "websocket.receive", kind: event}
        return {"type": "websocket.disconnect", "code": 1000}

    async def send(message: Message) -> None:
        sent.append(message)

    await app({**http_scope(path), "type": "websocket", "subprotocols": []}, receive, send)
    return sent


async def connect(app: ASGIApp, path: str, events: Sequence[str | bytes | float]) -> bool:
    """Whether a client is let in that sends messages, with seconds of silence in between."""
    return "websocket.accept" in [sent["type"] for sent in await exchange(app, path, events)]


RUN_TASK = '{"header": {"action": "run-task", "task_id": "a"}, "payload": {}}'


@pytest.mark.parametrize(
    ("path", "begin"),
    [(dashscope.PATH, [RUN_TASK]), (echokit_live.PATH, []), (stream.PATH, [])],
)
def test_a_silent_connection_leaves_the_model_to_others(
    path: str, begin: Sequence[str | bytes | float]
) -> None:
    async def scene() -> list[bool]:
        app = build_api(Service(), AppSettings(), ApiKey())
        first = asyncio.create_task(connect(app, path, [*begin, 40.0, bytes(3_200), 20.0]))
        others = []
        for seconds in (20, 15, 10):
            await asyncio.sleep(seconds)
            others.append(await connect(app, stream.PATH, []))
        return [*others, await first]

    assert run_at_once(scene()) == [False, True, False, True]


@pytest.mark.parametrize("path", [echokit_live.PATH, stream.PATH])
def test_audio_that_comes_much_faster_than_it_plays_is_held_back(path: str) -> None:
    ten_seconds = bytes(2 * 16_000 * 10)

    async def seconds_for(*messages: str | bytes | float) -> float:
        app = build_api(Service(), AppSettings(), ApiKey())
        began = asyncio.get_running_loop().time()
        await connect(app, path, messages)
        return asyncio.get_running_loop().time() - began

    assert run_at_once(seconds_for(*[ten_seconds] * 6)) == pytest.approx(0)
    assert run_at_once(seconds_for(*[ten_seconds] * 12)) == pytest.approx(60 / 10)
    rest = 6.0
    assert run_at_once(seconds_for(*[ten_seconds] * 6, rest, *[ten_seconds] * 6)) == (
        pytest.approx(rest)
    )


class Dictating(Service):
    """Hears ``n_words`` from the beginning to the end of each clip."""

    def __init__(self, n_words: int) -> None:
        super().__init__()
        self._n_words = n_words

    async def transcribe(
        self,
        clip: AudioClip,
        options: TranscribeOptions,
        caller: Caller,
        tell: Tell | None = None,
    ) -> Transcript:
        each = clip.seconds / self._n_words
        starts = [n * each for n in range(self._n_words)]
        words = tuple(Word(start, start + each, " so", 0.9) for start in starts)
        segment = Segment(0.0, clip.seconds, " so", -0.1, 0.0, 1.0, 0.0, 0, (1,), words)
        return Transcript((segment,), "en", 1.0, clip.seconds, clip.seconds)


@pytest.mark.parametrize(("n_words", "most_words", "most_seconds"), [(2, 300, 71), (100, 399, 60)])
def test_a_sentence_of_dashscope_ends_although_nobody_pauses(
    n_words: int, most_words: int, most_seconds: float
) -> None:
    with wave.open(io.BytesIO(GOLDEN_CLIP.read_bytes())) as file:
        said = file.readframes(file.getnframes())
    run = json.loads(RUN_TASK)
    run["payload"] = {"parameters": {"max_sentence_silence": 6_000}}
    finish = RUN_TASK.replace("run-task", "finish-task")
    events = [json.dumps(run), *[said] * 110, finish, 10.0]
    app = build_api(Dictating(n_words), AppSettings(), ApiKey())
    sent = run_at_once(exchange(app, dashscope.PATH, events))
    payloads = [json.loads(message["text"])["payload"] for message in sent if "text" in message]
    told = [payload["output"]["sentence"] for payload in payloads if payload.get("output")]
    whole = [sentence for sentence in told[:-1] if sentence["sentence_end"]]
    assert len(whole) > 1
    assert [sentence["sentence_id"] for sentence in whole] == [*range(1, len(whole) + 1)]
    for sentence in whole:
        assert len(sentence["words"]) <= most_words
        assert sentence["end_time"] - sentence["begin_time"] < 1_000 * most_seconds
