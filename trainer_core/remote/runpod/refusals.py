"""Turns a refusal by RunPod or a failed connection into an error: what happened, and what to do. The key is in none of them."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from trainer_core.errors import RemoteError
from trainer_core.remote.runpod.answers import error_line
from trainer_core.text import printable

if TYPE_CHECKING:
    import httpx2

_TAG = re.compile(r"<[^<>]{0,500}>")
_LONGEST_BODY = 20_000
_HINTS = {
    400: "Check the request.",
    401: "Check RUNPOD_API_KEY: it may be mistyped or expired.",
    403: "The key may not use this endpoint. Create one at https://www.runpod.io/console/user/settings that may.",
    413: "The request is too large: list fewer images.",
}


class RunPodError(RemoteError):
    """A request that RunPod did not answer as it should.

    `status` is the HTTP status, 0 without a response. `may_have_arrived` is True if a job may have been started all the same.
    """

    must_not_be_repeated = False
    """Whether a second request could be a second job."""

    def __init__(
        self,
        message: str,
        hint: str = "",
        kind: str = "server",
        status: int = 0,
        wait_s: float | None = None,
        *,
        may_have_arrived: bool = False,
    ) -> None:
        super().__init__(message, hint, kind, wait_s)
        self.status = status
        self.may_have_arrived = may_have_arrived

    @property
    def is_passing(self) -> bool:
        """Whether the same request may succeed later, and may be sent again."""
        return super().is_passing and not self.must_not_be_repeated


def of_status(status: int, body: bytes, wait_s: float | None, *, host: str, what: str) -> RunPodError:
    """The error for a status of 300 or more. `what` is what was asked, such as "the status of a job"."""
    if status < 400:
        message = f"{host} redirects the request for {what} to another address, which Easel does not follow."
        return RunPodError(message, "Check the address of the service.", "address", status)
    said = _said(body)
    told = f"{host} answered {status} for {what}{f': {said}' if said else ''}".rstrip(". ") + "."
    if status == 404:
        hint = "Check the ids of the endpoint and of the job: RunPod's console shows them."
        return RunPodError(told, hint, "missing", status)
    if status == 429:
        hint = f"Try again in {wait_s:.0f} seconds." if wait_s else "Try again in a few minutes."
        return RunPodError(f"{host} received too many requests.", hint, "busy", status, wait_s)
    if status >= 500 or status == 408:
        return RunPodError(told, "Try again later.", "server", status, wait_s, may_have_arrived=status != 503)
    kind = {401: "rights", 403: "rights", 413: "size"}.get(status, "content")
    return RunPodError(told, _HINTS.get(status, ""), kind, status)


def of_failure(error: httpx2.HTTPError, host: str) -> RunPodError:
    """The error for a connection that failed. The library's own message is not quoted: it may contain an address."""
    import httpx2

    if any(isinstance(cause, ssl.SSLError) for cause in _causes(error)):
        message = f"The certificate of {host} is not trusted, so nothing was sent to it."
        return RunPodError(
            message, "Check the clock of this machine, and a proxy between it and the service.", "address"
        )
    if isinstance(error, httpx2.ProxyError):
        message = f"The proxy between this machine and {host} refuses the connection."
        return RunPodError(message, "Check HTTPS_PROXY.", "offline")
    if isinstance(error, httpx2.ConnectTimeout | httpx2.PoolTimeout):
        return RunPodError(f"{host} did not accept a connection in time.", "Check the internet connection.", "slow")
    if isinstance(error, httpx2.ConnectError):
        return RunPodError(f"{host} cannot be reached.", "Check the internet connection.", "offline")
    if isinstance(error, httpx2.TimeoutException):
        return RunPodError(f"{host} did not answer in time.", "Try again later.", "slow", may_have_arrived=True)
    return RunPodError(f"The connection to {host} was lost.", "Try again.", "broken", may_have_arrived=True)


def of_answer(host: str, what: str) -> RunPodError:
    """The error for a response that is not what the documents of RunPod describe."""
    message = f"{host} did not answer with {what}."
    return RunPodError(
        message, "Check the address of the service, or try again later.", "content", may_have_arrived=True
    )


def _said(body: bytes) -> str:
    """What a service says in the body of a refusal, as one line."""
    text = body[:_LONGEST_BODY].decode("utf-8", "replace")
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        return error_line(" ".join(_TAG.sub(" ", text).split()))
    if isinstance(found, Mapping):
        found = next((found[key] for key in ("error", "message", "detail", "title") if found.get(key)), None)
    return printable(error_line(found), 300)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
