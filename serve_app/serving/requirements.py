"""What a server on this machine cannot do without, in words.

It is looked at before Ray starts, so that what is wrong is reported here and not in the log of
another process. ``whisper-ox check`` goes through the same list.
"""

import os
import resource
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from serve_app import logs
from serve_app.api.edge.key_ring import KeyRing
from serve_app.engine import hardware
from serve_app.errors import NotReady
from serve_app.serving.ports import require_free
from serve_app.serving.profile import Profile
from serve_app.settings import ApiKey
from serve_app.tracing import wants_traces
from serve_app.wyoming import key_headers

OBJECT_STORE_BYTES = 256 * 1024 * 1024
"""Long clips pass through it from Ingress to Transcriber: 2.3 hours of 16 kHz PCM16 at once."""

SHARED_MEMORY = Path("/dev/shm")

TEMPORARY_BYTES = 100 * 1024 * 1024
"""Room for Ray's logs and sockets; a server writes a few MB a day there."""


def requirements(
    profile: Profile, metrics_host: str, metrics_port: int | None
) -> Mapping[str, Callable[[], object]]:
    """By subject: each raises ``WhisperOxError`` with what is missing and how to mend it."""
    http, settings = profile.config.http_options, profile.settings
    needed: dict[str, Callable[[], object]] = {
        "log": lambda: logs.from_environment(settings.log),
        "traces": wants_traces,
        "API keys": lambda: KeyRing(ApiKey.from_environment(), settings.quota),
        "port": lambda: require_free(http.host, http.port, "--port (make serve PORT=8001)"),
        "shared memory": lambda: require_shared_memory(OBJECT_STORE_BYTES),
        "temporary files": lambda: require_temporary_space(TEMPORARY_BYTES),
        "open files": require_open_files,
        "device": lambda: [hardware.pick_device(one.device) for one in settings.served.values()],
    }
    if metrics_port:
        needed["metrics port"] = lambda: require_free(metrics_host, metrics_port, "--metrics-port")
    if port := settings.wyoming.port:
        host = settings.wyoming.host
        needed["Wyoming's key"] = lambda: key_headers(ApiKey.from_environment())
        needed["Wyoming's port"] = lambda: require_free(host, port, "the setting wyoming.port")
    return needed


def require_shared_memory(n_bytes: int, directory: Path = SHARED_MEMORY) -> None:
    """Raise ``NotReady`` if the object store does not fit, because Ray would then put it on a
    disk.
    """
    if not directory.is_dir():
        return  # not Linux; docs/operations.md says what that means
    free = shutil.disk_usage(directory).free
    if free < n_bytes:
        raise NotReady(
            f"{directory} has {free >> 20} MiB free, {n_bytes >> 20} MiB are needed to hand audio "
            "from process to process. A container gets more with docker run --shm-size=1g, a pod "
            "with an emptyDir of medium Memory."
        )


def require_temporary_space(n_bytes: int) -> None:
    """Raise ``NotReady`` if Ray's logs and sockets have no room."""
    directory = Path(os.environ.get("RAY_TMPDIR") or "/tmp")
    try:
        free = shutil.disk_usage(directory).free
    except OSError as error:
        raise NotReady(f"{directory} cannot be used: {error.strerror}. Ray needs it.") from error
    if free < n_bytes:
        raise NotReady(
            f"The disk of {directory} is full: {free >> 20} MiB are free, {n_bytes >> 20} MiB are "
            "needed for Ray's logs and sockets. Delete old files there, such as /tmp/ray, or set "
            "RAY_TMPDIR to a directory on another disk."
        )


def require_open_files() -> None:
    """Raise ``NotReady`` if HAProxy may not open two files for each connection that it takes."""
    if os.environ.get("RAY_SERVE_ENABLE_HA_PROXY") != "1":
        return
    # HAProxy 2.8 adds its own listeners and health checks: 10276 for 4096 connections.
    needed = 2 * int(os.environ.get("RAY_SERVE_HAPROXY_MAXCONN", "4096")) + 2084
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < needed:
        raise NotReady(
            f"This process may open {most} files, HAProxy needs {needed}. Raise the hard limit: "
            "docker run --ulimit nofile=65536, LimitNOFILE=65536 in a systemd unit, or ulimit -Hn."
        )
