"""What a server's or the network's refusal means to a person: one sentence, and what to do."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from trainer_core.errors import DownloadError
from trainer_core.text import printable
from trainer_core.tokens import SITES, title, where_to_set

if TYPE_CHECKING:
    import httpx2


def of_status(
    status: int, headers: Mapping[str, str], *, what: str, site: str, page: str = "", with_token: bool = False
) -> DownloadError:
    """The error for an answer of 400 and up. `what` names the file or model, `site` is "huggingface", "civitai" or a host."""
    name, where = printable(what, 200), printable(title(site), 100)
    code = headers.get("x-error-code", "")
    if code == "GatedRepo":
        return _gated(name, page, site, with_token)
    if status in {401, 407}:
        return _unknown_person(name, site, with_token)
    if status == 403:
        return _forbidden(name, site, page, with_token)
    if status == 404:
        return _missing(name, where, site, code, with_token)
    if status in {410, 451}:
        return DownloadError(f"{where} has taken {name} down.", "Look for another copy of it.", "missing")
    if status == 416:
        return DownloadError(f"{where} could not go on where the transfer of {name} had stopped.", "", "broken")
    if status == 429:
        return busy(name, where, headers)
    if status >= 500 or status == 408:
        message = f"{where} has a fault of its own: it answered {status} for {name}."
        return DownloadError(message, "Try again later.", "server", wait_s=retry_after_s(headers))
    message = f"{where} refused {name} with the answer {status}."
    return DownloadError(message, "Check the link in a browser.", "missing")


def _unknown_person(name: str, site: str, with_token: bool) -> DownloadError:
    where = printable(title(site), 100)
    if site not in SITES and with_token:
        message = f"{where} does not accept the token that came with the link to {name}."
        return DownloadError(message, "It may be mistyped, no longer valid, or not taken in a header.", "token")
    if site not in SITES:
        message = f"{where} wants to know who asks for {name}."
        return DownloadError(message, "Use a link that needs no login, or download it in a browser.", "token")
    if with_token:
        message = f"{where} does not accept the token that was sent for {name}."
        return DownloadError(message, f"It may be mistyped or no longer valid. {where_to_set(site)}", "token")
    # Hugging Face answers so for what does not exist, too.
    unsure = " Check the name as well: it answers so for a model that does not exist." if site == "huggingface" else ""
    return DownloadError(f"{where} gives {name} only to people it knows.", where_to_set(site) + unsure, "token")


def _forbidden(name: str, site: str, page: str, with_token: bool) -> DownloadError:
    where = printable(title(site), 100)
    if site == "huggingface":
        return _gated(name, page, site, with_token)
    if site == "civitai":
        hint = "It may be in early access, or for members of its author's club: open its page there and log in."
        return DownloadError(f"{where} does not let you download {name}.", f"{hint} {page}".strip(), "gated")
    return DownloadError(f"{where} does not give out {name}.", "The link may have run out: copy it again.", "gated")


def _gated(name: str, page: str, site: str, with_token: bool) -> DownloadError:
    hint = f"Open {page or 'its page'}, log in and accept its terms"
    hint += ", then try again; the token must be allowed to read gated models." if with_token else "."
    if not with_token and site in SITES:
        hint += f" {where_to_set(site)}"
    return DownloadError(f"{name} is given out only to people who have accepted its terms.", hint, "gated")


def _missing(name: str, where: str, site: str, code: str, with_token: bool) -> DownloadError:
    if code == "RevisionNotFound":
        return DownloadError(f"{name} has no such version.", "Leave the part behind @ out for the newest.", "missing")
    hint = "It may have been moved, renamed or deleted, or the link is mistyped."
    if site == "huggingface" and not with_token:
        hint += f" A private model is only seen with a token. {where_to_set(site)}"
    if site == "civitai":
        hint += " A model in early access is not there for everybody yet."
    return DownloadError(f"{where} has no {name}.", hint, "missing")


def busy(name: str, where: str, headers: Mapping[str, str]) -> DownloadError:
    """The error for too many requests, with the seconds the server asks to wait."""
    wait = retry_after_s(headers)
    hint = f"Try again in {wait:.0f} seconds." if wait else "Try again in a few minutes."
    return DownloadError(f"{where} has had too many requests and sends {name} later.", hint, "busy", wait_s=wait)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """How long a server asks to wait, in seconds, from Retry-After: a number or a date (RFC 9110, 10.2.3)."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def of_failure(error: httpx2.HTTPError, host: str) -> DownloadError:
    """The error for a connection that failed; none of the library's words, which may hold an address."""
    import httpx2

    where = printable(host, 100)
    causes = list(_causes(error))
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        message = f"The certificate of {where} is not trusted, so nothing was fetched from it."
        return DownloadError(message, "Check the clock of this machine, and the proxy or virus scanner between.", "tls")
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        message = f"The address of {where} is not found."
        return DownloadError(message, "Check the connection to the internet, and the link.", "offline")
    if isinstance(error, httpx2.ProxyError):
        message = f"The proxy between this machine and {where} does not let the connection through."
        return DownloadError(message, "Check HTTPS_PROXY and its password.", "offline")
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        return DownloadError(f"{where} cannot be reached.", "Check the connection to the internet.", "offline")
    if isinstance(error, httpx2.TimeoutException):
        return DownloadError(f"{where} has stopped sending.", "Start it again to go on where it stopped.", "broken")
    if isinstance(error, httpx2.UnsupportedProtocol | httpx2.InvalidURL):
        return DownloadError(f"{where} leads to an address that cannot be followed.", "Copy the link again.")
    return DownloadError(f"The connection to {where} broke off.", "Start it again to go on where it stopped.", "broken")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
