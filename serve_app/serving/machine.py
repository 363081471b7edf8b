"""What an operator should know of a machine before a server runs on it, each finding in words.

What depends on the machine is read in :func:`examine`; the functions below it judge plain figures.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import serve_app
from models import ModelError, resolve, verify
from models.download import require_space
from models.failures import Offline
from models.manifest import Manifest
from models.reference import parse_name
from models.store import ModelStore
from serve_app import cgroup
from serve_app.cpus import available_cpus
from serve_app.engine.budget import MEBIBYTE, PROCESS_MIB, SERVER_MIB, shared_out
from serve_app.engine.hardware import available_memory, pick_device
from serve_app.errors import NotReady, WhisperOxError
from serve_app.serving.profile import Profile
from serve_app.serving.requirements import requirements
from serve_app.settings import ModelSettings

SERVER_THREADS = 1000
"""Processes and threads of a busy server, with room to spare."""


class Grade(Enum):
    """How bad a finding is; with an ``ERROR`` the server does not start or soon dies."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Finding:
    """One fact. The text of a warning or an error says what to do."""

    subject: str
    grade: Grade
    text: str = ""


def examine(profile: Profile, metrics_host: str, metrics_port: int | None) -> Iterator[Finding]:
    """Look at this machine as a server with ``profile`` would find it."""
    yield cores(available_cpus(), reserved_cores(profile.deployment_options))
    served = profile.settings.served
    for settings in served.values():
        yield _model(settings.model)
    yield memory(available_memory(), served, profile.replicas, available_cpus())
    yield threads(cgroup.max_processes())
    for subject, require in requirements(profile, metrics_host, metrics_port).items():
        try:
            require()
            yield Finding(subject, Grade.OK)
        except WhisperOxError as error:
            yield Finding(subject, Grade.ERROR, error.message)
    yield clock(time.time(), Path(serve_app.__file__).stat().st_mtime)


def cores(available: int, reserved: float) -> Finding:
    """``reserved``: cores that Ray sets aside for the profile's processes."""
    if reserved > available:
        text = (
            f"The profile reserves {reserved:g} cores and this process may use {available}, so its "
            "processes would never start. Give the container or virtual machine more cores, or "
            "lower num_cpus in the profile."
        )
        return Finding("cores", Grade.ERROR, text)
    if available == 1:
        text = (
            "This process may use one core, which the model, audio decoding and HTTP share; "
            "answers wait for one another. Give it two or more: docker run --cpus=2, a higher CPU "
            "limit of the pod, or a wider taskset."
        )
        return Finding("cores", Grade.WARNING, text)
    return Finding("cores", Grade.OK, f"{available} cores may be used")


def reserved_cores(deployments: dict[str, dict[str, Any]]) -> float:
    """What Ray sets aside for the fewest replicas of each deployment; one core each by default."""
    return sum(
        float((options.get("ray_actor_options") or {}).get("num_cpus", 1))
        * _fewest_replicas(options)
        for options in deployments.values()
    )


def _fewest_replicas(options: dict[str, Any]) -> int:
    scaling = options.get("autoscaling_config") or {}
    return int(scaling.get("min_replicas") or options.get("num_replicas") or 1)


def memory(
    limit: int, models: Mapping[str, ModelSettings], replicas: Mapping[str, int], n_cores: int
) -> Finding:
    """``limit``: bytes that the container or the machine has, for so many ``replicas`` of each."""
    least = (SERVER_MIB + PROCESS_MIB) * MEBIBYTE
    if limit < least:
        text = (
            f"{limit // MEBIBYTE} MiB may be used, and a server needs {least // MEBIBYTE} MiB "
            "besides its model; the kernel would kill it. Raise the limit: docker run --memory, or "
            "resources.limits.memory of the pod."
        )
        return Finding("memory", Grade.ERROR, text)
    try:
        for settings in models.values():
            pick_device(settings.device)
    except NotReady:  # which is a finding of its own
        return Finding("memory", Grade.OK, f"{limit // MEBIBYTE} MiB may be used")
    try:
        shared_out(models, replicas, n_cores, limit)
    except NotReady as error:
        # A server of several models refuses to start, a single model may still fit.
        grade = Grade.ERROR if len(models) > 1 else Grade.WARNING
        return Finding("memory", grade, error.message)
    return Finding("memory", Grade.OK, f"{limit // MEBIBYTE} MiB may be used")


def threads(most: int | None) -> Finding:
    """``most``: processes and threads that the container may have; None without a limit."""
    if most is not None and most < SERVER_THREADS:
        text = (
            f"The container may have {most} processes and threads, a server can use "
            f"{SERVER_THREADS}. Raise it: docker run --pids-limit=-1, or podPidsLimit of the "
            "kubelet."
        )
        return Finding("threads", Grade.ERROR, text)
    return Finding("threads", Grade.OK, "no limit" if most is None else f"up to {most}")


def clock(now: float, installed_at: float) -> Finding:
    """Both in seconds since 1970; ``installed_at``: when this program was put here."""
    day = time.strftime("%d %B %Y", time.gmtime(now))
    if now < installed_at - 86_400:
        text = (
            f"The clock says {day}, which is before this program was installed. Downloads fail "
            "with certificates that are not valid yet, and logs have wrong times. Set it, for "
            "instance with: timedatectl set-ntp true"
        )
        return Finding("clock", Grade.WARNING, text)
    return Finding("clock", Grade.OK, day)


def _model(name: str) -> Finding:
    """What is to be said of the model's files, all of which are read."""
    try:
        local = resolve(name, allow_download=False)
        has_manifest = Manifest.read(local.path) is not None
        if has_manifest:
            verify(name)
    except Offline:
        return _absent(name)
    except ModelError as error:
        advice = "" if Path(name).is_dir() else f" Run: python -m models fetch --force {name}"
        return Finding("model", Grade.ERROR, f"{error.message}.{advice}")
    state = "its files have the recorded hashes" if has_manifest else "it has no record of hashes"
    return Finding("model", Grade.OK, f"{local.path}: {state}")


def _absent(name: str) -> Finding:
    reference, folder = parse_name(name), ModelStore.at(None).root
    n_bytes = min(source.fetch_bytes for source in reference.sources)
    try:
        require_space(_existing(folder), n_bytes, name)
    except ModelError as error:
        return Finding("model", Grade.ERROR, f"It is not on this machine. {error.message}.")
    size = f" ({n_bytes / 1e6:.0f} MB)" if n_bytes else ""
    text = (
        f"{name} is not in {folder}, so the first start downloads it{size}. Without a network, "
        "fetch it elsewhere and bring it here (docs/models.md)."
    )
    return Finding("model", Grade.WARNING, text)


def _existing(folder: Path) -> Path:
    return next(one for one in (folder, *folder.parents) if one.exists())
