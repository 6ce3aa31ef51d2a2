"""Names of repositories on Hugging Face."""

from __future__ import annotations

import re

from trainer_core.errors import DownloadError
from trainer_core.text import plain_letters, printable

# Source: huggingface_hub/utils/_validators.py, validate_repo_id.
_NAME = re.compile(r"(?!.*(?:--|\.\.))(?![-.])[A-Za-z0-9_.-]{1,96}(?<![-.])", re.ASCII)
_NOT = re.compile(r"[^A-Za-z0-9_.-]+", re.ASCII)
_ADDRESS = re.compile(r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/", re.IGNORECASE)


def checked(text: str) -> str:
    """The id of a repository, "owner/name", from what a user typed; the address of its page is understood too.

    Raises:
        DownloadError: it cannot be the id of a repository.
    """
    plain = _ADDRESS.sub("", text.strip()).strip("/")
    owner, slash, name = plain.partition("/")
    if not slash:
        raise DownloadError(
            f"{printable(plain, 100) or 'An empty name'} does not say whose repository it is.",
            "Enter it as owner/name, with your user name or that of your organisation on Hugging Face.",
        )
    if not _NAME.fullmatch(owner) or not _NAME.fullmatch(name) or name.endswith(".git"):
        raise DownloadError(
            f"{printable(plain, 120)!r} cannot be the name of a repository.",
            "Use owner/name with letters, digits, single dashes, dots and underscores, at most 96 characters each.",
        )
    return plain


def suggested(name: str) -> str:
    """The name of a repository for a result of this name, without its owner."""
    plain = _NOT.sub("-", plain_letters(name))
    while "--" in plain or ".." in plain:
        plain = plain.replace("--", "-").replace("..", ".")
    return plain.strip("-.")[:96] or "lora"
