"""Sends one HTTP request. It follows redirects itself, so that a token is sent only to its own site."""

from __future__ import annotations

import ipaddress
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from trainer_core.errors import DownloadCancelled, DownloadError
from trainer_core.models.downloads import refusals
from trainer_core.models.downloads.links import origin, site_of
from trainer_core.models.tokens import Token, find
from trainer_core.text import printable

if TYPE_CHECKING:
    import httpx2

T = TypeVar("T")

MOST_REDIRECTS = 10
LONGEST_ANSWER_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True)
class Patience:
    """How long a download waits for a response and between attempts, in seconds, and how often it tries without progress."""

    connect_s: float = 15
    read_s: float = 30
    attempts: int = 6
    first_wait_s: float = 1
    longest_wait_s: float = 60


PATIENT = Patience()
BRIEF = Patience(attempts=3)
"""For a request that the user waits for, such as a look-up of files and sizes."""


@dataclass(frozen=True)
class Answer:
    """A response whose body is still to be received, and whether a token was sent with the request."""

    response: httpx2.Response
    with_token: bool

    @property
    def status(self) -> int:
        """The HTTP status of the response."""
        return self.response.status_code

    def header(self, name: str) -> str:
        """A header of the response; "" when it is missing."""
        return self.response.headers.get(name, "")

    @property
    def length_bytes(self) -> int | None:
        """The size of the body in bytes, from the Content-Length header; None without one."""
        text = self.header("content-length")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None

    def chunks(self) -> Iterator[bytes]:
        """The body in chunks, as it arrives.

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
    """A request: its address, its name in error messages, the web page for the user, and the token from the link."""

    url: str
    what: str
    page: str = ""
    token: Token | None = None

    def token_for(self, url: str) -> Token | None:
        """The token to send to an address that this request was redirected to: only a token of that site."""
        site = site_of(url)
        if self.token and (self.token.site == site or origin(url) == origin(self.url)):
            return self.token
        return find(site) if site else None


@contextmanager
def get(asked: Asked, headers: Mapping[str, str] | None = None, patience: Patience = PATIENT) -> Iterator[Answer]:
    """The response to one GET request, before its body is received. Its status is below 400, or 416.

    Raises:
        DownloadError: the server refuses it, or the connection fails.
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
    message = f"The link to {printable(asked.what, 200)} redirects too many times."
    raise DownloadError(message, "Copy it again from the page of the model.")


@cache
def _client() -> httpx2.Client:
    """The only client of this process. Loading the certificates takes longer than a request, and connections stay open."""
    import httpx2

    # Lengths and ranges are meaningless for compressed bodies.
    return httpx2.Client(follow_redirects=False, headers={"Accept-Encoding": "identity", "User-Agent": "easel"})


def _next(response: httpx2.Response, asked: Asked, url: str) -> str:
    """The address that a redirect leads to."""
    target = _target(response)
    if not target:
        message = f"{printable(asked.what, 200)} redirects to an address that Easel does not follow."
        raise DownloadError(message, "Copy the link again.")
    parts = urlsplit(target)
    if urlsplit(url).scheme == "https" and parts.scheme == "http":
        message = (
            f"{printable(asked.what, 200)} redirects from https to http, which is unsafe: Easel does not follow it."
        )
        raise DownloadError(message, "Look for another link.")
    if is_local(parts.hostname or "") and not is_local(urlsplit(url).hostname or ""):
        message = f"{printable(asked.what, 200)} redirects into your own network: Easel does not follow it."
        raise DownloadError(message, "Look for another link.")
    if parts.path.rstrip("/").endswith("/login"):
        site = site_of(url)
        raise refusals.of_status(401, {}, what=asked.what, site=site or parts.hostname or "", page=asked.page)
    return target


def is_local(host: str) -> bool:
    """Whether a host, by its name or number, is this machine or in the local network. No name is looked up."""
    try:
        return not ipaddress.ip_address(host.strip("[]")).is_global
    except ValueError:
        return host.rstrip(".").casefold() == "localhost" or host.rstrip(".").casefold().endswith(
            (".localhost", ".local")
        )


def _target(response: httpx2.Response) -> str:
    """The full address in a redirect; "" when it is not a web address, or contains a user name and a password."""
    import httpx2

    try:
        target = str(response.url.join(response.headers["location"]))
        parts = urlsplit(target)
        is_followed = parts.scheme in {"http", "https"} and parts.username is None and parts.port != 0
    except (httpx2.InvalidURL, ValueError):
        return ""
    return target if is_followed else ""


def _refuse(response: httpx2.Response, asked: Asked, url: str, *, with_token: bool) -> None:
    """Raises for a response that is not a file."""
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
            f"{urlsplit(url).hostname} sends {printable(asked.what, 200)} compressed, although the request forbids it."
        )
        raise DownloadError(message, "Look for another link.", "content")


def get_bytes(asked: Asked, patience: Patience = BRIEF, cancel: threading.Event | None = None) -> bytes:
    """The body of a small response.

    Raises:
        DownloadError: the server refuses it, the connection fails, or it is too large.
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
    """The JSON that an address returns.

    Raises:
        DownloadError: as `get_bytes`, or it is not JSON.
    """
    body = get_bytes(asked, patience, cancel)
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        where, what = printable(urlsplit(asked.url).hostname or "", 100), printable(asked.what, 200)
        message = f"{where} sent an unexpected response for {what}."
        raise DownloadError(message, "Try again later.", "content") from error


def keep_trying(
    attempt: Callable[[], T],
    patience: Patience,
    cancel: threading.Event | None = None,
    reached: Callable[[], int] = lambda: 0,
) -> T:
    """The result of `attempt`, retried after temporary failures. Whenever `reached` has grown, the count of failures restarts.

    Raises:
        DownloadError: the last temporary failure, or the first permanent one.
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
