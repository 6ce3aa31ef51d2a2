"""Turns a refusal by a server or a network failure into a message for the user: what happened, and what to do."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from trainer_core.errors import DownloadError
from trainer_core.models.tokens import SITES, title, where_to_set
from trainer_core.text import printable

if TYPE_CHECKING:
    import httpx2


def of_status(
    status: int, headers: Mapping[str, str], *, what: str, site: str, page: str = "", with_token: bool = False
) -> DownloadError:
    """The error for a status of 400 or more. `what` names the file or model; `site` is "huggingface", "civitai" or a host."""
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
        return DownloadError(f"{where} has removed {name}.", "Look for another copy of it.", "missing")
    if status == 416:
        return DownloadError(f"{where} could not continue the transfer of {name} where it stopped.", "", "broken")
    if status == 429:
        return busy(name, where, headers)
    if status >= 500 or status == 408:
        message = f"{where} has a server error: it answered {status} for {name}."
        return DownloadError(message, "Try again later.", "server", wait_s=retry_after_s(headers))
    message = f"{where} refused {name} with status {status}."
    return DownloadError(message, "Check the link in a browser.", "missing")


def _unknown_person(name: str, site: str, with_token: bool) -> DownloadError:
    where = printable(title(site), 100)
    if site not in SITES and with_token:
        message = f"{where} does not accept the token that came with the link to {name}."
        return DownloadError(message, "It may be mistyped, expired, or not accepted in a header.", "token")
    if site not in SITES:
        message = f"{where} requires a login for {name}."
        return DownloadError(message, "Use a link that needs no login, or download it in a browser.", "token")
    if with_token:
        message = f"{where} does not accept the token that was sent for {name}."
        return DownloadError(message, f"It may be mistyped or expired. {where_to_set(site)}", "token")
    # Hugging Face gives the same answer for a model that does not exist.
    unsure = (
        " Check the name as well: a model that does not exist gives the same answer." if site == "huggingface" else ""
    )
    return DownloadError(f"{where} gives {name} only to users with a token.", where_to_set(site) + unsure, "token")


def _forbidden(name: str, site: str, page: str, with_token: bool) -> DownloadError:
    where = printable(title(site), 100)
    if site == "huggingface":
        return _gated(name, page, site, with_token)
    if site == "civitai":
        hint = "It may be in early access, or only for supporters of its author: open its page there and log in."
        return DownloadError(f"{where} does not let you download {name}.", f"{hint} {page}".strip(), "gated")
    return DownloadError(f"{where} denies access to {name}.", "The link may have expired: copy it again.", "gated")


def _gated(name: str, page: str, site: str, with_token: bool) -> DownloadError:
    hint = f"Open {page or 'its page'}, log in and accept its terms"
    hint += ", then try again; the token must be allowed to read gated models." if with_token else "."
    if not with_token and site in SITES:
        hint += f" {where_to_set(site)}"
    return DownloadError(f"{name} is available only to users who have accepted its terms.", hint, "gated")


def _missing(name: str, where: str, site: str, code: str, with_token: bool) -> DownloadError:
    if code == "RevisionNotFound":
        return DownloadError(f"{name} has no such version.", "Remove the part after @ to get the newest.", "missing")
    hint = "It may have been moved, renamed or deleted, or the link is mistyped."
    if site == "huggingface" and not with_token:
        hint += f" A private model is visible only with a token. {where_to_set(site)}"
    if site == "civitai":
        hint += " A model in early access is not available to everybody yet."
    return DownloadError(f"{where} has no {name}.", hint, "missing")


def busy(name: str, where: str, headers: Mapping[str, str]) -> DownloadError:
    """The error for too many requests, with the waiting time that the server asks for."""
    wait = retry_after_s(headers)
    hint = f"Try again in {wait:.0f} seconds." if wait else "Try again in a few minutes."
    return DownloadError(f"{where} received too many requests and does not send {name} now.", hint, "busy", wait_s=wait)


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
    """The error for a connection that failed. It does not quote the library's message, which may contain an address."""
    import httpx2

    where = printable(host, 100)
    causes = list(_causes(error))
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        message = f"The certificate of {where} is not trusted, so nothing was downloaded from it."
        hint = "Check the clock of this machine, and a proxy or virus scanner between it and the site."
        return DownloadError(message, hint, "tls")
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        message = f"The address of {where} was not found."
        return DownloadError(message, "Check the internet connection and the link.", "offline")
    if isinstance(error, httpx2.ProxyError):
        message = f"The proxy between this machine and {where} refuses the connection."
        return DownloadError(message, "Check HTTPS_PROXY and its password.", "offline")
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        return DownloadError(f"{where} cannot be reached.", "Check the internet connection.", "offline")
    if isinstance(error, httpx2.TimeoutException):
        return DownloadError(f"{where} stopped sending.", "Start it again to continue where it stopped.", "broken")
    if isinstance(error, httpx2.UnsupportedProtocol | httpx2.InvalidURL):
        return DownloadError(f"{where} leads to an address that Easel cannot follow.", "Copy the link again.")
    return DownloadError(
        f"The connection to {where} was lost.", "Start it again to continue where it stopped.", "broken"
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
