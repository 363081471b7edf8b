"""A file over HTTP whose SHA-256 is known beforehand: resumed, retried, verified."""

import hashlib
import os
import re
import shutil
import ssl
import time
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from models.errors import (
    ChecksumMismatch,
    DiskFull,
    DownloadInterrupted,
    DownloadRefused,
    Offline,
    disk_full,
    is_disk_full,
)
from models.progress import ProgressMode, transfer

CHUNK_BYTES = 1 << 18
TIMEOUT_SECONDS = 30.0
ATTEMPTS = 5
BACKOFF_SECONDS = 1.0
#: A connection that brought at least this much before it broke does not count as a failed attempt.
PROGRESS_BYTES = 1 << 20
_TRY_AGAIN_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Patience:
    """When to give up: silence per read, consecutive fruitless attempts, first pause (doubled)."""

    timeout_seconds: float = TIMEOUT_SECONDS
    attempts: int = ATTEMPTS
    backoff_seconds: float = BACKOFF_SECONDS


class _CutError(Exception):
    """The connection broke; what arrived is in the partial file."""


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None,
    size_bytes: int | None = None,
    authorization: str | None = None,
    label: str | None = None,
    progress: ProgressMode = "auto",
    patience: Patience | None = None,
) -> Path:
    """Fetch ``url`` (http, https, file) to ``target``; return ``target``.

    Bytes collect in ``<target>.part``, which a later call continues with a Range request; the
    final name appears only once the SHA-256 (and ``size_bytes``, where given) fits. ``sha256``
    None: the size alone is checked. ``authorization`` goes to the URL's own host and to no other
    that it redirects to. Proxies and SSL_CERT_FILE are honoured.

    Raises ``Offline`` (never reached), ``DownloadInterrupted`` (part file kept),
    ``DownloadRefused``, ``ChecksumMismatch`` and ``DiskFull`` (part file removed).
    """
    patience = patience or Patience()
    part = target.with_name(target.name + ".part")
    label = label or target.name
    target.parent.mkdir(parents=True, exist_ok=True)
    resumed = _size(part) > 0
    fetch = _Fetch(url, authorization, part, label, progress, patience)
    _fetch_whole(fetch)
    misfit = _misfit(part, sha256, size_bytes)
    if misfit and resumed:
        # The old part may belong to another file: once more from the start before giving up.
        part.unlink()
        _fetch_whole(fetch)
        misfit = _misfit(part, sha256, size_bytes)
    if misfit:
        part.unlink()
        raise ChecksumMismatch(
            f"{label}: {misfit}; the download was thrown away. "
            "A proxy or mirror may have altered it: try again, or use another source"
        )
    os.replace(part, target)
    return target


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def require_space(directory: Path, needed_bytes: int, what: str) -> None:
    """Raise ``DiskFull`` unless ``directory``'s disk has ``needed_bytes`` free."""
    free = shutil.disk_usage(directory).free
    if free < needed_bytes:
        raise DiskFull(
            f"{what} needs {needed_bytes / 1e6:.0f} MB, {directory} has {free / 1e6:.0f} MB free; "
            "free some space or set WHISPER_OX_MODELS_DIR to a directory on a larger disk"
        )


def _misfit(part: Path, sha256: str | None, size_bytes: int | None) -> str | None:
    if size_bytes is not None and _size(part) != size_bytes:
        return f"{_size(part)} bytes came, expected {size_bytes}"
    if sha256 is not None and (found := file_sha256(part)) != sha256:
        return f"SHA-256 is {found}, expected {sha256}"
    return None


class _OwnHostAuthorization(HTTPRedirectHandler):
    """Keeps a token from the storage host that a hub redirects to."""

    def redirect_request(self, req: Request, *args: Any, **kwargs: Any) -> Request | None:
        redirected = super().redirect_request(req, *args, **kwargs)
        if redirected and urlsplit(redirected.full_url)[:2] != urlsplit(req.full_url)[:2]:
            redirected.remove_header("Authorization")
        return redirected


def open_url(
    url: str, headers: dict[str, str], authorization: str | None, timeout_seconds: float
) -> Any:
    """The response of one GET; raises what ``urllib.request.urlopen`` raises."""
    request = Request(url, headers={"User-Agent": "whisper-ox", **headers})
    if authorization:
        request.add_header("Authorization", authorization)
    return build_opener(_OwnHostAuthorization()).open(request, timeout=timeout_seconds)


@dataclass(frozen=True)
class _Fetch:
    """What one download needs to know at every attempt."""

    url: str
    authorization: str | None
    part: Path
    label: str
    progress: ProgressMode
    patience: Patience


def _fetch_whole(fetch: _Fetch) -> None:
    """Append to the part file until the server has nothing left to send."""
    part, label, patience = fetch.part, fetch.label, fetch.patience
    failures = 0
    ever_reached = False
    while True:
        before = _size(part)
        try:
            _fetch_once(fetch)
            return
        except _CutError as cut:
            cause: Exception = cut
            ever_reached = True
        except (URLError, TimeoutError, ConnectionError) as error:
            cause = error
        gained = _size(part) - before
        failures = 1 if gained >= PROGRESS_BYTES else failures + 1
        if failures >= patience.attempts:
            break
        time.sleep(patience.backoff_seconds * 2 ** (failures - 1))
    if ever_reached or _size(part):
        raise DownloadInterrupted(
            f"{label}: the connection broke {failures} times in a row ({cause}); "
            f"{_size(part) / 1e6:.1f} MB are kept, the same command goes on from there"
        ) from cause
    raise Offline(
        f"{label}: {urlsplit(fetch.url).hostname} cannot be reached ({cause}). Check the network "
        "and proxy, or bring the model as a bundle or a local directory"
    ) from cause


def _fetch_once(fetch: _Fetch) -> None:
    part, label = fetch.part, fetch.label
    offset = _size(part)
    validator = _validator(part)
    # identity: a compressed answer would have other offsets.
    headers = {"Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if validator.exists():
            headers["If-Range"] = validator.read_text()
    try:
        response = open_url(fetch.url, headers, fetch.authorization, fetch.patience.timeout_seconds)
    except HTTPError as error:
        error.close()
        if error.code == 416:  # nothing after our offset: whole, or too long and so not ours
            if _total_bytes(error.headers.get("Content-Range")) != offset:
                part.unlink()
                raise _CutError("the partial file does not fit the server's") from error
            return
        if error.code in _TRY_AGAIN_STATUS:
            raise _CutError(f"HTTP {error.code}") from error
        raise DownloadRefused(
            f"{label}: the server answered HTTP {error.code} {error.reason}"
        ) from error
    except URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise DownloadRefused(
                f"{label}: the server's certificate is not trusted ({error.reason}); point "
                "SSL_CERT_FILE at your organisation's certificates"
            ) from error
        raise
    with response:
        offset = _accepted_offset(response, offset)
        etag = response.headers.get("ETag")
        validator.unlink(missing_ok=True)
        if etag and not etag.startswith("W/"):  # If-Range needs a strong validator
            validator.write_text(etag)
        length = response.headers.get("Content-Length")
        total = offset + int(length) if length else None
        _append(response, fetch, offset, total)
    validator.unlink(missing_ok=True)


def _accepted_offset(response: Any, asked: int) -> int:
    """Where the body starts in the file: ``asked`` only if the server says exactly that."""
    content_range = response.headers.get("Content-Range") or ""
    match = re.match(r"bytes (\d+)-", content_range)
    return asked if match and int(match[1]) == asked else 0


def _append(response: IO[bytes], fetch: _Fetch, offset: int, total: int | None) -> None:
    part = fetch.part
    done = offset
    try:
        with (
            part.open("ab") as file,
            transfer(fetch.label, total, initial_bytes=offset, mode=fetch.progress) as advance,
        ):
            file.truncate(offset)
            while chunk := _read(response):
                file.write(chunk)
                done += len(chunk)
                advance(len(chunk))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        if is_disk_full(error):
            part.unlink()
            _validator(part).unlink(missing_ok=True)
            raise disk_full(part, error) from error
        raise
    if total is not None and done != total:
        raise _CutError(f"the server closed the connection at {done} of {total} bytes")


def _read(response: IO[bytes]) -> bytes:
    """One chunk; a broken connection is told apart from a failing disk here."""
    try:
        return response.read(CHUNK_BYTES)
    except (HTTPException, OSError) as error:
        raise _CutError(str(error) or type(error).__name__) from error


def _total_bytes(content_range: str | None) -> int | None:
    match = re.match(r"bytes \*/(\d+)$", content_range or "")
    return int(match[1]) if match else None


def _validator(part: Path) -> Path:
    """The file beside a part file that keeps the ETag it belongs to."""
    return part.with_name(part.name + ".etag")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
