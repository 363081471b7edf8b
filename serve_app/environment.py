"""Environment variables: defaults for Ray's, and how ours are read.

docs/settings.md says what each of them does.
"""

import os
from collections.abc import Sequence

from serve_app.errors import InvalidSetting

SET_BY_EVERY_SERVER = {
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serve_app.serving.proxy_errors:middlewares",
    "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "60",
    "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": "65536",
    "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "14400",
    "RAY_SERVE_PORT_QUARANTINE_S": "150",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "20",
    "RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_automatic_object_spilling_enabled": "0",
    "RAY_object_spilling_directory": "/dev/shm",
    "RAY_worker_niceness": "0",
}
"""Defaults of a local server, and of the images for a cluster."""

SET_BY_A_LOCAL_SERVER = {
    **SET_BY_EVERY_SERVER,
    "RAY_AUTH_MODE": "token",
    "RAY_DEDUP_LOGS": "0",
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}
"""The same, and those that suit only Ray on one machine."""


def set_defaults() -> None:
    """Set a local server's defaults, for this process and those that it starts.

    Call it before Ray is imported. It does not change what the operator has set.
    """
    for name, default in SET_BY_A_LOCAL_SERVER.items():
        os.environ.setdefault(name, default)


def choice(name: str, allowed: Sequence[str]) -> str:
    """The variable's value, in lower case; "" if it is unset or blank.

    Raises ``InvalidSetting`` for a value that is not ``allowed``.
    """
    value = os.environ.get(name, "").strip().lower()
    if value and value not in allowed:
        raise not_allowed(name, ", ".join(allowed))
    return value


def not_allowed(name: str, allowed: str) -> InvalidSetting:
    """The error for the variable's present value. ``allowed`` says in words what it may be."""
    value = os.environ.get(name, "")[:40]
    return InvalidSetting(
        f"The environment variable {name} is {value!r}; allowed: {allowed}.", field=name
    )
