"""Azure's own Speech SDK, unmodified, with only its address and its key changed."""

import json
import threading
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from azure.cognitiveservices import speech
from websockets import Subprotocol
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from loadtest.server import Server
from tests.contract.conftest import HASHED_KEY

PAUSE = bytes(2 * 24_000)
UNIVERSAL = "/stt/speech/universal/v2"
FORMATS = {
    "pcm": speech.audio.AudioStreamFormat(16_000, 16, 1),
    "mulaw": speech.audio.AudioStreamFormat(
        8_000, 8, 1, wave_stream_format=speech.AudioStreamWaveFormat.MULAW
    ),
    "24 bits": speech.audio.AudioStreamFormat(16_000, 24, 1),
    "stereo": speech.audio.AudioStreamFormat(48_000, 16, 2),
}


class Speaker:
    """A recogniser and the microphone that it listens to."""

    def __init__(
        self,
        server: Server,
        path: str = "",
        *,
        key: str = "any",
        languages: Sequence[str] = ("en-US",),
        form: str = "pcm",
        **properties: str,
    ) -> None:
        place = {"endpoint" if path else "host": server.url.replace("http", "ws", 1) + path}
        config = speech.SpeechConfig(subscription=key, **place)
        for name, value in properties.items():
            config.set_property(getattr(speech.PropertyId, name), value)
        self.microphone = speech.audio.PushAudioInputStream(FORMATS[form])
        chosen: dict[str, Any] = {"language": languages[0]}
        if len(languages) > 1:
            detection = speech.languageconfig.AutoDetectSourceLanguageConfig(languages=[*languages])
            chosen = {"auto_detect_source_language_config": detection}
        audio = speech.audio.AudioConfig(stream=self.microphone)
        self.recogniser = speech.SpeechRecognizer(config, audio, **chosen)

    def recognise(self, audio: bytes) -> Any:
        """The first result of ``audio``, after which nothing comes."""
        self.microphone.write(audio)
        self.microphone.close()
        return self.recogniser.recognize_once()


def plain(result: Any) -> str:
    return "".join(c for c in result.text.lower() if c.isalpha() or c == " ")


def details(error: Any) -> str:
    assert error.reason == speech.ResultReason.Canceled
    return str(error.cancellation_details.error_details)


@pytest.fixture(scope="module")
def said(hello: bytes) -> bytes:
    return hello[44:]


def test_one_utterance_is_recognised(tiny_en: Server, said: bytes) -> None:
    for path in ("", UNIVERSAL):
        result = Speaker(tiny_en, path).recognise((PAUSE + said) * 2 + PAUSE)
        assert result.reason == speech.ResultReason.RecognizedSpeech
        assert plain(result) == "hello world"
        assert 1.2 < result.offset / 10**7 < 1.9 and 0.2 < result.duration / 10**7 < 1.5


def test_a_recogniser_is_used_again_on_its_connection(tiny_en: Server, said: bytes) -> None:
    speaker = Speaker(tiny_en)
    first = speaker.recognise((said + PAUSE) * 2)
    assert [plain(one) for one in (first, speaker.recogniser.recognize_once())] == [
        "hello world"
    ] * 2


def test_speech_goes_on_until_its_end(tiny_en: Server, said: bytes) -> None:
    speaker = Speaker(
        tiny_en,
        UNIVERSAL,
        SpeechServiceResponse_RequestWordLevelTimestamps="true",
        SpeechServiceResponse_OutputFormatOption="detailed",
    )
    mine, told = speaker.recogniser, []
    has_begun, is_over = threading.Event(), threading.Event()

    def tell(event: Any) -> None:
        told.append(event.result)
        has_begun.set()

    mine.recognizing.connect(tell)
    mine.recognized.connect(tell)
    mine.session_stopped.connect(lambda event: is_over.set())
    mine.start_continuous_recognition()
    speaker.microphone.write(PAUSE + said)
    assert has_begun.wait(60)
    speaker.microphone.write(PAUSE + said + PAUSE)
    speaker.microphone.close()
    assert is_over.wait(60)
    mine.stop_continuous_recognition()
    finals = [one for one in told if one.reason == speech.ResultReason.RecognizedSpeech]
    assert [plain(one) for one in finals] == ["hello world"] * 2
    assert told[0].reason == speech.ResultReason.RecognizingSpeech
    first, second = (json.loads(one.json)["NBest"][0] for one in finals)
    assert [word["Word"] for word in first["Words"]] == ["hello", "world"]
    assert first["Lexical"] == "hello world" and 0.3 < first["Confidence"] <= 1
    between = second["Words"][1]["Offset"] - first["Words"][1]["Offset"]
    assert between / 10**7 == pytest.approx((len(PAUSE) + len(said)) / 32_000, abs=0.3)


def test_other_samples_are_read(tiny_en: Server, said: bytes) -> None:
    samples = np.frombuffer(said, np.int16)
    stereo = np.repeat(np.repeat(samples, 3), 2).astype("<i2").tobytes()
    result = Speaker(tiny_en, form="stereo").recognise(stereo)
    assert plain(result) == "hello world"


def test_the_language_of_several_is_told(tiny_en: Server, said: bytes) -> None:
    result = Speaker(tiny_en, UNIVERSAL, languages=["de-DE", "en-GB"]).recognise(said)
    assert speech.AutoDetectSourceLanguageResult(result).language == "en-GB"


def test_silence_matches_nothing(tiny_en: Server) -> None:
    result = Speaker(tiny_en).recognise(6 * PAUSE)
    assert result.reason == speech.ResultReason.NoMatch
    assert result.no_match_details.reason == speech.NoMatchReason.InitialSilenceTimeout


def test_the_caller_is_told_what_is_wrong(tiny_en: Server, said: bytes) -> None:
    language = Speaker(tiny_en, languages=["de-DE"]).recognise(said)
    assert "1008" in details(language) and "language" in details(language)
    assert "24 bits" in details(Speaker(tiny_en, form="24 bits").recognise(said))


def test_the_key_is_needed(guarded: Server, said: bytes) -> None:
    assert plain(Speaker(guarded, key=HASHED_KEY).recognise(said)) == "hello world"
    assert "401" in details(Speaker(guarded, key="wrong").recognise(said))
    url = f"{guarded.url.replace('http', 'ws', 1)}{UNIVERSAL}?Ocp-Apim-Subscription-Key="
    with connect(url + quote(HASHED_KEY), subprotocols=[Subprotocol("USP")]) as socket:
        assert socket.subprotocol == "USP"
        socket.send(b"\xff\xff")
        with pytest.raises(ConnectionClosed, match="1008"):
            socket.recv(timeout=60)
    with pytest.raises(InvalidStatus, match="401"), connect(f"{url}wrong"):
        pass
