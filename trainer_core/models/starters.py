"""Base models to begin with: what each is for, its size and licence, where it comes from and where it is saved."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer_core import places
from trainer_core.errors import EaselError, wrong_use
from trainer_core.files import read_rows
from trainer_core.hardware import free_disk_bytes

if TYPE_CHECKING:
    from trainer_core.models.downloads import Link

FILE = Path(__file__).with_name("starters.toml")
SITE, HUB = "huggingface", "https://huggingface.co"


@dataclass(frozen=True)
class Starter:
    """One model. `size_bytes` is 0 where it is not known; `gated`: its site asks to accept conditions before a download.

    `file` is "" for a repository that is a diffusers folder, which is downloaded as a whole.
    """

    id: str
    title: str
    family: str
    use: str
    about: str
    repo: str
    licence: str
    licence_title: str
    licence_url: str
    gated: bool
    source: str
    file: str = ""
    size_bytes: int = 0

    @property
    def page(self) -> str:
        """The address of the model's page."""
        return f"{HUB}/{self.repo}"

    @property
    def address(self) -> str:
        """Where the file or the folder is downloaded from, as a link to paste."""
        return f"hf:{self.repo}/{self.file}" if self.file else f"hf:{self.repo}"

    @property
    def link(self) -> Link:
        """The same, parsed."""
        from trainer_core.models import downloads

        found = downloads.parse(self.address)
        assert found is not None  # the text has the form of a link
        return found

    @property
    def how_to_get_access(self) -> str:
        """What to do before a gated model can be downloaded; "" if it is not gated."""
        if not self.gated:
            return ""
        from trainer_core.models import tokens

        return (
            f"{self.title} is gated: log in to Hugging Face, accept the conditions on {self.page}, and create a token that may "
            f"read it on {tokens.SITES[SITE].page}. Enter the token here, or set HF_TOKEN."
        )

    def as_dict(self) -> dict[str, Any]:
        """The model as JSON data."""
        return {
            **asdict(self),
            "page": self.page,
            "link": self.address,
            "access": self.how_to_get_access,
        }


@functools.cache
def shipped() -> Mapping[str, Starter]:
    """The models by id, in the order of the file.

    Raises:
        EaselError: the file cannot be read.
    """
    return read_rows(FILE, Starter)


def get(name: str) -> Starter:
    """The model with this id.

    Raises:
        EaselError: there is no such model.
    """
    found = shipped().get(name)
    if found is None:
        raise wrong_use(
            EaselError(f"There is no starter model called {name!r:.80}.", f"Known: {', '.join(shipped())}.")
        )
    return found


def room(starter: Starter) -> tuple[str, bool]:
    """Where a model is saved and how much space is free there, as a sentence; and whether that is enough."""
    folder = places.models()
    free = free_disk_bytes(folder)
    enough = starter.size_bytes <= free
    ends = "are free there." if enough else f"are free there, and it needs {starter.size_bytes / 1e9:.1f} GB."
    return f"It is saved in {folder}. {free / 1e9:.1f} GB {ends}", enough
