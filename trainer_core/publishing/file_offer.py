"""What can be published of a file without a run: the file, what is known of it, and what its metadata would lose. Nothing is written to the Hub."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainer_core import places
from trainer_core.errors import WeightsError
from trainer_core.models import header, hub_repository
from trainer_core.models.header.tensors import shown
from trainer_core.publishing import file_card, model_card, upload
from trainer_core.publishing.file_card import Known
from trainer_core.publishing.model_card import Picked
from trainer_core.tools import scrub


@dataclass(frozen=True)
class FileOffer:
    """A file that can be uploaded, and what is known of it. It has the same methods as the offer of a run, and no samples."""

    file: Path
    known: Known
    lost: tuple[scrub.Finding, ...] = ()
    samples: tuple[Picked, ...] = ()

    @property
    def name(self) -> str:
        """The name of the file in the repository."""
        return self.file.name

    def card(self, licence: str = model_card.NO_LICENCE, base_model: str = "") -> str:
        """The text of its card.

        Raises:
            RunError: the licence is not known.
            DownloadError: the base model is not the id of a repository.
        """
        base = hub_repository.checked(base_model) if base_model.strip() else ""
        return file_card.draft(self.known, licence, base)

    def without_samples(self) -> FileOffer:
        """The same: there are none."""
        return self

    def findings(self) -> list[scrub.Finding]:
        """What would be removed from its metadata."""
        return list(self.lost)

    def notes(self) -> Iterator[str]:
        """Sentences about what the user should decide before others read the card."""
        if any(one.share is not None for one in self.known.triggers):
            yield "The card names the most frequent words of the captions as likely trigger words. Remove those that nobody should read."
        if self.known.licence:
            yield f"The file states the licence “{printable_licence(self.known)}”. The card has the one that you choose."
        if not self.known.family:
            yield "The family of its base model is not recognised, so the card does not name it."

    def settings(
        self, repo: str, card: str, *, private: bool = True, scrub: bool = True, replaces_card: bool = False
    ) -> upload.Settings:
        """The settings of its upload.

        Raises:
            DownloadError: the name of the repository is not valid.
        """
        return upload.Settings(
            repo=hub_repository.checked(repo),
            file=str(self.file),
            name=self.name,
            card=card,
            private=private,
            scrub=scrub,
            replaces_card=replaces_card,
        )


def printable_licence(known: Known) -> str:
    """The licence that the file states, short enough for a sentence."""
    return known.licence if len(known.licence) <= 80 else f"{known.licence[:80]}…"


def offer(file: str, family: str = "") -> FileOffer:
    """What can be published of a LoRA or another network; "" stands for the family that its layers show.

    Raises:
        HeaderError: the file cannot be read.
        WeightsError: it is no safetensors file, or contains no network.
    """
    if not file.strip():
        raise WeightsError("No file is chosen.", "Choose a LoRA.")
    path = places.typed(file).absolute()
    found = header.read_file(path)
    if found.format != "safetensors":
        raise WeightsError(f"{shown(path)} is not a safetensors file.", "Convert it to safetensors first.")
    return FileOffer(path, file_card.known(found, family), tuple(scrub.scrubbed(found.metadata)[1]))
