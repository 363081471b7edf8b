"""What a client of Deepgram's WebSocket asks for in its query."""

from typing import Annotated, Any

from pydantic import BaseModel

from serve_app.api.facades.deepgram_request import CALLERS_NAMES, ListenRequest
from serve_app.api.live_turns import AudioStream
from serve_app.audio.pcm import MAX_CHANNELS, MAX_RATE_HZ, MIN_RATE_HZ, Encoding, PcmStream
from serve_app.audio.wav_stream import WavStream
from serve_app.errors import InvalidOption
from serve_app.live.options import MOST_PROMPT_CHARACTERS, LiveOptions
from serve_app.options import build_options
from serve_app.options.kinds import Flag, Whole

ENCODINGS: dict[str, Encoding] = {
    "linear16": "pcm16",
    "linear32": "float32",
    "mulaw": "mulaw",
    "alaw": "alaw",
}

LEAST_SILENCE_SECONDS, MOST_SILENCE_SECONDS = 0.3, 10.0
"""Of ``endpointing``. Deepgram's clients ask for as little as 10 ms, but Whisper mishears words
that are cut from their sentence."""

_OFF = ("false", "0")


class StreamWishes(BaseModel):
    """The parameters that only a stream has."""

    interim_results: Annotated[bool, Flag()] = False
    vad_events: Annotated[bool, Flag()] = False
    endpointing: str = ""
    utterance_end_ms: Annotated[int | None, Whole(1, 60_000)] = None
    no_delay: Any = None
    encoding: str = ""
    sample_rate: Annotated[int | None, Whole(MIN_RATE_HZ, MAX_RATE_HZ)] = None
    channels: Annotated[int, Whole(1, MAX_CHANNELS)] = 1

    @property
    def finds_ends(self) -> bool:
        """Whether silence ends an utterance for the client."""
        return self.endpointing.lower() not in _OFF

    def audio(self) -> AudioStream:
        """What reads the audio. Raises ``InvalidOption``."""
        if not self.encoding:
            return WavStream()
        encoding = ENCODINGS.get(self.encoding)
        if encoding is None:
            raise InvalidOption(
                f"encoding: got {self.encoding[:40]!r}; allowed: {', '.join(ENCODINGS)}, or none "
                "for WAV",
                field="encoding",
            )
        if self.sample_rate is None:
            raise InvalidOption(f"sample_rate: {self.encoding} needs it", field="sample_rate")
        return PcmStream(encoding, self.sample_rate, self.channels)

    def options(self, asked: ListenRequest) -> LiveOptions:
        """Raises ``InvalidOption``."""
        options = asked.options.options
        if options.multichannel and self.channels > 1:
            raise InvalidOption(
                "multichannel: live channels are heard as one; open a connection for each",
                field="multichannel",
            )
        more: dict[str, Any] = {}
        if self.endpointing.isascii() and self.endpointing.isdigit() and self.endpointing != "0":
            seconds = min(int(self.endpointing[:9]) / 1000, MOST_SILENCE_SECONDS)
            more["silence_seconds"] = max(seconds, LEAST_SILENCE_SECONDS)
        elif self.endpointing.lower() not in ("", "true", *_OFF):
            raise InvalidOption(
                f"endpointing: got {self.endpointing[:40]!r}; allowed: milliseconds or false",
                field="endpointing",
            )
        return LiveOptions(
            language=options.language,
            prompt=prompt_of(options.hotwords),
            partials=self.interim_results,
            **more,
        )


def prompt_of(keyterms: str | None) -> str | None:
    """Raises ``InvalidOption`` for what a session does not take."""
    if keyterms is not None and len(keyterms) > MOST_PROMPT_CHARACTERS:
        most = f"keyterm: up to {MOST_PROMPT_CHARACTERS} characters in all"
        raise InvalidOption(most, field="keyterm")
    try:
        return build_options({"hotwords": keyterms}).options.hotwords
    except InvalidOption as wrong:
        raise wrong.renamed(CALLERS_NAMES) from None
