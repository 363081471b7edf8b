"""One pass over one audio track of a file: packets -> frames -> 16 kHz mono int16."""

from collections.abc import Iterator, Sequence

import av

from serve_app.audio.channels import Mix
from serve_app.audio.containers import CONTAINERS
from serve_app.audio.limits import AudioLimits
from serve_app.audio.lines import Lines
from serve_app.audio.mono import Remix, Shape, Stretch, shape_of
from serve_app.audio.opened import FFMPEG_ERRORS, undecodable
from serve_app.audio.wav import MAX_RATE_HZ, MIN_RATE_HZ
from serve_app.errors import AudioTooLarge, InvalidAudio

_PREFERRED_DECODERS = {"amrnb": "libopencore_amrnb", "amrwb": "libopencore_amrwb"}
"""FFmpeg's own decoders of AMR drop the frames in which nobody speaks (DTX)."""

_LOST_SECONDS = 0.1
"""A file that claims less than this may hold no sample: a codec's start-up delay swallows it."""

_MOST_DAMAGED = 0.5
"""Share of a track's packets beyond which what is left is not the recording."""

_SHORTEST_PAUSE_SECONDS = 0.1
"""Time stamps are rounded, and codecs start with a few milliseconds that are thrown away."""

_LONGEST_PAUSE_SECONDS = 3_600.0
_LARGEST_SETBACK_SECONDS = 0.5
"""A clock that jumps by more, forth or back, is that of another recording, joined to the first."""

_PAUSE_PER_SOUND = 10
"""Seconds of pauses that each second of sound allows, beyond the first hour of them. Otherwise a
file of a thousand bytes could take the memory of hours."""


class Pass:
    """What one pass finds.

    ``seconds`` are those of the file's clock, at its own rate; ``n_frames`` counts what is decoded.
    ``mixes``: what each stretch of frames of one shape needs, for every line. A later pass may be
    given others (``remixes``), where None leaves the mix to FFmpeg.

    With one line the channels are mixed; with several each channel has its own.

    A damaged packet costs only itself and not everything after it, unless most of them are damaged.
    """

    def __init__(
        self,
        kind: str,
        limits: AudioLimits,
        lines: Lines,
        remixes: Sequence[Sequence[Remix | None]] = (),
    ) -> None:
        self.n_frames = 0
        self.mixes: list[tuple[Mix, ...]] = []
        self._kind = kind
        self._limits = limits
        self._lines = lines
        self._given = remixes
        self._n_bytes = 0
        self._n_packets = self._n_damaged = 0
        self._first_error: Exception | None = None
        self._shape: Shape | None = None
        self._stretch: Stretch | None = None
        self._n_stretch_frames = 0
        self._earlier_seconds = 0.0
        self._origin_seconds = 0.0
        self._pauses_seconds = 0.0

    @property
    def seconds(self) -> float:
        """The time up to which the sound is known."""
        if self._shape is None:
            return self._earlier_seconds
        return self._earlier_seconds + self._n_stretch_frames / self._shape[2]

    @property
    def peak(self) -> float:
        """The loudest that can come out, relative to full scale."""
        return max((mix.peak for stretch in self.mixes for mix in stretch), default=0.0)

    def run(self, container: "av.container.InputContainer", place: int) -> None:
        """Decode the audio track at this place among all.

        Raises ``AudioTooLarge``, ``InvalidAudio`` and ``UnsupportedAudio``.
        """
        try:
            self._decode(container, container.streams.audio[place])
        except MemoryError:
            raise
        except FFMPEG_ERRORS as error:
            raise undecodable(self._kind, error, self.seconds) from None

    def _decode(self, container: "av.container.InputContainer", stream: "av.AudioStream") -> None:
        traits = CONTAINERS[self._kind]
        claimed_seconds = _header_seconds(container, stream) if traits.tells_length else 0.0
        self._limits.check_seconds(claimed_seconds)
        if not traits.starts_at_zero:
            self._origin_seconds = (container.start_time or 0) / av.time_base
        for frame in self._frames(container, stream):
            if traits.has_clock and frame.pts is not None and frame.time_base is not None:
                self._keep_time(float(frame.pts * frame.time_base))
            self._add(frame)
        self._finish_stretch()
        self._lines.align()
        is_damaged = self._n_damaged > _MOST_DAMAGED * self._n_packets
        if self._first_error is not None and (is_damaged or not self.n_frames):
            raise undecodable(self._kind, self._first_error)
        if claimed_seconds > _LOST_SECONDS and not self.n_frames:
            raise InvalidAudio(
                f"The {self._kind} file's header claims {claimed_seconds:.1f} s of audio, but the "
                "file holds none."
            )

    def _frames(
        self, container: "av.container.InputContainer", stream: "av.AudioStream"
    ) -> Iterator["av.AudioFrame"]:
        decoder = _decoder(stream)
        for packet in container.demux(stream):
            self._n_packets += 1
            try:
                frames = decoder.decode(packet)
            except MemoryError:
                raise
            except FFMPEG_ERRORS as error:
                # Its traceback would tie this decoding, hence the codec's threads and their 20 MB,
                # into a cycle that only the garbage collector undoes.
                self._first_error = self._first_error or error.with_traceback(None)
                self._n_damaged += 1
                frames = []
            yield from frames

    def _keep_time(self, stamp_seconds: float) -> None:
        """Fill the pause, if there is one, before a frame that is stamped with this time."""
        pause = stamp_seconds - self._origin_seconds - self.seconds
        sound_seconds = self.seconds - self._pauses_seconds
        left = _LONGEST_PAUSE_SECONDS + _PAUSE_PER_SOUND * sound_seconds - self._pauses_seconds
        if pause > min(left, _LONGEST_PAUSE_SECONDS) or pause < -_LARGEST_SETBACK_SECONDS:
            self._origin_seconds += pause
        elif pause >= _SHORTEST_PAUSE_SECONDS:
            self._limits.check_seconds(self.seconds + pause, self._lines.n_used)
            self._finish_stretch()
            self._earlier_seconds += pause
            self._pauses_seconds += pause
            self._lines.write_silence(pause)

    def _add(self, frame: "av.AudioFrame") -> None:
        shape = shape_of(frame)
        stretch = self._stretch
        if stretch is None or shape != self._shape:  # joined MP3, AAC that turns out to be HE-AAC
            stretch = self._begin_stretch(frame, shape)
        self.n_frames += frame.samples
        self._n_stretch_frames += frame.samples
        self._n_bytes += frame.samples * frame.layout.nb_channels * frame.format.bytes
        self._limits.check_seconds(self.seconds, self._lines.n_used)
        self._limits.check_decoded_bytes(self._n_bytes)
        stretch.add(frame)

    def _begin_stretch(self, frame: "av.AudioFrame", shape: Shape) -> Stretch:
        if not MIN_RATE_HZ <= frame.sample_rate <= MAX_RATE_HZ:
            raise InvalidAudio(f"The {self._kind} file claims {frame.sample_rate} Hz.")
        self._finish_stretch()
        self._shape = shape
        apart = len(self._lines) > 1
        n_lines = frame.layout.nb_channels if apart else 1
        if n_lines > len(self._lines):
            raise AudioTooLarge(
                f"The audio has {n_lines} channels; this server transcribes at most "
                f"{len(self._lines)} apart. Send fewer, or have them mixed."
            )
        place = len(self.mixes)
        remixes = self._given[place] if place < len(self._given) else [None] * n_lines
        self._stretch = Stretch(frame, self._lines.first(n_lines), remixes, apart=apart)
        return self._stretch

    def _finish_stretch(self) -> None:
        if self._stretch is not None:
            self.mixes.append(self._stretch.finish())
            self._earlier_seconds = self.seconds
            self._stretch, self._shape, self._n_stretch_frames = None, None, 0


def _decoder(stream: "av.AudioStream") -> "av.AudioCodecContext":
    context = stream.codec_context
    preferred = _PREFERRED_DECODERS.get(context.name)
    if preferred in av.codecs_available:
        context = av.AudioCodecContext.create(preferred, "r")
        context.sample_rate, context.layout = stream.sample_rate, "mono"
    context.thread_count = 1
    return context


def _header_seconds(container: "av.container.InputContainer", stream: "av.AudioStream") -> float:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return float((container.duration or 0) / av.time_base)
