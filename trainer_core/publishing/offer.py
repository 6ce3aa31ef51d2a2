"""What can be published of a run: the file of a checkpoint, its samples, and what its metadata would lose. Nothing is written to the Hub."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trainer_core.errors import RunError
from trainer_core.models import hub_repository
from trainer_core.publishing import model_card, upload
from trainer_core.publishing.model_card import Picked
from trainer_core.tools import scrub
from trainer_core.training import choice, delivery
from trainer_core.training.handing_over import ready_file
from trainer_core.training.results import Made, results_of

if TYPE_CHECKING:
    from trainer_core.training.run import Run


@dataclass(frozen=True)
class Offer:
    """A result that can be uploaded: its file inside the run folder, its name in the repository, and its samples."""

    run: Run
    made: Made
    file: Path
    name: str
    samples: tuple[Picked, ...]

    def card(self, licence: str = model_card.NO_LICENCE, base_model: str = "") -> str:
        """The text of its card.

        Raises:
            RunError: the licence is not known, or the plan of the run is damaged.
            DownloadError: the base model is not the id of a repository.
        """
        base = hub_repository.checked(base_model) if base_model.strip() else ""
        return model_card.draft(self.run, self.made, self.name, samples=self.samples, licence=licence, base_model=base)

    def without_samples(self) -> Offer:
        """The same without its samples."""
        return replace(self, samples=())

    def findings(self) -> list[scrub.Finding]:
        """What would be removed from its metadata.

        Raises:
            HeaderError: the file cannot be read.
        """
        return scrub.preview(scrub.Settings(file=str(self.file)))[1]

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
            run=self.run.name,
            images={one.name: str(one.path) for one in self.samples},
            private=private,
            scrub=scrub,
            replaces_card=replaces_card,
        )


def offer(run: Run, step: int | None = None, *, with_samples: bool = True) -> Offer:
    """What can be published of a run: the result of a step, by default the one that `Results.offered` names.

    Raises:
        RunError: there is none, or it is not known that it can be used.
        JobError: the run folder is damaged.
    """
    results = results_of(run)
    one = results.offered if step is None else results.of_step(step)
    if one is None:
        what = f"checkpoint of step {step}" if step is not None else "checkpoint that can be used"
        raise RunError(f"The run {run.name} has no {what}.")
    if not one.saved.ok:
        raise RunError(
            f"The checkpoint of step {one.step} is not known to be usable: {' '.join(one.saved.reasons)}",
            "Deliver it first, which tests it, or choose another.",
        )
    stem = choice.stem_of(run.folder) + ("" if one.is_final else delivery.step_ending(one.step))
    samples = model_card.picked(run, results, one) if with_samples else ()
    return Offer(run, one, ready_file(run, one), f"{stem}{delivery.SUFFIX}", samples)
