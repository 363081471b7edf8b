"""Traces of requests, by OpenTelemetry where the operator asks for them: off by default."""
