"""Traces of requests, recorded if OpenTelemetry's own variables ask for them.

The rest of the server sees only ``span``. OpenTelemetry's SDK reads most of its variables itself;
docs/settings.md lists those that matter.
"""

import os

from serve_app.environment import choice
from serve_app.errors import InvalidSetting
from serve_app.tracing.span import NO_TRACER, Tracer

DISABLED_VARIABLE = "OTEL_SDK_DISABLED"
EXPORTER_VARIABLE = "OTEL_TRACES_EXPORTER"
ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOL_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


def wants_traces() -> bool:
    """Whether the environment asks for traces.

    Raises ``InvalidSetting`` if it asks for something that cannot work.
    """
    if _variable(DISABLED_VARIABLE) == "true":
        return False
    exporter = choice(EXPORTER_VARIABLE, ("otlp", "none"))
    endpoint = next(filter(_variable, ENDPOINT_VARIABLES), "")
    if exporter == "none" or not (exporter or endpoint):
        return False
    protocol = next(filter(_variable, PROTOCOL_VARIABLES), "")
    if protocol:
        choice(protocol, ("http/protobuf",))
    if endpoint and not _variable(endpoint).startswith(("http://", "https://")):
        # The value may hold a password, so the message leaves it out.
        raise InvalidSetting(
            f"The environment variable {endpoint} must begin with http:// or https://.",
            field=endpoint,
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
