"""Every setting and its default, stated once. Unknown keys are errors."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from typing_extensions import Self

from models.reference import parse_reference
from serve_app.audio.limits import AudioLimits, WorkerLimits
from serve_app.options import OptionLimits
from serve_app.options.language import language_code

DEFAULT_MODEL = "base"

# As browsers send it, which is how it is compared.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.\-]*://[^/\sA-Z]+|null")
_HOST = re.compile(r"(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*(:[0-9]{1,5})?")


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EngineSettings(_Settings):
    """The model and the hardware it runs on. A change restarts the Transcriber replicas."""

    model: str = Field(
        default=DEFAULT_MODEL,
        description="Catalogue name, local directory or Hugging Face id of the model.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where the model runs. auto: on a GPU if there is one."
    )
    compute_type: Literal[
        "auto",
        "int8",
        "int8_float32",
        "int8_float16",
        "int8_bfloat16",
        "int16",
        "float16",
        "bfloat16",
        "float32",
    ] = Field(
        default="auto",
        description="CTranslate2's compute type. auto: int8 on a CPU, float16 on a GPU.",
    )
    cores: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="CPU cores that each replica may keep busy. 0: all cores, or an equal share "
        "of them if a local server has several models.",
    )
    workers: int = Field(
        default=0,
        ge=0,
        le=256,
        description="Batches that run at the same time. 0: one for each of its CPU cores; 2 on a "
        "GPU.",
    )
    threads_per_worker: int = Field(
        default=1, ge=1, le=256, description="CPU threads of each worker."
    )
    whole_machine_worker: bool = Field(
        default=True,
        description="On a CPU, keep a second copy of the weights for a worker that uses every "
        "core. It serves a request that has the machine to itself.",
    )
    cpu_isa: Literal["auto", "AVX512", "AVX2", "AVX", "NEON", "GENERIC"] = Field(
        default="auto",
        description="Instruction set of CTranslate2's kernels on a CPU. By itself CTranslate2 "
        "uses AVX2 at most. auto: the server measures AVX512 when it starts, which takes a second "
        "or two, and uses it if it is faster. The environment variable CT2_FORCE_CPU_ISA takes "
        "precedence.",
    )
    bind_to_numa_node: bool = Field(
        default=False,
        description="On a CPU with several NUMA nodes, keep each replica's threads and memory on "
        "one of them. Run as many replicas as there are nodes.",
    )
    stall_seconds: float = Field(
        default=600.0,
        gt=0,
        description="A batch has stalled when it runs for longer than this and for more than "
        "twenty times as long as usual for its size. Serve then replaces the replica.",
    )
    max_concurrent_requests: int = Field(
        default=1024,
        ge=1,
        le=4096,
        description="Most requests that a replica holds at once; long ones may be three quarters "
        "of them. More are refused with 429. Serve's max_ongoing_requests must be higher.",
    )


class ModelSettings(EngineSettings):
    """One of several models: its name, and any key of `engine` that differs."""

    model: str = Field(
        description="Catalogue name, local directory or Hugging Face id. Callers use it as the "
        "model's name; for a directory, they use the last part of its path."
    )
    memory_mib: int = Field(
        default=0,
        ge=0,
        description="Memory that each replica may use, in MiB. 0: as much as it is estimated to "
        "need at most. A local server does not start if all models together need more than the "
        "machine has.",
    )
    aliases: tuple[str, ...] = Field(
        default=(),
        description="More names for this model, such as the name of an Azure deployment.",
    )
    languages: tuple[str, ...] = Field(
        default=(),
        description="Languages of this model. A request that names one of them and no model goes "
        "to this model.",
    )

    @property
    def name(self) -> str:
        """What callers call it. Raises ``models.ModelNotFound`` for what cannot be a model."""
        return parse_reference(self.model).name

    @field_validator("languages")
    @classmethod
    def _are_languages(cls, languages: tuple[str, ...]) -> tuple[str, ...]:
        codes = {language: language_code(language) for language in languages}
        if unknown := [language for language, code in codes.items() if code is None]:
            raise ValueError(f"Whisper does not know the language {unknown[0]!r}")
        return tuple(code for code in codes.values() if code)


class EngineTunables(_Settings):
    """Settings that may change while the engine runs (``user_config`` of the Transcriber)."""

    encode_batch: int = Field(
        default=0, ge=0, le=64, description="Windows per encoder call. 0: 1 on a CPU, 8 on a GPU."
    )
    decode_batch: int = Field(default=8, ge=1, le=64, description="Windows per decoder call.")
    bulk_decode_batch: int = Field(
        default=0,
        ge=0,
        le=64,
        description="Windows per decoder call for requests longer than a minute, while shorter "
        "requests arrive; these wait for the call to end. 0: 2 on a CPU, the same as decode_batch "
        "on a GPU.",
    )
    partial_context: bool = Field(
        default=True,
        description="Encode a short window without most of the silence that pads it to 30 s. A "
        "window that decodes badly is encoded again in full.",
    )
    recover_speech: bool = Field(
        default=True,
        description="Hear again the speech that no word covers, and texts that fail the caller's "
        "thresholds. This applies to requests with batch_size above 1. Off: the text is "
        "faster-whisper's own, to the letter. The option recover of a request takes precedence.",
    )
    slack_seconds: float = Field(
        default=15.0,
        ge=0,
        le=600,
        description="How far a window may move ahead of its fair turn to fill a batch, in seconds "
        "of audio.",
    )


class HttpSettings(_Settings):
    """The HTTP side: paths, limits, strictness."""

    transcribe_paths: tuple[str, ...] = Field(
        default=("/transcribe", "/v1/transcribe", "/"),
        description="Paths that transcribe a POST.",
    )
    extra_transcribe_paths: tuple[str, ...] = Field(
        default=(), description="More such paths, for a caller whose path is fixed."
    )
    model_aliases: tuple[str, ...] = Field(
        default=(),
        description="More names for the model, or for the first of several, such as the name of "
        "an Azure deployment.",
    )
    strict_options: bool = Field(
        default=False,
        description="Answer 422 if anything in a request has no effect: an unknown option, part "
        "or parameter, or one of several values of an option. Off: it is ignored and named in the "
        "answer.",
    )
    cors_origins: tuple[str, ...] = Field(
        default=(),
        description="Origins of web pages that may use this server from a browser, such as "
        "`https://app.example.com`. `*`: all pages.",
    )
    max_body_bytes: int = Field(
        default=512 * 1024 * 1024, ge=1024, description="Largest request body, in bytes."
    )
    max_held_bytes: int = Field(
        default=2 * 1024**3,
        ge=1024,
        description="Most bytes that an Ingress replica holds for all requests in progress: their "
        "bodies and the audio decoded from them. Beyond that a request is answered with 429.",
    )
    max_header_bytes: int = Field(
        default=32 * 1024,
        ge=1024,
        description="Largest request head, in bytes of its path and headers.",
    )
    upload_idle_seconds: float = Field(
        default=20.0,
        gt=0,
        description="A request whose body stops coming for this long is answered with 408.",
    )
    upload_seconds: float = Field(
        default=900.0,
        gt=0,
        description="A request whose body takes longer than this is answered with 408.",
    )
    request_seconds: float = Field(
        default=14_400.0,
        gt=0,
        description="A transcription that takes longer than this is stopped and answered with 504.",
    )
    docs: Literal["key", "open", "off"] = Field(
        default="key",
        description="Who may read /docs and /openapi.json. key: holders of a key, or everyone if "
        "no key is set. open: everyone. off: nobody.",
    )

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"{origin!r} is not an origin; allowed: scheme://host or scheme://host:port in "
                    "lower case, without a path or a slash at the end, and *"
                )
        return origins


class SubtitleSettings(_Settings):
    """The layout of SRT and WebVTT. Wide characters, as in Chinese, count twice."""

    line_characters: int = Field(
        default=42, ge=10, le=200, description="Longest line, in characters. Words are never cut."
    )
    lines: int = Field(default=2, ge=1, le=4, description="Most lines in one subtitle.")
    max_seconds: float = Field(
        default=7.0,
        gt=0,
        le=30,
        description="Longest time that a subtitle covers, from its first word to its last.",
    )
    characters_per_second: float = Field(
        default=20.0,
        gt=0,
        le=100,
        description="Reading speed. A subtitle that people cannot read so fast stays longer, but "
        "not beyond the start of the next one.",
    )


class RemoteSettings(_Settings):
    """Audio that a caller names by a URL instead of sending it, as Deepgram's clients may."""

    allowed_hosts: tuple[str, ...] = Field(
        default=(),
        description="Hosts that audio may be fetched from, such as audio.example.com. "
        "*.example.com stands for every host below that name. A port other than the usual one is "
        "written as audio.example.com:8443. Empty: nothing is fetched.",
    )
    allow_private_addresses: bool = Field(
        default=False,
        description="Also fetch from an allowed host whose address is not public, such as a file "
        "store on your own network.",
    )
    seconds: float = Field(
        default=60.0,
        gt=0,
        le=3600,
        description="Longest time to fetch a file. The largest file is http.max_body_bytes.",
    )

    @field_validator("allowed_hosts")
    @classmethod
    def _are_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if not _HOST.fullmatch(host):
                raise ValueError(
                    f"{host!r} is not a host in lower case, such as audio.example.com, "
                    "*.example.com or audio.example.com:8443"
                )
        return hosts


class QuotaSettings(_Settings):
    """What each API key may use, counted by each Ingress replica. null: no limit.

    The keys file may set other values for a key.
    """

    concurrent_requests: int | None = Field(
        default=None, ge=1, description="Most requests of one key at the same time."
    )
    audio_seconds_per_minute: float | None = Field(
        default=None,
        gt=0,
        description="Seconds of audio that one key may send per minute. A whole minute's worth "
        "may come at once. Each window counts as at least 8 s, or as 30 s with batch_size 1.",
    )


class AdmissionSettings(_Settings):
    """When a Transcriber replica refuses a request with 429 instead of queueing it."""

    max_wait_seconds: float = Field(
        default=60.0,
        gt=0,
        description="Longest estimated wait for a short request, one of up to a minute of audio "
        "in up to a minute of windows, and for requests with X-Priority: interactive.",
    )
    bulk_max_wait_seconds: float = Field(
        default=3600.0,
        gt=0,
        description="Longest estimated wait for all other requests. Short "
        "requests go ahead of them.",
    )
    max_queued_audio_seconds: float = Field(
        default=28_800.0,
        gt=0,
        description="Most audio held at once, in seconds (8 hours). It bounds memory. Long "
        "requests may hold three quarters of it. A request is always accepted if no other is "
        "held.",
    )


class LiveSettings(_Settings):
    """Live sessions: speech to text while people speak. Bounds are per Ingress replica."""

    sessions: int = Field(
        default=256, ge=0, description="Most sessions at once; 0: no live sessions are taken."
    )
    sessions_per_key: int = Field(default=64, ge=1, description="Most sessions of one API key.")
    step_seconds: float = Field(
        default=0.6,
        ge=0.2,
        le=10,
        description="New speech after which a partial text is due; more while the server lags.",
    )
    # tiny.en, 450 s of hard recordings in utterances of 4 s: 13.5 % of the words are wrong without,
    # 9.9 % with 15 s, 9.1 % with 27 s, and 8.8 % if the file is heard as a whole.
    context_seconds: float = Field(
        default=15.0,
        ge=0,
        le=28,
        description="An utterance is heard for its final text along with what was said before, of "
        "so much audio in all, if its language is known. More costs time, less costs accuracy.",
    )
    draft_seconds: float = Field(
        default=3.0,
        gt=0,
        description="A partial text that has waited for the model for so long is not heard.",
    )
    unheard_seconds: float = Field(
        default=20.0,
        gt=0,
        description="Finished utterances that may wait for their text, in seconds of audio; beyond "
        "that no more is read from the client.",
    )
    final_seconds: float = Field(
        default=120.0,
        gt=0,
        description="How long the final text of an utterance is asked for while no model replica "
        "answers.",
    )
    resume_seconds: float = Field(
        default=30.0,
        ge=0,
        description="How long a session waits for a client whose connection has dropped.",
    )
    idle_seconds: float = Field(
        default=60.0,
        gt=0,
        description="A connection that sends neither audio nor a message for so long is closed.",
    )
    session_seconds: float = Field(
        default=14_400.0, gt=0, description="Longest session, in seconds of audio and of time."
    )
    message_bytes: int = Field(
        default=1024 * 1024, ge=1024, description="Largest message of a client, in bytes."
    )


class WyomingSettings(_Settings):
    """Wyoming, Home Assistant's protocol, on a port of its own: `python -m serve_app` only.

    It has no API keys: whoever reaches the port can use the server.
    """

    port: int | None = Field(
        default=None, ge=1, le=65_535, description="TCP port, by habit 10300; null: none."
    )
    host: str = Field(
        default="127.0.0.1", description="Address to listen on; 0.0.0.0: every interface."
    )


class DrainSettings(_Settings):
    """What SIGTERM does to ``python -m serve_app``. Ctrl-C stops it at once."""

    notice_seconds: float = Field(
        default=0.0,
        ge=0,
        description="How long /readyz answers 503 while requests are still accepted, so that load "
        "balancers stop sending them. Afterwards new requests get 503.",
    )
    seconds: float = Field(
        default=60.0,
        ge=0,
        description="How long the requests in progress may continue after that.",
    )


class LogSettings(_Settings):
    """The application's log, on stderr."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Lowest level that is logged. LOG_LEVEL takes precedence."
    )
    format: Literal["text", "json"] = Field(
        default="text", description="text: one line per event. json: one JSON object per event."
    )
    transcripts: bool = Field(
        default=False,
        description="Log each transcript at level debug. Off: no word of a transcript is logged.",
    )


class AppSettings(_Settings):
    """Arguments of the Serve application (``args`` in a Serve config)."""

    engine: EngineSettings = EngineSettings()
    models: tuple[ModelSettings, ...] = ()
    http: HttpSettings = HttpSettings()
    subtitles: SubtitleSettings = SubtitleSettings()
    remote: RemoteSettings = RemoteSettings()
    quota: QuotaSettings = QuotaSettings()
    admission: AdmissionSettings = AdmissionSettings()
    live: LiveSettings = LiveSettings()
    wyoming: WyomingSettings = WyomingSettings()
    drain: DrainSettings = DrainSettings()
    log: LogSettings = LogSettings()
    audio: AudioLimits = AudioLimits()
    decoding: WorkerLimits = WorkerLimits()
    options: OptionLimits = OptionLimits()

    @property
    def served(self) -> dict[str, ModelSettings]:
        """Each model by its name, with all of its settings; the first one is the default.

        Raises ``models.ModelNotFound`` for what cannot be a model.
        """
        shared = self.engine.model_dump()
        models = self.models or (ModelSettings(model=self.engine.model),)
        return {
            own.name: ModelSettings(**shared | own.model_dump(exclude_unset=True)) for own in models
        }

    @model_validator(mode="after")
    def _names_are_clear(self) -> Self:
        if self.models and "model" in self.engine.model_fields_set:
            raise ValueError("engine.model and models both name models; leave one of them out")
        names = [name for own in self.models for name in (own.name, *own.aliases)]
        names += self.http.model_aliases if self.models else ()
        routed = [language for own in self.models for language in own.languages]
        for kind, given in (("name", names), ("language", routed)):
            if twice := [one for one in given if given.count(one) > 1]:
                raise ValueError(f"models: the {kind} {twice[0]!r} is given more than once")
        return self


@dataclass(frozen=True)
class ApiKey:
    """Where the API keys are. They come from the environment, never from a profile."""

    key: str = field(default="", repr=False)
    header: str = "X-API-Key"
    keys_file: Path | None = None

    @classmethod
    def from_environment(cls) -> "ApiKey":
        """Read ``WHISPER_API_KEY``, ``WHISPER_API_KEY_HEADER`` and ``WHISPER_API_KEYS_FILE``.

        An empty value is unset.
        """
        keys_file = os.environ.get("WHISPER_API_KEYS_FILE")
        return cls(
            os.environ.get("WHISPER_API_KEY", ""),
            os.environ.get("WHISPER_API_KEY_HEADER") or cls.header,
            Path(keys_file) if keys_file else None,
        )
