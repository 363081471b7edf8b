"""Deepgram's query: what it wants in the answer, and the options that it sets."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel

from serve_app.api.facades.mapped_options import mapped_options
from serve_app.api.render.deepgram import Parts
from serve_app.api.sources.bare_samples import wav_header
from serve_app.errors import InvalidOption, InvalidRequest
from serve_app.options import (
    OptionLimits,
    ParsedOptions,
    TranscribeOptions,
    read_values,
)
from serve_app.options.kinds import Flag, Number, Whole

CALLERS_NAMES = {"hotwords": "keyterm"}
"""Our options, and the parameters by which Deepgram's callers set them."""

_REFUSED = {
    "callback": "this server answers with the transcript itself and calls nobody",
    "redact": "this server hides nothing in a transcript",
}
"""Parameters that do harm if they are ignored: the result goes elsewhere, or is not safe."""

_OFF = frozenset({"", "0", "false"})

DEEPGRAMS_MODEL = re.compile(
    r"(whisper|nova|flux|enhanced|general|tiny|base|small|medium|large|turbo|distil)"
    # No name matches in two ways, or refusing one would take exponential time.
    r"([-_.][a-z0-9]+)*",
    re.ASCII | re.IGNORECASE,
)
"""Names of Deepgram's models and of Whisper's sizes: one that is not served here leaves the choice
to the server."""

MOST_NAME_CHARACTERS = 100
"""Longer names are not compared with :data:`DEEPGRAMS_MODEL`."""

_WEIGHT = re.compile(r":[+-]?\d+(\.\d+)?$")
"""The weight after a keyword: how much likelier it is."""

_PCM = {"linear16": (1, 16), "mulaw": (7, 8), "alaw": (6, 8)}
"""Encodings of audio without a header: the tag that WAV has for each, and the bits of a sample."""


@dataclass(frozen=True)
class ListenRequest:
    """What one request asks for; ``options.ignored`` are parameters that do nothing here.

    ``pcm_header``: what makes a WAV file of a body without a header; b"" if it has one.
    """

    model: str
    options: ParsedOptions
    parts: Parts
    tags: tuple[str, ...]
    extra: Mapping[str, str]
    pcm_header: bytes


def read_query(query: Iterable[tuple[str, str]], limits: OptionLimits) -> ListenRequest:
    """Read the parameters of a request, each of which may come several times.

    Parameters that Deepgram does not have are options of our own (docs/options.md) or ignored.
    Raises ``InvalidOption`` with the parameter's name.
    """
    values: dict[str, list[str]] = {}
    for name, text in query:
        values.setdefault(name, []).append(text)
    for name, reason in _REFUSED.items():
        if not _is_off(values.get(name, [])):
            raise InvalidOption(f"{name}: {reason}; leave it out", field=name)
    asked = {k: v if k in _LISTS else v[-1] for k, v in values.items() if k in _FIELDS}
    fields = read_values(_Fields, asked, limits)
    own: dict[str, Any] = {
        name: texts[0] if len(texts) == 1 else texts
        for name, texts in values.items()
        if name not in _FIELDS and (name in TranscribeOptions.model_fields or not _is_off(texts))
    }
    if not _is_off(fields.detect_language):
        own.pop("language", None)
    hotwords = [_WEIGHT.sub("", word) for word in (*fields.keyterm, *fields.keywords)]
    mapped = {"hotwords": ", ".join(hotwords) or None, "word_timestamps": True}
    parsed = mapped_options(own, mapped, CALLERS_NAMES, limits)
    return ListenRequest(
        model=fields.model.strip(),
        options=parsed,
        parts=Parts(
            punctuated_words=fields.punctuate or fields.smart_format or fields.paragraphs,
            paragraphs=fields.paragraphs,
            utterances=fields.utterances,
            utterance_pause_seconds=fields.utt_split,
            detected_language=parsed.options.language is None,
        ),
        tags=fields.tag,
        extra=dict(pair.partition(":")[::2] for pair in fields.extra),
        pcm_header=_pcm_header(fields),
    )


def choose_model(choose: Callable[[str], None], name: str) -> None:
    """Let ``choose`` note the model that a caller names, unless it is one of Deepgram's.

    Raises ``InvalidOption`` if there is no such model.
    """
    try:
        choose(name)
    except InvalidRequest as unknown:
        if len(name) > MOST_NAME_CHARACTERS or not DEEPGRAMS_MODEL.fullmatch(name):
            raise InvalidOption(f"model: {unknown.message}", field="model") from None


def _is_off(texts: Iterable[str]) -> bool:
    return all(text.strip().lower() in _OFF for text in texts)


def _pcm_header(fields: "_Fields") -> bytes:
    if fields.encoding not in _PCM or fields.sample_rate is None:
        return b""
    return wav_header(*_PCM[fields.encoding], fields.channels, fields.sample_rate)


_FLAG = Flag()


class _Fields(BaseModel):
    """Deepgram's parameters that mean something here, apart from ``language``."""

    model: str = "whisper"
    detect_language: tuple[str, ...] = ()
    punctuate: Annotated[bool, _FLAG] = False
    smart_format: Annotated[bool, _FLAG] = False
    paragraphs: Annotated[bool, _FLAG] = False
    utterances: Annotated[bool, _FLAG] = False
    utt_split: Annotated[float, Number(0, 3600)] = 0.8
    keywords: tuple[str, ...] = ()
    keyterm: tuple[str, ...] = ()
    tag: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    encoding: str = ""
    sample_rate: Annotated[int | None, Whole(1_000, 768_000)] = None
    channels: Annotated[int, Whole(1, 256)] = 1
    version: Any = None
    mip_opt_out: Any = None


_FIELDS = _Fields.model_fields
_LISTS = frozenset({"detect_language", "keywords", "keyterm", "tag", "extra"})
