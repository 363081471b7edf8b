"""The models, the hardware they run on, and what may change while they run."""

from typing import Literal

from pydantic import Field, field_validator

from models.reference import parse_reference
from serve_app.options.language import language_code
from serve_app.settings.base import Settings

DEFAULT_MODEL = "base"


class EngineSettings(Settings):
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
        description="Batches that run at the same time. 0: `cores` divided by "
        "`threads_per_worker`, or 2 on a GPU.",
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
        "uses AVX2 at most. auto: when it starts, the server measures AVX-512 on processors that "
        "have it and are not Intel's, which takes a second or two, and uses it if it is faster. "
        "The log line `CPU kernels` shows the choice; any other value fixes it, for example to "
        "have the same kernels on every node. The environment variable CT2_FORCE_CPU_ISA takes "
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
        description="Most requests that a replica holds at once; at most three quarters of them "
        "may be long. More are refused with 429. Serve's max_ongoing_requests must be higher.",
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
        description="Memory that each replica may use, in MiB. 0: the server's estimate of the "
        "most it needs. A local server does not start if all models together need more than the "
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


class EngineTunables(Settings):
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
        description="Encode short windows without most of the silence that pads them to 30 s. A "
        "window whose text repeats itself, is cut off, or has an average log-probability below "
        "-0.6 is encoded again with more of it. Requests with recover false or batch_size 1 do "
        "without this.",
    )
    recover_speech: bool = Field(
        default=True,
        description="The default of the option [recover](options.md), which decodes lost speech "
        "and bad texts again.",
    )
    slack_seconds: float = Field(
        default=30.0,
        ge=0,
        le=600,
        description="How far a window may move ahead of its fair turn to fill a batch, in seconds "
        "of audio. More: batches are fuller, but some windows wait longer. 0: strict order.",
    )
