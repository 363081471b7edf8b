"""Whether to trace: OpenTelemetry's own environment variables, off where they say nothing.

Its SDK reads the rest of them by itself; docs/settings.md lists what matters.
"""

import os

from serve_app.errors import InvalidSetting
from serve_app.tracing.span import NO_TRACER, Tracer

DISABLED_VARIABLE = "OTEL_SDK_DISABLED"
EXPORTER_VARIABLE = "OTEL_TRACES_EXPORTER"
ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOL_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")

PROTOCOL = "http/protobuf"


def wants_traces() -> bool:
    """Whether the environment asks for traces.

    Raises ``InvalidSetting`` where it asks for what cannot work.
    """
    if _variable(DISABLED_VARIABLE) == "true":
        return False
    exporter = _variable(EXPORTER_VARIABLE)
    if exporter not in ("", "otlp", "none"):
        raise InvalidSetting(
            f"The environment variable {EXPORTER_VARIABLE} is {exporter[:40]!r}; allowed: otlp, "
            "none.",
            field=EXPORTER_VARIABLE,
        )
    if exporter == "none" or not (exporter or any(map(_variable, ENDPOINT_VARIABLES))):
        return False
    name = next(filter(_variable, PROTOCOL_VARIABLES), "")
    if name and _variable(name) != PROTOCOL:
        raise InvalidSetting(
            f"The environment variable {name} is {_variable(name)[:40]!r}; allowed: {PROTOCOL}, "
            "for which collectors listen on port 4318.",
            field=name,
        )
    name = next(filter(_variable, ENDPOINT_VARIABLES), "")
    if name and not _variable(name).startswith(("http://", "https://")):
        # Its value is not told: a password may be in it.
        raise InvalidSetting(
            f"The environment variable {name} must begin with http:// or https://.", field=name
        )
    return True


def tracer_of(deployment: str) -> Tracer:
    """The tracer of this process, a replica of ``deployment``. Raises ``InvalidSetting``.

    Where traces are off OpenTelemetry's SDK is not even imported.
    """
    if not wants_traces():
        return NO_TRACER
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    from serve_app.tracing.open_telemetry import OpenTelemetryTracer

    return OpenTelemetryTracer(OTLPSpanExporter(), deployment)


def _variable(name: str) -> str:
    return os.environ.get(name, "").strip().lower()
