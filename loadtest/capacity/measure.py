"""Timed calls of this machine's engine, as JSON on stdout; ``calibrate`` runs it as a child.

In its own process, since malloc and BLAS read the Transcriber's environment once, at the start.
First requests one at a time through the real pipeline, whose calls are recorded: which stages, how
many tokens, how long with every core, and how long besides. Then the same windows again, every
worker at it at once, in decoder batches of several sizes; then one worker with the others at rest.
"""

import argparse
import asyncio
import json
import random
import sys
import threading
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from loadtest.capacity.fit import TimedCall
from loadtest.dictation import Habit
from loadtest.options import contract_options
from loadtest.utterances import Utterance, speech_of
from serve_app.audio.decode import decode_audio
from serve_app.audio.limits import AudioLimits
from serve_app.engine.engine import Engine
from serve_app.engine.queue import BatchLimits, Stage
from serve_app.engine.scheduler import Backend, Scheduler
from serve_app.engine.transcription import transcribe
from serve_app.options import TranscribeOptions, check_against_model
from serve_app.settings import EngineSettings, EngineTunables

SOLO_WINDOWS = 8

WARM_UPS = 3

TIMES_AGAIN = 7
"""So often is sent again what fell back: one such window may cost as much as ten others."""


@dataclass
class Recorded:
    """One call as the scheduler made it."""

    stage: Stage
    key: Hashable
    payloads: Sequence[Any]
    tokens: tuple[int, ...]
    seconds: float

    @property
    def timed(self) -> TimedCall:
        """Without the payloads."""
        return TimedCall(stage=self.stage.name.lower(), tokens=self.tokens, seconds=self.seconds)


@dataclass
class Recorder:
    """Passes calls on to ``backend`` and keeps them."""

    backend: Backend
    calls: list[Recorded] = field(default_factory=list)

    def run(
        self, stage: Stage, key: Hashable, payloads: Sequence[Any], *, alone: bool
    ) -> Sequence[Any]:
        """See :class:`serve_app.engine.scheduler.Backend`."""
        began = time.perf_counter()
        results = self.backend.run(stage, key, payloads, alone=alone)
        seconds = time.perf_counter() - began
        self.calls.append(Recorded(stage, key, payloads, _tokens(stage, results), seconds))
        return results

    def take(self) -> list[Recorded]:
        """The calls since the last time."""
        calls, self.calls = self.calls, []
        return calls


def _tokens(stage: Stage, results: Sequence[Any]) -> tuple[int, ...]:
    """Decoding steps of each window: the tokens of its longest hypothesis and their end."""
    if stage is not Stage.GENERATE:
        return (0,) * len(results)
    return tuple(max(map(len, result.sequences_ids)) + 1 for result in results)


@dataclass(frozen=True)
class Request:
    """``audio_seconds`` of speech, its calls, and the ``besides`` seconds that it took."""

    audio_seconds: float
    calls: Sequence[Recorded]
    besides: float


@dataclass(frozen=True)
class Window:
    """What one window's calls are given."""

    mel_key: Hashable
    mel: Any
    detects: bool
    decode_key: Hashable
    prompt: Any


@dataclass
class Bench:
    """An engine whose calls are recorded."""

    model: str
    workers: int
    limits: BatchLimits

    def __post_init__(self) -> None:
        settings = EngineSettings(model=self.model, workers=self.workers)
        self.engine = Engine(settings, EngineTunables())
        self.backend = self.engine.backend
        self.engine.scheduler.stop()
        self.recorder = Recorder(self.backend)
        self.engine.scheduler = Scheduler(self.recorder, self.limits, self.workers)

    def request(self, said: Utterance) -> Request:
        """One, while nobody else asks for anything."""
        sent = TranscribeOptions.model_validate(contract_options(self.model, "en", batch_size=8))
        options = check_against_model(sent, self.engine.facts)
        clip = decode_audio(said.audio, limits=AudioLimits())
        began = time.perf_counter()
        asyncio.run(transcribe(self.engine, clip, options))
        seconds = time.perf_counter() - began
        calls = self.recorder.take()
        return Request(said.seconds, calls, seconds - sum(call.seconds for call in calls))

    def replay(self, windows: Sequence[Window], batch: int, workers: int) -> list[TimedCall]:
        """Every window once through ``workers`` at once, ``batch`` in each decoder call.

        Only calls that ended while all of them were at work are kept.
        """
        groups = iter([windows[n : n + batch] for n in range(0, len(windows), batch)])
        lock = threading.Lock()
        kept: list[TimedCall] = []
        is_over = threading.Event()

        def work() -> None:
            recorder = Recorder(self.backend)
            while True:
                with lock:
                    group = next(groups, None)
                    if group is None:
                        is_over.set()
                        return
                _pass(recorder, group, self.limits.encode)
                if not is_over.is_set():
                    with lock:
                        kept.extend(call.timed for call in recorder.take())

        threads = [threading.Thread(target=work) for _ in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return kept


def _pass(recorder: Recorder, group: Sequence[Window], encode_batch: int) -> None:
    """Encode, detect and decode a group on one worker."""
    encoded: list[Any] = []
    for first in range(0, len(group), encode_batch):
        part = group[first : first + encode_batch]
        mels = [window.mel for window in part]
        encoded += recorder.run(Stage.ENCODE, part[0].mel_key, mels, alone=False)
    if group[0].detects:
        recorder.run(Stage.DETECT, (), [(output, None) for output in encoded], alone=False)
    payloads = [(output, w.prompt) for output, w in zip(encoded, group, strict=True)]
    recorder.run(Stage.GENERATE, group[0].decode_key, payloads, alone=False)


class Recipes:
    """The requests' calls as :class:`loadtest.capacity.profile.Recipe` has them, in JSON values."""

    def __init__(self) -> None:
        self._keys: dict[Hashable, int] = {}
        self.found: list[dict[str, Any]] = []

    def add(self, audio_seconds: float, told: Sequence[Sequence[Recorded]]) -> None:
        """A request of one window, as it went each time that it was sent."""
        first, *again = [[self._step(call) for call in calls] for calls in told]
        self.found.append({"audio_seconds": audio_seconds, "calls": first, "again": again})

    def _step(self, call: Recorded) -> dict[str, Any]:
        key = self._keys.setdefault(call.key, len(self._keys)) if call.tokens[0] else 0
        return {"stage": call.stage.name.lower(), "key": key, "tokens": call.tokens[0]}


def is_left_to_chance(calls: Sequence[Recorded]) -> bool:
    """Whether the window was decoded again, from samples: next time they will be others."""
    return sum(call.stage is Stage.GENERATE for call in calls) > 1


def window_of(calls: Sequence[Recorded]) -> Window | None:
    """The first attempt at a request of one window; None for any other request."""
    first = {call.stage: call for call in reversed(calls)}
    if Stage.ENCODE not in first or Stage.GENERATE not in first:
        return None
    encode, generate = first[Stage.ENCODE], first[Stage.GENERATE]
    prompt = generate.payloads[0][1]
    return Window(encode.key, encode.payloads[0], Stage.DETECT in first, generate.key, prompt)


def said(chunk_seconds: Sequence[float], last_pieces: int) -> list[Utterance]:
    """What people post: all full chunks of every length, then the last pieces of dictations.

    Those are cut anywhere, evenly spread up to the longest chunk: half a sentence or half a word
    makes Whisper try again more often than whole speech does, and that costs the most.
    """
    full = []
    for seconds in chunk_seconds:
        full += speech_of(Habit(seconds)).every(seconds)
    longest = max(chunk_seconds)
    speech = speech_of(Habit(longest))
    return full + [
        speech.utterance((number + 0.5) / last_pieces * longest, number)
        for number in range(last_pieces)
    ]


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """All of it, as JSON values."""
    bench = Bench(given.model, given.workers, BatchLimits(encode=given.encode_batch))
    recipes, lone, prepared, windows = Recipes(), list[TimedCall](), [], list[Window]()
    spoken = said(given.chunk_seconds, given.last_pieces)
    for one in spoken[:WARM_UPS]:
        bench.request(one)
    for one in spoken:
        request = bench.request(one)
        calls = request.calls
        if not calls or any(len(call.tokens) > 1 for call in calls):
            continue  # silence, or more than one window
        lone += [call.timed for call in calls]
        prepared.append([request.audio_seconds, request.besides])
        again = TIMES_AGAIN if is_left_to_chance(calls) else 0
        recipes.add(one.seconds, [calls, *(bench.request(one).calls for _ in range(again))])
        if window := window_of(calls):
            windows.append(window)
    random.Random(0).shuffle(windows)
    alike = [window for window in windows if window.decode_key == windows[0].decode_key]
    loaded = []
    for batch in given.decode_batch:
        fewest = max(given.windows, 2 * given.workers * batch)
        many = [alike[n % len(alike)] for n in range(fewest)]
        loaded += bench.replay(many, batch, given.workers)
    same = (alike * SOLO_WINDOWS)[:SOLO_WINDOWS]
    solo = bench.replay(same, 1, 1)
    return {
        "recipes": recipes.found,
        "lone": [call.model_dump() for call in lone],
        "prepared": prepared,
        "loaded": [call.model_dump() for call in loaded],
        "solo": [call.model_dump() for call in solo],
        "lone_decoding_uses_every_core": bench.backend.decodes_alone_on_every_core,
        "device": bench.engine.device,
        "compute_type": bench.engine.compute_type,
    }


def main() -> int:
    """Measure as ``calibrate`` asks."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.capacity.measure")
    parser.add_argument("--model", required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--encode-batch", type=int, required=True)
    parser.add_argument("--decode-batch", type=int, nargs="+", required=True)
    parser.add_argument("--chunk-seconds", type=float, nargs="+", required=True)
    parser.add_argument("--last-pieces", type=int, required=True)
    parser.add_argument("--windows", type=int, required=True)
    json.dump(measure(parser.parse_args()), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
