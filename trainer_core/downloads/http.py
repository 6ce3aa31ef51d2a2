"""One request over HTTP, with redirects followed by hand so that a token goes to its own site only."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from trainer_core.downloads import refusals
from trainer_core.downloads.links import origin, site_of
from trainer_core.errors import DownloadCancelled, DownloadError
from trainer_core.text import printable
from trainer_core.tokens import Token, find

if TYPE_CHECKING:
    import httpx2

T = TypeVar("T")

MOST_REDIRECTS = 10
LONGEST_ANSWER_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True)
class Patience:
    """How long a download waits for an answer and between attempts, in seconds, and how often it tries without progress."""

    connect_s: float = 15
    read_s: float = 30
    attempts: int = 6
    first_wait_s: float = 1
    longest_wait_s: float = 60


PATIENT = Patience()
BRIEF = Patience(attempts=3)
"""For a question that a person waits for: what is there, and how large is it?"""


@dataclass(frozen=True)
class Answer:
    """A response that is being received, the name of its host, and whether a token was sent with the request."""

    response: httpx2.Response
    with_token: bool

    @property
    def status(self) -> int:
        """The status of the response."""
        return self.response.status_code

    def header(self, name: str) -> str:
        """A header of the response; "" where there is none."""
        return self.response.headers.get(name, "")

    @property
    def length_bytes(self) -> int | None:
        """How many bytes the body has, as the server says."""
        text = self.header("content-length")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None

    def chunks(self) -> Iterator[bytes]:
        """The body as it arrives.

        Raises:
            DownloadError: the connection breaks.
        """
        import httpx2

        try:
            yield from self.response.iter_raw()
        except httpx2.HTTPError as error:
            raise refusals.of_failure(error, self.response.url.host) from None


@dataclass(frozen=True)
class Asked:
    """What a request is for: an address, what to call it in an error, the page where a person can see it, a link's own token."""

    url: str
    what: str
    page: str = ""
    token: Token | None = None

    def token_for(self, url: str) -> Token | None:
        """The token to send to an address that this request was led to: its own site's, and only there."""
        site = site_of(url)
        if self.token and (self.token.site == site or origin(url) == origin(self.url)):
            return self.token
        return find(site) if site else None


@contextmanager
def get(asked: Asked, headers: Mapping[str, str] | None = None, patience: Patience = PATIENT) -> Iterator[Answer]:
    """The answer to one GET, its body not yet received; a status below 400, or 416.

    Raises:
        DownloadError: it is refused, or the connection fails.
    """
    import httpx2

    timeout = httpx2.Timeout(patience.read_s, connect=patience.connect_s)
    url = asked.url
    for _ in range(MOST_REDIRECTS + 1):
        token = asked.token_for(url)
        sent = {**(headers or {}), **(token.header() if token else {})}
        try:
            request = _client().build_request("GET", url, headers=sent, timeout=timeout)
            response = _client().send(request, stream=True)
        except httpx2.InvalidURL:
            raise DownloadError("This address cannot be read.", "Copy it again from the browser.") from None
        except httpx2.HTTPError as error:
            raise refusals.of_failure(error, urlsplit(url).hostname or "The site") from None
        try:
            if not response.has_redirect_location:
                _refuse(response, asked, url, with_token=token is not None)
                yield Answer(response, token is not None)
                return
            url = _next(response, asked, url)
        finally:
            response.close()
    message = f"The link to {printable(asked.what, 200)} leads from one address to the next without an end."
    raise DownloadError(message, "Copy it again from the page of the model.")


@cache
def _client() -> httpx2.Client:
    """The one client of this process: reading the certificates takes longer than a request, and connections are kept open."""
    import httpx2

    # Packed bodies would make lengths and ranges meaningless.
    return httpx2.Client(follow_redirects=False, headers={"Accept-Encoding": "identity", "User-Agent": "easel"})


def _next(response: httpx2.Response, asked: Asked, url: str) -> str:
    """The address a redirect leads to."""
    target = _target(response)
    if not target:
        message = f"{printable(asked.what, 200)} leads to an address that is not followed."
        raise DownloadError(message, "Copy the link again.")
    parts = urlsplit(target)
    if urlsplit(url).scheme == "https" and parts.scheme == "http":
        message = f"{printable(asked.what, 200)} leads from a safe connection to an unsafe one, which is not followed."
        raise DownloadError(message, "Look for another link.")
    if parts.path.rstrip("/").endswith("/login"):
        site = site_of(url)
        raise refusals.of_status(401, {}, what=asked.what, site=site or parts.hostname or "", page=asked.page)
    return target


def _target(response: httpx2.Response) -> str:
    """The whole address in a redirect; "" for one that is no address of the web, or holds a name and a password."""
    import httpx2

    try:
        target = str(response.url.join(response.headers["location"]))
        parts = urlsplit(target)
        is_followed = parts.scheme in {"http", "https"} and parts.username is None and parts.port != 0
    except (httpx2.InvalidURL, ValueError):
        return ""
    return target if is_followed else ""


def _refuse(response: httpx2.Response, asked: Asked, url: str, *, with_token: bool) -> None:
    """Raises for an answer that is no file."""
    site = site_of(url) or site_of(asked.url) or urlsplit(url).hostname or ""
    if response.status_code >= 400 and response.status_code != 416:
        raise refusals.of_status(
            response.status_code,
            response.headers,
            what=asked.what,
            site=site,
            page=asked.page,
            with_token=with_token,
        )
    if response.status_code not in {200, 206, 416}:
        raise refusals.of_status(response.status_code, {}, what=asked.what, site=site, page=asked.page)
    if response.headers.get("content-encoding", "identity") not in {"identity", ""}:
        message = (
            f"{urlsplit(url).hostname} packs {printable(asked.what, 200)} for the transfer, though it was asked not to."
        )
        raise DownloadError(message, "Look for another link.", "content")


def get_bytes(asked: Asked, patience: Patience = BRIEF, cancel: threading.Event | None = None) -> bytes:
    """The body of a small file or answer.

    Raises:
        DownloadError: it is refused, the connection fails, or it is not small.
    """

    def ask() -> bytes:
        body = bytearray()
        with get(asked, patience=patience) as answer:
            for chunk in answer.chunks():
                body += chunk
                if len(body) > LONGEST_ANSWER_BYTES:
                    message = f"{printable(asked.what, 200)} is larger than it should be."
                    raise DownloadError(message, "Check the link.", "content")
        return bytes(body)

    return keep_trying(ask, patience, cancel)


def get_json(asked: Asked, patience: Patience = BRIEF, cancel: threading.Event | None = None) -> Any:
    """The JSON an address answers with.

    Raises:
        DownloadError: as `get_bytes`, or it is no JSON.
    """
    body = get_bytes(asked, patience, cancel)
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        where, what = printable(urlsplit(asked.url).hostname or "", 100), printable(asked.what, 200)
        message = f"{where} does not answer as it should about {what}."
        raise DownloadError(message, "Try again later.", "content") from error


def keep_trying(
    attempt: Callable[[], T],
    patience: Patience,
    cancel: threading.Event | None = None,
    reached: Callable[[], int] = lambda: 0,
) -> T:
    """What `attempt` returns, tried again after failures that may pass; each time `reached` has grown, the count begins anew.

    Raises:
        DownloadError: the last failure, or one that will not pass.
    """
    cancel = cancel or threading.Event()
    failures, furthest = 0, reached()
    while True:
        try:
            return attempt()
        except DownloadError as error:
            if not error.is_passing:
                raise
            if reached() > furthest:
                failures, furthest = 0, reached()
            failures += 1
            wait = error.wait_s
            if wait is None:
                wait = min(patience.first_wait_s * 2 ** (failures - 1), patience.longest_wait_s)
            if failures >= patience.attempts or wait > patience.longest_wait_s:
                raise
        if cancel.wait(wait):
            raise DownloadCancelled
