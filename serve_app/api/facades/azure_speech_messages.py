"""What Azure's Speech SDKs send over their WebSocket, and how messages to them are written.

A message is a head, lines of ``Name:Value``, and a body. In a text message an empty line is between
them and the body is JSON; a binary message, which holds audio, begins with the length of its head
in two bytes, big-endian.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from serve_app.errors import InvalidOption, InvalidRequest
from serve_app.live.options import LiveOptions, seconds_of
from serve_app.options import OptionLimits, build_options

INTERACTIVE = "interactive"
LONGEST_PROMPT = 1000
DEFAULT_INITIAL_SILENCE_SECONDS = 5.0
"""How long the SDKs' ``recognize_once`` waits for somebody to speak, unless told otherwise."""


@dataclass(frozen=True)
class Message:
    """One message: its head with lower-case names, and its body."""

    head: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """What kind of message it is."""
        return self.head.get("path", "").lower()

    @property
    def request_id(self) -> str:
        """The turn that it belongs to."""
        return self.head.get("x-requestid", "")


def read_message(data: bytes | str) -> Message:
    """Split a message. Raises ``InvalidRequest``."""
    if isinstance(data, str):
        head, _, body = data.partition("\r\n\r\n")
        return Message(_head(head), body.encode())
    n_bytes = int.from_bytes(data[:2], "big")
    if len(data) < 2 + n_bytes:
        raise InvalidRequest(
            f"A binary message of {len(data)} bytes says that its head has {n_bytes}. The head's "
            "length comes first, in two bytes, big-endian."
        )
    return Message(_head(data[2 : 2 + n_bytes].decode("latin-1")), data[2 + n_bytes :])


def write_message(request_id: str, path: str, body: dict[str, Any]) -> str:
    """A text message to the client.

    It is in ASCII, since a client may send half of a surrogate pair, which is told back to it.
    """
    head = (
        f"X-RequestId:{request_id}\r\nPath:{path}\r\nContent-Type:application/json; charset=utf-8"
    )
    return f"{head}\r\n\r\n{json.dumps(body)}"


def _head(text: str) -> dict[str, str]:
    lines = (line.partition(":") for line in text.split("\r\n"))
    return {name.strip().lower(): value.strip() for name, _, value in lines}


@dataclass(frozen=True)
class Wishes:
    """What a client wants of a turn, by its address and the turn's ``speech.context``.

    ``languages`` are those that it expects, as it writes them.
    """

    mode: str
    languages: tuple[str, ...]
    is_detailed: bool
    initial_silence_seconds: float
    context: dict[str, Any] = field(repr=False)

    @classmethod
    def of(cls, mode: str, query: dict[str, str], body: bytes = b"{}") -> "Wishes":
        """Read them leniently: what is not as expected counts as not said.

        Raises ``InvalidRequest`` for a ``speech.context`` that is not an object in JSON.
        """
        try:
            context = json.loads(body)
        except (ValueError, RecursionError):
            context = None
        if not isinstance(context, dict):
            raise InvalidRequest("speech.context: has to be an object in JSON.")
        detection = _part(context, "phraseDetection")
        one = detection.get("language") or query.get("language") or ""
        several = _part(context, "languageId").get("languages")
        languages = several if isinstance(several, list) and several else [one]
        output = _part(context, "phraseOutput").get("format") or query.get("format")
        silence = seconds_of(detection.get("initialSilenceTimeout"))
        return cls(
            str(detection.get("mode") or mode).lower(),
            tuple(map(str, languages)),
            str(output).lower() == "detailed",
            DEFAULT_INITIAL_SILENCE_SECONDS if silence is None else silence,
            context,
        )

    @property
    def is_once(self) -> bool:
        """Whether the turn ends with its first utterance."""
        return self.mode == INTERACTIVE

    def live_options(self, limits: OptionLimits) -> LiveOptions:
        """What this asks of a session.

        Raises ``InvalidOption`` for an unknown language, and for phrases with Whisper's own tokens.
        """
        values = {
            "language": (self.languages[0] or None) if len(self.languages) == 1 else None,
            "hotwords": ", ".join(self._phrases())[:LONGEST_PROMPT] or None,
        }
        try:
            asked = build_options(values, limits=limits).options
        except InvalidOption as wrong:
            raise wrong.renamed({"hotwords": "phraseList"}) from None
        options: dict[str, Any] = {"language": asked.language, "prompt": asked.hotwords}
        if (silence := self._silence_seconds()) is not None:
            options["silence_seconds"] = min(max(silence, 0.1), 10.0)
        if self.is_once:  # the longest that the SDKs wait for, and that the model hears at once
            options["utterance_seconds"] = 28.0
        return LiveOptions(**options)

    def name_of(self, language: str) -> str:
        """A language that was heard, as the client writes it."""
        for name in self.languages:
            if name.partition("-")[0].lower() == language:
                return name
        return language

    def _silence_seconds(self) -> float | None:
        detection = _part(self.context, "phraseDetection")
        modes = {name.lower(): value for name, value in detection.items()}
        segmentation = _part(_part(modes, self.mode), "segmentation")
        ended = seconds_of(segmentation.get("segmentationSilenceTimeoutMs"))
        return ended or seconds_of(detection.get("trailingSilenceTimeout"))

    def _phrases(self) -> Iterator[str]:
        """The client's list of phrases."""
        for group in _list(_part(self.context, "dgi").get("Groups")):
            for item in _list(group.get("Items")):
                if isinstance(text := item.get("Text"), str):
                    yield text


def _part(whole: dict[str, Any], name: str) -> dict[str, Any]:
    part = whole.get(name)
    return part if isinstance(part, dict) else {}


def _list(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
