"""The HTTP side: paths, limits, subtitles and audio by URL."""

import re
from typing import Literal

from pydantic import Field, field_validator

from serve_app.settings.base import Settings

# As browsers send it, which is how it is compared.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.\-]*://[^/\sA-Z]+|null")
_HOST = re.compile(r"(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*(:[0-9]{1,5})?")


class HttpSettings(Settings):
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


class SubtitleSettings(Settings):
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


class RemoteSettings(Settings):
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
