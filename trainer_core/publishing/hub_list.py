"""The list of files below a folder of a repository on Hugging Face, with bounds: a server that never ends it ends the reading.

huggingface_hub lists too, but follows pages without end, reads each whole however large it is, and sends the token wherever the next
page is said to be.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from trainer_core.errors import DownloadError
from trainer_core.install.hub_reach import HUB

if TYPE_CHECKING:
    import httpx2
    from huggingface_hub import HfApi, RepoFile

MOST_FILES, MOST_PAGES = 200_000, 400
"""The Hub gives 1,000 files a page. Source: huggingface_hub 2.4, hf_api.py, _iter_repo_tree_pages."""
LARGEST_PAGE_BYTES = 16 << 20
LONGEST_S = 600.0
_READ_S = 30.0
_TRIES, _WAIT_S = 3, 1.0
_PASSING = (408, 429, 500, 502, 503, 504)
"""Statuses after which the Hub is asked again. Source: huggingface_hub 2.4, utils/_http.py."""


def files_below(api: HfApi, repo: str, folder: str, revision: str) -> dict[str, RepoFile]:
    """The files below a folder at a commit, by their paths in the repository; none if there is no such folder.

    Raises:
        DownloadError: the list does not end, or is none.
        HfHubHTTPError: the Hub refuses it.
        httpx2.HTTPError: the connection was lost.
    """
    from huggingface_hub.errors import EntryNotFoundError

    found: dict[str, RepoFile] = {}
    until = time.monotonic() + LONGEST_S
    address = (
        f"{api.endpoint}/api/models/{repo}/tree/{quote(revision, safe='')}/{quote(folder, safe='')}?recursive=true"
    )
    for _ in range(MOST_PAGES):
        try:
            answer = _page(api, address, repo, until)
        except EntryNotFoundError:
            return {}
        try:
            rows = [_file(row) for row in json.loads(answer.content) if row["type"] == "file"]
        except (KeyError, TypeError, ValueError, RecursionError):
            raise DownloadError(
                f"Hugging Face sent an unexpected list of the files in {repo}.", "Try again later.", "content"
            ) from None
        found |= {row.path: row for row in rows}
        if len(found) > MOST_FILES:
            raise _endless(repo, f"it has more than {MOST_FILES:,} files")
        address = answer.links.get("next", {}).get("url", "")
        if not address:
            return found
        if _origin(address) not in (_origin(api.endpoint), _origin(HUB)):
            raise DownloadError(
                f"The list of files in {repo} goes on at another server, which gets no token.",
                "Check HF_ENDPOINT.",
                "content",
            )
    raise _endless(repo, f"it has more than {MOST_PAGES} pages")


def _file(row: Any) -> RepoFile:
    """One file of the list, of what is asked for here only.

    Raises:
        KeyError: an entry is missing.
        TypeError: an entry is of another type.
    """
    from huggingface_hub import RepoFile

    if not isinstance(row["path"], str) or not isinstance(row["size"], int):
        raise TypeError("the path is no text, or the size no number")
    return RepoFile(path=row["path"], size=row["size"], oid=row["oid"], lfs=row.get("lfs"))


def _page(api: HfApi, address: str, repo: str, until: float) -> httpx2.Response:
    """One page of the list, asked for again if the Hub is busy."""
    import httpx2
    from huggingface_hub.utils import hf_raise_for_status

    for left in reversed(range(_TRIES)):
        try:
            answer = _read(api, address, repo, until)
        except httpx2.TransportError:
            if not left:
                raise
        else:
            if answer.status_code not in _PASSING or not left:
                hf_raise_for_status(answer)
                return answer
        time.sleep(_WAIT_S * (_TRIES - left))
    raise AssertionError("the last try returns or raises")


def _read(api: HfApi, address: str, repo: str, until: float) -> httpx2.Response:
    import httpx2
    from huggingface_hub.utils import build_hf_headers, get_session

    headers = build_hf_headers(token=api.token)
    with get_session().stream("GET", address, headers=headers, timeout=_READ_S) as answer:
        content = bytearray()
        for block in answer.iter_bytes():
            content += block
            if len(content) > LARGEST_PAGE_BYTES:
                raise _endless(repo, f"a page of it has more than {LARGEST_PAGE_BYTES >> 20} MiB")
            if time.monotonic() > until:
                raise _endless(repo, f"it has not come in {LONGEST_S / 60:.0f} minutes")
        kept: Any = [(name, text) for name, text in answer.headers.items() if name.lower() != "content-encoding"]
        return httpx2.Response(answer.status_code, headers=kept, content=bytes(content), request=answer.request)


def _origin(address: str) -> tuple[str, str]:
    try:
        parts = urlsplit(address)
    except ValueError:  # such as http://[
        return "", ""
    return parts.scheme, parts.netloc


def _endless(repo: str, what: str) -> DownloadError:
    return DownloadError(
        f"The list of files in {repo} does not end: {what}. Nothing was sent.",
        "Choose another repository, or check HF_ENDPOINT.",
        "content",
    )
