"""Finds the file of a Civitai model, with the size and hash that the site gives.

Source: the REST API of Civitai, GET /api/v1/models/:modelId and GET /api/v1/model-versions/:modelVersionId.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from trainer_core.errors import DownloadError
from trainer_core.models.downloads import names
from trainer_core.models.downloads.http import BRIEF, Asked, Patience, get_json
from trainer_core.models.downloads.links import Link, civitai_endpoint, is_model_name, site_of
from trainer_core.models.downloads.remote import Remote, RemoteFile
from trainer_core.text import printable

# The values of `type` for files that are not the model.
_COMPANION_TYPES = {"Training Data", "Config", "Archive"}


def resolve(link: Link, patience: Patience = BRIEF, cancel: threading.Event | None = None) -> Remote:
    """The file of a model, or of one version of it: the one the link names, else the one its author listed first.

    Raises:
        DownloadError: there is none, or access is refused.
    """
    endpoint = civitai_endpoint(link.host)
    version_id = link.version_id
    if version_id is None:
        model = _ask(f"{endpoint}/api/v1/models/{link.model_id}", link, patience, cancel)
        version_id = _newest(model, link)
    version = _ask(f"{endpoint}/api/v1/model-versions/{version_id}", link, patience, cancel)
    model_id = version.get("modelId") or link.model_id
    page = f"{endpoint}/models/{model_id}?modelVersionId={version_id}"
    file = _file(_files(version), link)
    found = _remote_file(file, endpoint, version_id, link)
    return Remote("civitai", found.name, (found,), page=page, token=link.token)


def _ask(url: str, link: Link, patience: Patience, cancel: threading.Event | None) -> Mapping[str, Any]:
    answer = get_json(Asked(url, link.shown, token=link.token), patience, cancel)
    if not isinstance(answer, dict):
        raise _unexpected(link)
    return answer


def _newest(model: Mapping[str, Any], link: Link) -> int:
    """The version that the model's page shows first."""
    if model.get("mode") == "TakenDown":
        raise DownloadError(f"Civitai has removed {link.shown}.", "Look for another copy of it.", "missing")
    versions = model.get("modelVersions")
    if not isinstance(versions, list) or not versions:
        message = f"Civitai offers no file of {link.shown}."
        raise DownloadError(message, "Its author has hidden or archived it.", "missing")
    number = versions[0].get("id") if isinstance(versions[0], dict) else None
    if type(number) is not int:
        raise _unexpected(link)
    return number


def _files(version: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    files = version.get("files")
    return [file for file in files if isinstance(file, dict)] if isinstance(files, list) else []


def _file(files: Sequence[Mapping[str, Any]], link: Link) -> Mapping[str, Any]:
    """The file that the link names, else the primary one, else the first model file."""
    models = [
        file for file in files if file.get("type") not in _COMPANION_TYPES and is_model_name(str(file.get("name")))
    ]
    found = [file for file in files if _matches(file, link.wanted)] if link.wanted else models
    if found:
        return next((file for file in found if file.get("primary")), found[0])
    what = "the file that the link names" if models else "a model file"
    listed = [printable(str(file.get("name")), 200) for file in files]
    hint = f"It offers: {', '.join(listed[:8])}." if listed else "Its author has hidden it, or it is in early access."
    raise DownloadError(f"Civitai does not offer {what} in {link.shown}.", hint, "missing", listed)


def _matches(file: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    said = file.get("metadata") if isinstance(file.get("metadata"), dict) else {}
    values = {**(said or {}), "type": file.get("type"), "fileId": file.get("id")}
    return all(str(values.get(name)) == value for name, value in wanted.items())


def _remote_file(file: Mapping[str, Any], endpoint: str, version_id: int, link: Link) -> RemoteFile:
    size_kib, hashes, url = file.get("sizeKB"), file.get("hashes"), file.get("downloadUrl")
    sha256 = str(hashes.get("SHA256", "")).lower() if isinstance(hashes, dict) else ""
    if not isinstance(url, str) or site_of(url) != "civitai":
        url = f"{endpoint}/api/download/models/{version_id}"
    name = names.safe(str(file.get("name", "")))
    if not name:
        raise _unexpected(link)
    size = round(size_kib * 1024) if isinstance(size_kib, int | float) and 0 < size_kib < 2**43 else None
    is_hash = len(sha256) == 64 and set(sha256) <= set("0123456789abcdef")
    return RemoteFile(name, url, size, sha256 if is_hash else "", is_size_exact=False)


def _unexpected(link: Link) -> DownloadError:
    return DownloadError(f"Civitai sent an unexpected response for {link.shown}.", "Try again later.", "content")
