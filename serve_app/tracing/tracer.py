"""The tracer of a process, if OpenTelemetry's own environment variables ask for one.

OpenTelemetry's SDK reads the rest of its variables by itself; docs/settings.md lists what matters.
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

    Raises ``InvalidSetting`` if it asks for something that cannot work.
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
        # The message leaves out the value, which may hold a password.
        raise InvalidSetting(
            f"The environment variable {name} must begin with http:// or https://.", field=name
        )
    return True


def tracer_of(deployment: str) -> Tracer:
    """The tracer of this process, a replica of ``deployment``. Raises ``InvalidSetting``.

    While traces are off, OpenTelemetry's SDK is not even imported.
    """
    if not wants_traces():
        return NO_TRACER
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    from serve_app.tracing.open_telemetry import OpenTelemetryTracer

    return OpenTelemetryTracer(OTLPSpanExporter(), deployment)


def _variable(name: str) -> str:
    return os.environ.get(name, "").strip().lower()
