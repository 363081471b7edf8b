"""An upload and its plan become 16 kHz mono int16 samples, wholly in memory.

Whatever is not 16 kHz mono PCM16 WAV of a usual level goes through FFmpeg (PyAV). What the first
pass over it shows decides on the rest: sound of a usual level whose mix loses nobody is done, other
sound is mixed and levelled in a second pass, and a track without sound gives way to the next.
Channels that are kept apart are each treated like a mono file.
"""

import io
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from serve_app.audio.channels import Mix
from serve_app.audio.claims import SLACK_BYTES, truncated
from serve_app.audio.clip import AudioClip
from serve_app.audio.containers import CONTAINERS
from serve_app.audio.level import QUIETEST_PEAK, STANDARD_PEAK, gain, is_usual, is_usual_clip
from serve_app.audio.limits import AudioLimits
from serve_app.audio.lines import Lines
from serve_app.audio.mono import Remix
from serve_app.audio.opened import open_file, readable_tracks
from serve_app.audio.plan import Plan, inspect
from serve_app.audio.track import Pass
from serve_app.audio.wav import MAGIC
from serve_app.errors import InvalidAudio

_LOST_SECONDS = 0.1
"""Fewer than these of a file's claim may be missing: encoders count in blocks."""


class Output(Protocol):
    """Takes samples, as bytes of int16."""

    def write(self, piece: memoryview, /) -> object:
        """Take the next ones."""

    def restart(self) -> object:
        """Forget those that were written: all of them come again."""


class Decoded(NamedTuple):
    """``seconds`` as received. ``track``: which one it is, such as "2 of 3"; None if there is only
    one. ``n_outputs``: how many of the outputs have samples, all of them equally many.
    """

    seconds: float
    track: str | None
    n_outputs: int


def plain_clip(payload: bytes | bytearray, limits: AudioLimits) -> AudioClip | None:
    """The clip of a WAV file whose samples need no change: a view of it.

    Takes a few microseconds per second of audio. None for any other file. Raises what
    :func:`decode_audio` raises if a WAV file's header already shows it, and ``InvalidAudio``
    (``empty_audio``).
    """
    view = memoryview(payload).toreadonly()
    if len(view) and not MAGIC.match(view):
        return None
    plan = inspect(view)
    plan.check(limits)
    return _plain(plan, view)


def decode_audio(payload: bytes | bytearray | memoryview, *, limits: AudioLimits) -> AudioClip:
    """Inspect and decode a file that is trusted: nothing bounds its cost, and the call blocks.

    Raises what :func:`~serve_app.audio.plan.inspect` and :func:`decode` raise.
    """
    plan = inspect(payload)
    plan.check(limits)
    clip = _plain(plan, memoryview(payload))
    if clip is not None:
        return clip
    output = _Memory()
    decoded = decode(plan, payload, limits=limits, outputs=[output])
    samples = np.frombuffer(output.getbuffer(), np.int16)
    return AudioClip(samples, decoded.seconds, decoded.track)


class _Memory(io.BytesIO):
    def restart(self) -> None:
        self.seek(0)
        self.truncate()


def _plain(plan: Plan, payload: memoryview) -> AudioClip | None:
    if not plan.is_instant:
        return None
    samples = np.frombuffer(payload[plan.start : plan.end], "<i2")
    return AudioClip(samples, plan.seconds) if is_usual_clip(samples) else None


def decode(
    plan: Plan,
    payload: bytes | bytearray | memoryview,
    *,
    limits: AudioLimits,
    outputs: Sequence[Output],
) -> Decoded:
    """Decode an upload.

    A single output gets the samples of all channels mixed, 16 kHz mono int16, piece by piece; of
    several outputs each gets those of one channel. The audio at its own rate is never held as a
    whole.

    Raises ``AudioTooLarge`` by the header or as soon as ``limits`` are passed, or for more channels
    than outputs, ``InvalidAudio`` (``truncated_audio``, ``invalid_audio``), ``UnsupportedAudio`` if
    there is no audio track or no supported codec, ``MemoryError``, and what an output raises.
    """
    plan.check(limits)
    file = memoryview(payload)[plan.start : plan.end]
    claimed = CONTAINERS[plan.kind].claimed_bytes(file)
    if claimed is not None and claimed > len(file) + SLACK_BYTES:
        raise truncated(plan.kind, f"it claims {claimed} bytes, {len(file)} came")
    return _Decoding(plan, file, limits, outputs).run()


class _Decoding:
    """The passes over one file."""

    def __init__(
        self, plan: Plan, file: memoryview, limits: AudioLimits, outputs: Sequence[Output]
    ) -> None:
        self._plan = plan
        self._file = file
        self._limits = limits
        self._outputs = outputs
        self._lines = Lines([])
        self._n_passes = 0
        self._tracks: list[int] = []
        self._n_tracks = 0

    def run(self) -> Decoded:
        found = self._explore()
        track, best = next(
            ((track, one) for track, one in found.items() if one.peak >= QUIETEST_PEAK),
            max(found.items(), key=lambda item: item[1].peak),
        )
        remixes = _remixes(best.mixes)
        if remixes is not None:
            self._pass(track, remixes)
        elif track != self._tracks[self._n_passes - 1]:
            self._pass(track)
        if best.seconds < self._plan.seconds - _LOST_SECONDS:
            lost = f"it claims {self._plan.n_frames} samples, {best.n_frames} could be decoded"
            raise truncated(self._plan.kind, lost)
        name = f"{track + 1} of {self._n_tracks}" if self._n_tracks > 1 else None
        return Decoded(best.seconds, name, self._lines.n_used)

    def _explore(self) -> dict[int, Pass]:
        """Decode one track after the other, up to the first that is loud enough."""
        found: dict[int, Pass] = {}
        refusal: InvalidAudio | None = None
        while not self._n_passes or self._n_passes < len(self._tracks):
            track = self._tracks[self._n_passes] if self._tracks else None
            try:
                one = self._pass(track)
            except InvalidAudio as error:
                refusal = refusal or error
                continue
            found[self._tracks[self._n_passes - 1]] = one
            if one.peak >= QUIETEST_PEAK:
                break
        if not found and refusal is not None:
            raise refusal
        return found

    def _pass(self, track: int | None, remixes: Sequence[Sequence[Remix | None]] = ()) -> Pass:
        """Decode a track, None for the first choice."""
        if self._n_passes:
            for output in self._outputs:
                output.restart()
        self._n_passes += 1
        self._lines = Lines([output.write for output in self._outputs])
        plan = self._plan
        one = Pass(plan.kind, self._limits, self._lines, remixes)
        with open_file(plan.kind, plan.header, self._file) as container:
            if track is None:
                self._tracks = readable_tracks(plan.kind, container)
                self._n_tracks = len(container.streams.audio)
                track = self._tracks[0]
            one.run(container, track)
        return one


def _remixes(mixes: Sequence[Sequence[Mix]]) -> list[list[Remix | None]] | None:
    """What each line of each stretch needs instead of FFmpeg's mix; None if that will do for all.

    ``mixes`` are those that were found: for every stretch, those of its lines.
    """
    n_lines = max(map(len, mixes), default=0)
    factors = [
        _factor([stretch[line] for stretch in mixes if line < len(stretch)])
        for line in range(n_lines)
    ]
    if all(factor is None for factor in factors):
        return None
    return [
        [
            None if factor is None else Remix(mix, factor)
            for mix, factor in zip(stretch, factors, strict=False)
        ]
        for stretch in mixes
    ]


def _factor(mixes: Sequence[Mix]) -> float | None:
    """By what the mixes of a line must be multiplied; None if FFmpeg's own will do."""
    peak = max(mix.peak for mix in mixes)
    if not all(mix.is_plain for mix in mixes):
        return STANDARD_PEAK / peak
    if all(is_usual(peak, mix.offset) for mix in mixes):
        return None
    return gain(peak)
