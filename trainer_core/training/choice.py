"""What a user decided about the results of a run, in `choice.json` of its folder: the best checkpoint, and a name for copies.

A run folder may come from anybody, so what is damaged in the file is left out.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainer_core.errors import RunError
from trainer_core.events import whole
from trainer_core.jobs.folder import writing
from trainer_core.training.delivery import SUFFIX, is_part_of_name
from trainer_core.training.folder import results_stem

if TYPE_CHECKING:
    from trainer_core.training.folder import RunFolder

FILE = "choice.json"
VERSION = 1
LONGEST_NAME = 100


@dataclass(frozen=True)
class Choice:
    """`best` is the step of the checkpoint that the user likes best, None for none; `name` is the name of copies, "" for the plan's."""

    best: int | None = None
    name: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The choice as JSON data."""
        return dataclasses.asdict(self)


def read(folder: RunFolder) -> Choice:
    """What was decided about a run."""
    data = folder.read(FILE) or {}
    best, name = whole(data.get("best")), data.get("name")
    named = name if isinstance(name, str) and _is_name(name) else ""
    return Choice(best if best is not None and best >= 0 else None, named)


def write(folder: RunFolder, chosen: Choice) -> None:
    """Writes what was decided about a run.

    Raises:
        JobError: the run folder cannot be written.
    """
    with writing(folder.path):
        folder.write(FILE, {"version": VERSION, **chosen.as_dict()})


def prefer(folder: RunFolder, step: int | None) -> None:
    """Marks the checkpoint of a step as the best one; None takes the mark away.

    Raises:
        JobError: the run folder cannot be written.
    """
    write(folder, dataclasses.replace(read(folder), best=step))


def call(folder: RunFolder, name: str) -> str:
    """Sets the name of the copies that are made from now on, and returns it; "" goes back to that of the plan.

    Raises:
        RunError: it cannot be the name of a file.
        JobError: the run folder cannot be written.
    """
    plain = name.strip().removesuffix(SUFFIX).rstrip()
    if plain and not _is_name(plain):
        raise RunError(
            "This name cannot be used for a file.",
            f"Use a name of at most {LONGEST_NAME} characters without slashes, control characters and a dot at its beginning.",
        )
    write(folder, dataclasses.replace(read(folder), name=plain))
    return plain


def stem_of(folder: RunFolder) -> str:
    """The name of copies of a run's results, without a file ending.

    Raises:
        RunError: the plan of the run is damaged.
    """
    return read(folder).name or results_stem(folder.plan, folder)


def _is_name(name: str) -> bool:
    return is_part_of_name(name) and len(name) <= LONGEST_NAME and not name.startswith(".") and name.isprintable()
