"""Names of repositories on Hugging Face, and places in them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from trainer_core.errors import DownloadError
from trainer_core.text import plain_letters, printable

# Source: huggingface_hub/utils/_validators.py, validate_repo_id.
_NAME = re.compile(r"(?!.*(?:--|\.\.))(?![-.])[A-Za-z0-9_.-]{1,96}(?<![-.])", re.ASCII)
_NOT = re.compile(r"[^A-Za-z0-9_.-]+", re.ASCII)
_ADDRESS = re.compile(r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/", re.IGNORECASE)


SCHEME = "hf://"
_OTHERS = frozenset({"datasets", "spaces", "models", "buckets"})
"""What an address of huggingface_hub can begin with instead of an owner. Source: hf_file_system.py."""


@dataclass(frozen=True)
class Place:
    """A folder in a model repository; `folder` is "" for the repository itself, and has no "/" at its end."""

    repo: str
    folder: str = ""

    @property
    def uri(self) -> str:
        """The address of the place, as users write it."""
        return f"{SCHEME}{self.repo}{f'/{self.folder}' if self.folder else ''}"


def is_place(text: str) -> bool:
    """Whether a text is meant as an address in a repository, not as a folder of this machine."""
    return text.strip().lower().startswith(SCHEME)


def place(text: str) -> Place:
    """The place that an address names: hf://OWNER/NAME or hf://OWNER/NAME/FOLDER.

    Raises:
        DownloadError: it is no such address.
    """
    owner, *rest = text.strip()[len(SCHEME) :].rstrip("/").split("/")
    if not is_place(text) or not rest or owner.lower() in _OTHERS:
        raise DownloadError(
            f"{printable(text, 120)!r} is not a place in a model repository of Hugging Face.",
            "Use hf://OWNER/NAME or hf://OWNER/NAME/FOLDER, with your user name or that of your organisation.",
        )
    repo, folder = checked(f"{owner}/{rest[0]}"), rest[1:]
    for part in folder:
        if not part or part.startswith(".") or "\\" in part or not part.isprintable():
            raise DownloadError(
                f"{printable('/'.join(folder), 120)!r} cannot be a folder of a repository.",
                "Use names with letters, digits, dashes and underscores, separated by single slashes.",
            )
    return Place(repo, "/".join(folder))


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
