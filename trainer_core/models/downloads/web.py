"""Resolves a link to any web server: the name and size that the server gives for the file."""

from __future__ import annotations

import threading
from urllib.parse import urlsplit

from trainer_core.errors import DownloadError
from trainer_core.models.downloads import names
from trainer_core.models.downloads.http import BRIEF, Answer, Asked, Patience, get, keep_trying
from trainer_core.models.downloads.links import Link, is_model_name
from trainer_core.models.downloads.remote import Remote, RemoteFile
from trainer_core.text import printable


def resolve(link: Link, patience: Patience = BRIEF, cancel: threading.Event | None = None) -> Remote:
    """The file that an address leads to.

    Raises:
        DownloadError: there is no file, or it is a web page.
    """
    asked = Asked(link.url, link.shown, token=link.token)

    def ask() -> Remote:
        # A GET for one byte instead of HEAD: signed addresses are valid only for GET.
        with get(asked, {"Range": "bytes=0-0"}, patience) as answer:
            return _described(answer, link)

    return keep_trying(ask, patience, cancel)


def refuse_page(answer: Answer, what: str) -> None:
    """Raises for a response whose content type is a web page."""
    if answer.header("content-type").lower().startswith(("text/html", "application/xhtml")):
        message = f"{printable(what, 200)} is a web page, not a file."
        hint = "It may need a login. Copy the address of the download button, not of the page."
        raise DownloadError(message, hint, "content")


def total_of_range(content_range: str) -> int | None:
    """The size of the whole file in bytes, from a Content-Range header; None when the header does not contain it."""
    total = content_range.rpartition("/")[2].strip()
    return int(total) if total.isascii() and total.isdigit() and len(total) < 19 else None


def _described(answer: Answer, link: Link) -> Remote:
    refuse_page(answer, link.shown)
    size = answer.length_bytes if answer.status == 200 else total_of_range(answer.header("content-range"))
    if size == 0:
        raise DownloadError(f"{link.shown} is empty.", "Look for another link.", "content")
    named = names.from_header(answer.header("content-disposition"))
    at_the_end = [names.from_url(link.url), names.from_url(str(answer.response.url))]
    name = named or next((name for name in at_the_end if is_model_name(name)), "") or at_the_end[0]
    host = urlsplit(link.url).hostname or "download"
    file = RemoteFile(name or names.safe(host), link.url, size)
    return Remote(link.host, file.name, (file,), page=link.shown, token=link.token)
