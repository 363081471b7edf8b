"""Every setting and its default, stated once. Unknown keys are errors."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from serve_app.audio.limits import AudioLimits, WorkerLimits
from serve_app.options import OptionLimits

DEFAULT_MODEL = "base"

# As browsers send it, which is how it is compared.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.\-]*://[^/\sA-Z]+|null")
_HOST = re.compile(r"(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*(:[0-9]{1,5})?")


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EngineSettings(_Settings):
    """The model and the machine under it; a change restarts the Transcriber replicas."""

    model: str = Field(
        default=DEFAULT_MODEL,
        description="Catalogue name, local directory or Hugging Face id of the model.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where the model runs; auto takes a GPU if there is one."
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
        default="auto", description="CTranslate2 compute type; auto: int8 on CPU, float16 on GPU."
    )
    workers: int = Field(
        default=0,
        ge=0,
        le=256,
        description="Batches in flight at once; 0: one per available CPU core, on a GPU 2.",
    )
    threads_per_worker: int = Field(
        default=1, ge=1, le=256, description="CPU threads of each worker."
    )
    whole_machine_worker: bool = Field(
        default=True,
        description="On a CPU, keep a second copy of the weights whose one worker uses every "
        "core, for a request that has the machine to itself.",
    )
    cpu_isa: Literal["auto", "AVX512", "AVX2", "AVX", "NEON", "GENERIC"] = Field(
        default="auto",
        description="Instruction set of CTranslate2's kernels on a CPU. CTranslate2 takes at most "
        "AVX2 by itself; auto: AVX512 instead where a measurement at start-up, of a second or "
        "two, finds it faster. CT2_FORCE_CPU_ISA in the environment takes precedence.",
    )
    bind_to_numa_node: bool = Field(
        default=False,
        description="On a CPU with several NUMA nodes, keep each replica's threads and memory to "
        "one of them; run as many replicas as there are nodes.",
    )
    stall_seconds: float = Field(
        default=600.0,
        gt=0,
        description="A batch that runs for longer than this, and for twenty times as long as is "
        "usual for its size, has stalled, and Serve replaces the replica.",
    )
    max_concurrent_requests: int = Field(
        default=1024,
        ge=1,
        le=4096,
        description="Requests held at once; bulk requests may be three quarters of them, more are "
        "refused with 429. Serve's max_ongoing_requests must be higher.",
    )


class EngineTunables(_Settings):
    """What may change while the engine runs (Serve ``user_config`` of the Transcriber)."""

    encode_batch: int = Field(
        default=0, ge=0, le=64, description="Windows per encoder call; 0: 1 on CPU, 8 on a GPU."
    )
    decode_batch: int = Field(default=8, ge=1, le=64, description="Windows per decoder call.")
    bulk_decode_batch: int = Field(
        default=0,
        ge=0,
        le=64,
        description="Windows per decoder call of requests longer than a minute while shorter ones "
        "come in, which wait for that call to end; 0: 2 on CPU, as decode_batch on a GPU.",
    )
    partial_context: bool = Field(
        default=True,
        description="Encode short windows without most of the silence that pads them to 30 s, and "
        "in full only those that decode badly.",
    )
    recover_speech: bool = Field(
        default=True,
        description="Hear again what VAD heard but no word covers, and what fails the caller's "
        "thresholds, where windows are decoded in parallel (batch_size above 1). Off: the text is "
        "faster-whisper's to the letter. A request's own recover takes precedence.",
    )
    slack_seconds: float = Field(
        default=15.0,
        ge=0,
        le=600,
        description="How far fair order bends so that windows of several requests share a batch, "
        "in seconds of audio.",
    )


class HttpSettings(_Settings):
    """The HTTP side: paths, limits, strictness."""

    transcribe_paths: tuple[str, ...] = Field(
        default=("/transcribe", "/v1/transcribe", "/"),
        description="Paths that answer the contract's POST.",
    )
    extra_transcribe_paths: tuple[str, ...] = Field(
        default=(), description="Further aliases, for a caller whose path is fixed."
    )
    model_aliases: tuple[str, ...] = Field(
        default=(),
        description="Further names of the model under OpenAI's paths, such as a deployment's name "
        "in Azure.",
    )
    strict_options: bool = Field(
        default=False,
        description="Answer 422 to unknown options, parts and parameters, and to an option with "
        "several values, instead of ignoring what has no effect.",
    )
    cors_origins: tuple[str, ...] = Field(
        default=(),
        description="Origins whose pages may use this server from a browser, such as "
        "`https://app.example.com`; `*`: all pages.",
    )
    max_body_bytes: int = Field(
        default=512 * 1024 * 1024, ge=1024, description="Largest request body, in bytes."
    )
    max_held_bytes: int = Field(
        default=2 * 1024**3,
        ge=1024,
        description="Most bytes of bodies and of audio unpacked from them that an Ingress replica "
        "holds for all requests in progress; beyond that a request is answered with 429.",
    )
    max_header_bytes: int = Field(
        default=32 * 1024,
        ge=1024,
        description="Largest request head, in bytes of its path and headers.",
    )
    upload_idle_seconds: float = Field(
        default=20.0,
        gt=0,
        description="A request whose body stops coming for so long is answered with 408.",
    )
    upload_seconds: float = Field(
        default=900.0, gt=0, description="A body that takes longer to come is answered with 408."
    )
    request_seconds: float = Field(
        default=14_400.0,
        gt=0,
        description="A transcription that takes longer is given up and answered with 504.",
    )
    docs: Literal["key", "open", "off"] = Field(
        default="key",
        description="Who may read /docs and /openapi.json: holders of a key (everyone where no key "
        "is set), everyone, or nobody.",
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
    """How SRT and WebVTT are laid out. Wide characters, as in Chinese, count twice."""

    line_characters: int = Field(
        default=42, ge=10, le=200, description="Longest line, in characters; words are never cut."
    )
    lines: int = Field(default=2, ge=1, le=4, description="Most lines of one subtitle.")
    max_seconds: float = Field(
        default=7.0, gt=0, le=30, description="Longest time from its first word to its last."
    )
    characters_per_second: float = Field(
        default=20.0,
        gt=0,
        le=100,
        description="Reading speed: a subtitle that would have to be read faster stays longer, up "
        "to the next one.",
    )


class RemoteSettings(_Settings):
    """Audio that a caller names by a URL instead of sending it, which Deepgram's clients may do."""

    allowed_hosts: tuple[str, ...] = Field(
        default=(),
        description="Hosts that audio may be fetched from, such as audio.example.com, or "
        "*.example.com for every host below that; with :8443, on that port instead of the usual "
        "one. Empty: nothing is fetched.",
    )
    allow_private_addresses: bool = Field(
        default=False,
        description="Fetch also from an allowed host whose address is not public, such as a file "
        "store on your own network.",
    )
    seconds: float = Field(
        default=60.0,
        gt=0,
        le=3600,
        description="Longest time to fetch a file. It may be as large as http.max_body_bytes.",
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
    """What each API key may use at once and over time, per Ingress replica; null: no bound.

    The keys file may say otherwise for a key.
    """

    concurrent_requests: int | None = Field(
        default=None, ge=1, description="Requests of one key that may run at once."
    )
    audio_seconds_per_minute: float | None = Field(
        default=None,
        gt=0,
        description="Audio that one key may send per minute, in seconds; a minute's worth may come "
        "at once. Each window counts as at least the 8 s that the model is shown of it, or 30 s "
        "with batch_size 1.",
    )


class AdmissionSettings(_Settings):
    """When a request is refused with 429 rather than queued, per Transcriber replica."""

    max_wait_seconds: float = Field(
        default=60.0,
        gt=0,
        description="Longest estimated wait, before its own work begins, of a request of up to a "
        "minute of audio in up to a minute of windows, or with X-Priority: interactive.",
    )
    bulk_max_wait_seconds: float = Field(
        default=3600.0, gt=0, description="The same for all others, which let those go ahead."
    )
    max_queued_audio_seconds: float = Field(
        default=28_800.0,
        gt=0,
        description="Most audio held at once, in seconds (8 hours), a bound on memory; each window "
        "counts as at least what the model is shown of it. Bulk requests may hold three quarters "
        "of it. One of any length is always taken.",
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
    # tiny.en, 690 s read aloud in utterances of 4 s: 13.5 % of the words of a hard recording are
    # wrong without, 9.9 % with 15 s, 9.1 % with 27 s, and 8.8 % if the file is heard as a whole.
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


class DrainSettings(_Settings):
    """What SIGTERM does to ``python -m serve_app``; Ctrl-C stops it at once."""

    notice_seconds: float = Field(
        default=0.0,
        ge=0,
        description="How long /readyz says 503 while requests are still taken, so that load "
        "balancers turn away first; after that, requests are refused with 503.",
    )
    seconds: float = Field(
        default=60.0,
        ge=0,
        description="How long requests that are running then may go on until they are cut off.",
    )


class LogSettings(_Settings):
    """The application's log on stderr."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Lowest level that is logged; LOG_LEVEL overrides it."
    )
    format: Literal["text", "json"] = Field(
        default="text", description="One line of text or one JSON object per event."
    )
    transcripts: bool = Field(
        default=False,
        description="Log each transcript at debug. Off, no word of it is logged anywhere.",
    )


class AppSettings(_Settings):
    """Arguments of the Serve application (``args`` in a Serve config)."""

    engine: EngineSettings = EngineSettings()
    http: HttpSettings = HttpSettings()
    subtitles: SubtitleSettings = SubtitleSettings()
    remote: RemoteSettings = RemoteSettings()
    quota: QuotaSettings = QuotaSettings()
    admission: AdmissionSettings = AdmissionSettings()
    live: LiveSettings = LiveSettings()
    drain: DrainSettings = DrainSettings()
    log: LogSettings = LogSettings()
    audio: AudioLimits = AudioLimits()
    decoding: WorkerLimits = WorkerLimits()
    options: OptionLimits = OptionLimits()


@dataclass(frozen=True)
class ApiKey:
    """Where the optional API keys are. This comes from the environment, never from a profile."""

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
