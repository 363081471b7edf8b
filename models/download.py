"""Downloads one file over HTTP, with resuming and retries, and checks its SHA-256 or size."""

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

from models.failures import (
    ChecksumMismatch,
    DiskFull,
    DownloadInterrupted,
    DownloadRefused,
    Offline,
    explain_full_disk,
)
from models.progress import transfer

CHUNK_BYTES = 1 << 18
#: How long a connection may be silent.
TIMEOUT_SECONDS = 30.0
#: How many attempts in a row may fail. One that brings ``PROGRESS_BYTES`` starts the count anew.
ATTEMPTS = 5
PROGRESS_BYTES = 1 << 20
#: Pause after the first failed attempt; each further pause is twice as long.
BACKOFF_SECONDS = 1.0
_TRY_AGAIN_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


class _CutError(Exception):
    """The connection broke; the partial file has what arrived."""


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None,
    size_bytes: int | None = None,
    authorization: str | None = None,
    label: str | None = None,
    quiet: bool = False,
) -> Path:
    """Fetch ``url`` (http, https, file) to ``target``; return ``target``.

    Bytes collect in ``<target>.part``, which a later call continues with a Range request. The file
    gets its final name once it has the given SHA-256 and size; either may be None. The header
    ``authorization`` is sent to the URL's own host and not to others that it redirects to. Proxies
    and SSL_CERT_FILE are honoured.

    Raises ``Offline`` if the server was never reached, ``DownloadInterrupted`` (keeps the partial
    file), ``DownloadRefused``, ``ChecksumMismatch`` and ``DiskFull`` (remove it).
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    file = _PartialFile(url, authorization, part, label or target.name, quiet)
    resumed = file.size_bytes > 0
    file.complete()
    misfit = file.misfit(sha256, size_bytes)
    if misfit and resumed:
        # The old part may belong to another file, so start again before giving up.
        part.unlink()
        file.complete()
        misfit = file.misfit(sha256, size_bytes)
    if misfit:
        part.unlink()
        raise ChecksumMismatch(
            f"{file.label}: {misfit}; the download was thrown away. "
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
    """Raise ``DiskFull`` unless the disk of ``directory`` has ``needed_bytes`` free."""
    free = shutil.disk_usage(directory).free
    if free < needed_bytes:
        raise DiskFull(
            f"{what} needs {needed_bytes / 1e6:.0f} MB, {directory} has {free / 1e6:.0f} MB free; "
            "free some space or set WHISPER_OX_MODELS_DIR to a directory on a larger disk"
        )


class _OwnHostAuthorization(HTTPRedirectHandler):
    """Does not show the token to the storage host that a hub redirects to."""

    def redirect_request(self, req: Request, *args: Any, **kwargs: Any) -> Request | None:
        redirected = super().redirect_request(req, *args, **kwargs)
        if redirected and urlsplit(redirected.full_url)[:2] != urlsplit(req.full_url)[:2]:
            redirected.remove_header("Authorization")
        return redirected


def open_url(url: str, authorization: str | None, headers: dict[str, str] | None = None) -> Any:
    """The response to one GET; raises what ``urllib.request.urlopen`` raises."""
    request = Request(url, headers={"User-Agent": "whisper-ox", **(headers or {})})
    if authorization:
        request.add_header("Authorization", authorization)
    return build_opener(_OwnHostAuthorization()).open(request, timeout=TIMEOUT_SECONDS)


@dataclass(frozen=True)
class _PartialFile:
    """The bytes of ``url`` that are in ``part`` so far."""

    url: str
    authorization: str | None
    part: Path
    label: str
    quiet: bool

    @property
    def size_bytes(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    @property
    def _validator(self) -> Path:
        """The file with the ETag to which the partial file belongs."""
        return self.part.with_name(self.part.name + ".etag")

    def misfit(self, sha256: str | None, size_bytes: int | None) -> str | None:
        """How the file differs from what was announced, or None."""
        if size_bytes is not None and self.size_bytes != size_bytes:
            return f"{self.size_bytes} bytes came, expected {size_bytes}"
        if sha256 is not None and (found := file_sha256(self.part)) != sha256:
            return f"SHA-256 is {found}, expected {sha256}"
        return None

    def complete(self) -> None:
        """Append until the server has nothing left to send."""
        failures = 0
        reached = False
        while True:
            before = self.size_bytes
            try:
                self._attempt()
                return
            except _CutError as cut:
                cause: Exception = cut
                reached = True
            except (URLError, HTTPException, TimeoutError, ConnectionError) as error:
                cause = error
            failures = 1 if self.size_bytes - before >= PROGRESS_BYTES else failures + 1
            if failures >= ATTEMPTS:
                break
            time.sleep(BACKOFF_SECONDS * 2 ** (failures - 1))
        if reached or self.size_bytes:
            raise DownloadInterrupted(
                f"{self.label}: the connection broke {failures} times in a row ({cause}); "
                f"{self.size_bytes / 1e6:.1f} MB are kept, and the same command continues there"
            ) from cause
        raise Offline(
            f"{self.label}: {urlsplit(self.url).hostname} cannot be reached ({cause}). Check the "
            "network and proxy, or bring the model as a bundle or a local directory"
        ) from cause

    def _attempt(self) -> None:
        """Append what one request returns. Raises ``_CutError`` if that is not all of it."""
        offset = self.size_bytes
        # A compressed answer would have other offsets.
        headers = {"Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if self._validator.exists():
                headers["If-Range"] = self._validator.read_text()
        try:
            response = open_url(self.url, self.authorization, headers)
        except HTTPError as error:
            error.close()
            if error.code == 416:  # there is nothing after our offset
                if _total_bytes(error.headers.get("Content-Range")) == offset:
                    return
                self.part.unlink()
                raise _CutError("the partial file does not belong to the server's") from error
            if error.code in _TRY_AGAIN_STATUS:
                raise _CutError(f"HTTP {error.code}") from error
            raise DownloadRefused(
                f"{self.label}: the server answered HTTP {error.code} {error.reason}", error.code
            ) from error
        except URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                raise DownloadRefused(
                    f"{self.label}: the server's certificate is not trusted ({error.reason}); "
                    "point SSL_CERT_FILE at your organisation's certificates"
                ) from error
            raise
        with response:
            offset = _accepted_offset(response, offset)
            etag = response.headers.get("ETag")
            self._validator.unlink(missing_ok=True)
            if etag and not etag.startswith("W/"):  # If-Range needs a strong validator
                self._validator.write_text(etag)
            length = response.headers.get("Content-Length")
            self._append(response, offset, offset + int(length) if length else None)
        self._validator.unlink(missing_ok=True)

    def _append(self, response: IO[bytes], offset: int, total: int | None) -> None:
        done = offset
        try:
            with (
                explain_full_disk(self.part),
                self.part.open("ab") as file,
                transfer(self.label, total, initial_bytes=offset, quiet=self.quiet) as advance,
            ):
                file.truncate(offset)
                while chunk := _read(response):
                    file.write(chunk)
                    done += len(chunk)
                    advance(len(chunk))
                file.flush()
                os.fsync(file.fileno())
        except DiskFull:
            self.part.unlink()
            self._validator.unlink(missing_ok=True)
            raise
        if total is not None and done != total:
            raise _CutError(f"the server closed the connection at {done} of {total} bytes")


def _read(response: IO[bytes]) -> bytes:
    """One chunk. Only a broken connection raises ``_CutError``, a failing disk does not."""
    try:
        return response.read(CHUNK_BYTES)
    except (HTTPException, OSError) as error:
        raise _CutError(str(error) or type(error).__name__) from error


def _accepted_offset(response: Any, asked: int) -> int:
    """Where the body starts in the file: at ``asked`` only if the server says exactly that."""
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range") or "")
    return asked if match and int(match[1]) == asked else 0


def _total_bytes(content_range: str | None) -> int | None:
    match = re.match(r"bytes \*/(\d+)$", content_range or "")
    return int(match[1]) if match else None
