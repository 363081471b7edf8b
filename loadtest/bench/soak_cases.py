"""The mix of requests of a soak, and the outcomes that each may have under load."""

import io
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import soundfile
from faster_whisper import decode_audio

from loadtest.client import transcribe
from loadtest.load import Outcome
from loadtest.options import contract_options
from loadtest.speech import Clip
from loadtest.wer import word_errors
from serve_app.audio.clip import SAMPLE_RATE_HZ

TOLERANCE = 0.1
"""Most word errors per word, compared with the text as answered alone."""

FORMATS = ("WAV", "FLAC", "OGG", "MP3")
BATCH_SIZES = (8, 1, 4)
FAILURES = ("lost", "wrong status", "different")


@dataclass(frozen=True)
class Case:
    """A kind of request. ``alone`` is the (status, text) that it got with the server to itself.

    ``is_broken``: it must be refused. ``language`` is that of the speech.
    """

    name: str
    audio: bytes
    options: Mapping[str, Any]
    language: str
    seconds: float
    is_broken: bool = False
    alone: tuple[int, str] = (0, "")
    alone_seconds: float = 0.0


def verdict(outcome: Outcome, case: Case) -> str:
    """``left``, ``lost``, ``wrong status``, ``identical``, ``near`` or ``different``."""
    if outcome.gave_up:
        return "left"
    if outcome.status is None:
        return "lost"
    status, text = case.alone
    if outcome.status != status:
        return "wrong status"
    if outcome.text == text:
        return "identical"
    errors = word_errors(text, outcome.text, case.language)
    return "near" if errors.rate <= TOLERANCE else "different"


def mixed_cases(model: str, clips: Sequence[Clip], n: int) -> list[Case]:
    """``n`` cases of ``clips`` with options and formats in cycles of coprime lengths, so that
    they meet in every way, and two that must be refused: broken audio and a broken option.
    """
    chosen = random.Random(0).sample(list(clips), min(n, len(clips)))
    cases = [_case(model, number, clip) for number, clip in enumerate(chosen)]
    good = replace(cases[0], is_broken=True)
    options = {**good.options, "beam_size": -1}
    return [
        *cases,
        replace(good, name="broken audio", audio=random.Random(0).randbytes(20_000)),
        replace(good, name="broken option", options=options),
    ]


def _case(model: str, number: int, clip: Clip) -> Case:
    batch_size = BATCH_SIZES[number % len(BATCH_SIZES)]
    options: dict[str, Any] = dict(contract_options(model, clip.language, batch_size))
    options["temperature"] = 0
    options["word_timestamps"] = number % 5 == 1
    if options["multilingual"]:
        options["task"] = "translate" if number % 7 == 2 else "transcribe"
        options["language"] = None if number % 11 == 3 else options["language"]
    container = FORMATS[number % len(FORMATS)]
    file = io.BytesIO()
    soundfile.write(file, decode_audio(str(clip.path)), SAMPLE_RATE_HZ, format=container)
    name = f"{clip.id} {container} batch {batch_size} {options['task']}"
    return Case(name, file.getvalue(), options, clip.language or "en", clip.seconds)


def answered_alone(url: str, case: Case) -> Case:
    """``case`` with its answer and its seconds. The server must have nothing else to do."""
    reply = transcribe(url, case.audio, case.options)
    text = reply.text if reply.status == 200 else ""
    return replace(case, alone=(reply.status, text), alone_seconds=reply.seconds)
