"""Traces of requests, which OpenTelemetry records if the operator asks for them."""
