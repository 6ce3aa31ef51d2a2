"""What a refusal by Hugging Face, or a lost connection, means for an upload: what happened, and what to do.

Source of the statuses: huggingface_hub/utils/_http.py, hf_raise_for_status, and what the Hub answers for a token without a right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.errors import DownloadError
from trainer_core.models import tokens
from trainer_core.text import printable, without_secrets

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

SITE = "huggingface"
WRITE = "A token with the permission to write is needed."


def without_token() -> DownloadError:
    """The error for an upload without any token."""
    return DownloadError(f"An upload to Hugging Face needs a token. {WRITE}", tokens.where_to_set(SITE), "token")


def of_status(error: HfHubHTTPError, repo: str) -> DownloadError:
    """The error for an answer of the Hub with a status of 400 or more."""
    status = error.response.status_code if error.response is not None else 0
    said = without_secrets(printable(str(getattr(error, "server_message", "") or ""), 300)).strip()
    quoted = f" It said: {said}" if said else ""
    owner, name = repo.partition("/")[::2]
    if status == 401:
        return DownloadError(
            f"Hugging Face does not accept the token.{quoted}",
            f"It may be mistyped, expired or withdrawn. {tokens.where_to_set(SITE)}",
            "token",
        )
    if status == 403:
        return DownloadError(
            f"The token may not write to {repo}.{quoted}",
            f"{WRITE} Check that you are {owner}, or a member who may write there, and the rights of the token at {tokens.SITES[SITE].page}.",
            "token",
        )
    if status == 404:
        return DownloadError(
            f"Hugging Face has no user or organisation {owner}, or does not show {name} to this token.{quoted}",
            "Check the name of the repository, and whose token it is.",
            "missing",
        )
    # 412: the commit was made for an older state of the repository.
    if status in (409, 412):
        return DownloadError(
            f"{repo} was changed by somebody else meanwhile.{quoted}", "Start the upload again.", "busy"
        )
    if status in (413, 507):
        return DownloadError(
            f"Hugging Face has no room for these files.{quoted}", "Free some of your storage there.", "disk"
        )
    if status == 429:
        return DownloadError(f"Hugging Face received too many requests.{quoted}", "Try again in some minutes.", "busy")
    if status >= 500:
        return DownloadError(
            f"Hugging Face has a server error: it answered {status}.{quoted}", "Try again later.", "server"
        )
    return DownloadError(f"Hugging Face refused the upload with status {status}.{quoted}", "", "broken")


def of_connection() -> DownloadError:
    """The error for a connection that could not be made, or that was lost."""
    return DownloadError(
        "Hugging Face cannot be reached, or the connection was lost.",
        "Check the internet connection and a proxy, then start the upload again: nothing is shown there until it is complete.",
        "offline",
    )


def said(error: ValueError) -> str:
    """The message of an error, without tokens and signatures."""
    return without_secrets(printable(str(error), 300, keep="\n"))
