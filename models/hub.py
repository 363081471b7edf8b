"""Model files from Hugging Face. ``huggingface_hub`` says where the hub is, with which token and
whether it may be used (HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE); the transfer is ours: pinned
hashes are checked before a file gets its name, and every cut or full disk has one clear error.
"""

import json
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote

from models.download import Patience, download, open_url
from models.entry import HuggingFaceSource, ModelFile
from models.errors import DownloadRefused, Offline
from models.manifest import MODEL_FILES, require_files
from models.progress import ProgressMode


@dataclass(frozen=True)
class HubSnapshot:
    """One commit of a repository: the files that a model needs, as the hub lists them."""

    repo: str
    revision: str
    files: tuple[ModelFile, ...]
    licence: str | None = None


@dataclass(frozen=True)
class Hub:
    """A hub's address and the header that proves who asks, if there is a token."""

    endpoint: str
    authorization: str | None

    @classmethod
    def from_environment(cls) -> "Hub":
        """As huggingface_hub is configured; raises ``Offline`` where it is told to stay offline."""
        # Here, not above: the import takes half a second that a cached model need not pay.
        from huggingface_hub import constants, get_token

        if constants.HF_HUB_OFFLINE:
            raise Offline("HF_HUB_OFFLINE is set, so Hugging Face is not asked")
        token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
        return cls(constants.ENDPOINT, f"Bearer {token}" if token else None)

    def snapshot(self, source: HuggingFaceSource, patience: Patience | None = None) -> HubSnapshot:
        """The commit that a source means. A pinned source needs no request.

        Raises ``Offline``, ``DownloadRefused``, ``ModelInvalid`` (no CTranslate2 Whisper model).
        """
        if source.revision and source.files:
            return HubSnapshot(source.repo, source.revision, source.files)
        info = self._model_info(source, (patience or Patience()).timeout_seconds)
        files = tuple(
            ModelFile(file["rfilename"], int(file["size"]), (file.get("lfs") or {}).get("sha256"))
            for file in info.get("siblings", ())
            if file["rfilename"] in MODEL_FILES
        )
        require_files((file.name for file in files), f"{source.repo} on Hugging Face")
        licence = (info.get("cardData") or {}).get("license")
        return HubSnapshot(
            source.repo, str(info["sha"]), files, licence if isinstance(licence, str) else None
        )

    def fetch(
        self,
        snapshot: HubSnapshot,
        directory: Path,
        *,
        progress: ProgressMode = "auto",
        patience: Patience | None = None,
    ) -> None:
        """Download the snapshot's files into ``directory``; those there already are kept.

        Raises what ``models.download.download`` raises.
        """
        for file in snapshot.files:
            if (directory / file.name).exists():
                continue
            url = f"{self.endpoint}/{snapshot.repo}/resolve/{snapshot.revision}/{file.name}"
            try:
                download(
                    url,
                    directory / file.name,
                    sha256=file.sha256,
                    size_bytes=file.size_bytes,
                    authorization=self.authorization,
                    label=f"{snapshot.repo} {file.name}",
                    progress=progress,
                    patience=patience,
                )
            except DownloadRefused as refused:
                raise DownloadRefused(refused.message + _advice(refused.message)) from refused

    def _model_info(self, source: HuggingFaceSource, timeout_seconds: float) -> dict[str, Any]:
        """The hub's "get model info" answer with file sizes and LFS hashes (``blobs=true``)."""
        revision = quote(source.revision or "main", safe="")
        url = f"{self.endpoint}/api/models/{source.repo}/revision/{revision}?blobs=true"
        try:
            with open_url(url, {}, self.authorization, timeout_seconds) as response:
                info = json.load(response)
        except HTTPError as error:
            error.close()
            answer = f"{source}: the hub answered HTTP {error.code}"
            raise DownloadRefused(answer + _advice(answer)) from error
        except (OSError, HTTPException) as error:
            raise Offline(
                f"{source}: {self.endpoint} cannot be reached ({error}). Check the network and "
                "proxy, set HF_ENDPOINT to a mirror, or bring a bundle or a local directory"
            ) from error
        except ValueError as error:
            raise DownloadRefused(f"{source}: {self.endpoint} does not answer as a hub") from error
        if not isinstance(info, dict) or "sha" not in info:
            raise DownloadRefused(f"{source}: {self.endpoint} does not answer as a hub")
        return info


def _advice(answer: str) -> str:
    if "HTTP 401" in answer or "HTTP 403" in answer:
        return "; no such repository, or a private or gated one: check the id, set HF_TOKEN"
    if "HTTP 404" in answer:
        return "; check the repository's id and revision"
    return ""
