"""Model files from Hugging Face.

``huggingface_hub`` says where the hub is, with which token to ask and whether it may be asked
(HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE). The transfer is our own, so that a pinned hash is checked
before a file gets its name, and a cut connection or a full disk has one clear error.
"""

import json
import re
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote

from models.download import download, open_url
from models.entry import HuggingFaceSource, ModelFile
from models.failures import DownloadRefused, Offline
from models.manifest import MODEL_FILES, require_files

_COMMIT = re.compile(r"[0-9a-f]{40}")
_PRIVATE = "; no such repository, or a private or gated one: check the id, set HF_TOKEN"
_ADVICE = {401: _PRIVATE, 403: _PRIVATE, 404: "; check the repository's id and revision"}


def pinned(source: HuggingFaceSource) -> HuggingFaceSource:
    """``source`` with its commit, files and licence. A pinned source needs no request.

    Raises ``Offline``, ``DownloadRefused``, and ``ModelInvalid`` if the repository does not hold a
    CTranslate2 model.
    """
    if source.revision and source.files:
        return source
    info = _model_info(source, _Hub.from_environment())
    files = tuple(
        ModelFile(file["rfilename"], int(file["size"]), (file.get("lfs") or {}).get("sha256"))
        for file in info.get("siblings", ())
        if file["rfilename"] in MODEL_FILES
    )
    revision = info["sha"]
    if not (isinstance(revision, str) and _COMMIT.fullmatch(revision)):  # it names a folder
        raise DownloadRefused(f"{source}: the hub's revision {revision!r:.60} is not a Git commit")
    require_files((file.name for file in files), f"{source.repo} on Hugging Face")
    licence = (info.get("cardData") or {}).get("license")
    return replace(
        source,
        revision=revision,
        files=files,
        licence=licence if isinstance(licence, str) else None,
    )


def download_files(source: HuggingFaceSource, directory: Path, *, quiet: bool = False) -> None:
    """Download the files of a pinned source into ``directory``, except those already there.

    Raises what :func:`models.download.download` raises.
    """
    hub = _Hub.from_environment()
    for file in source.files:
        if (directory / file.name).exists():
            continue
        try:
            download(
                f"{hub.endpoint}/{source.repo}/resolve/{source.revision}/{file.name}",
                directory / file.name,
                sha256=file.sha256,
                size_bytes=file.size_bytes,
                authorization=hub.authorization,
                label=f"{source.repo} {file.name}",
                quiet=quiet,
            )
        except DownloadRefused as refused:
            advice = _ADVICE.get(refused.http_status or 0, "")
            raise DownloadRefused(refused.message + advice, refused.http_status) from refused


@dataclass(frozen=True)
class _Hub:
    """A hub's address, and the header that authorizes us if there is a token."""

    endpoint: str
    authorization: str | None

    @classmethod
    def from_environment(cls) -> "_Hub":
        """As huggingface_hub is configured; raises ``Offline`` if it must stay offline."""
        # Imported here because it takes half a second, which an installed model need not pay.
        from huggingface_hub import constants, get_token

        if constants.HF_HUB_OFFLINE:
            raise Offline("HF_HUB_OFFLINE is set, so Hugging Face is not asked")
        token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
        return cls(constants.ENDPOINT, f"Bearer {token}" if token else None)


def _model_info(source: HuggingFaceSource, hub: _Hub) -> dict[str, Any]:
    """The answer of the hub's "get model info" with file sizes and LFS hashes (``blobs=true``)."""
    revision = quote(source.revision or "main", safe="")
    url = f"{hub.endpoint}/api/models/{source.repo}/revision/{revision}?blobs=true"
    try:
        with open_url(url, hub.authorization) as response:
            info = json.load(response)
    except HTTPError as error:
        error.close()
        raise DownloadRefused(
            f"{source}: the hub answered HTTP {error.code}{_ADVICE.get(error.code, '')}", error.code
        ) from error
    except (OSError, HTTPException) as error:
        raise Offline(
            f"{source}: {hub.endpoint} cannot be reached ({error}). Check the network and proxy, "
            "set HF_ENDPOINT to a mirror, or bring the model as a bundle or a local directory"
        ) from error
    except ValueError:
        info = None
    if not isinstance(info, dict) or "sha" not in info:
        raise DownloadRefused(f"{source}: {hub.endpoint} does not answer like a hub")
    return info
