"""The plan in a result of Easel's: read for `easel plan --from` and `easel train --from`, and written as a plan file."""

from __future__ import annotations

from pathlib import Path

import click

from trainer_core import places
from trainer_core.cli import show
from trainer_core.errors import EaselError
from trainer_core.plan import fields
from trainer_core.training.metadata import Recorded

HELP = (
    "Use the plan in a file that Easel delivered, such as a LoRA. Set the paths of the base model and the dataset again, "
    "because a file does not contain them."
)


def read(path: Path) -> Recorded:
    """The plan in a file; what the user must know about it goes to stderr.

    Raises:
        EaselError: the file cannot be read, or contains no plan.
    """
    from trainer_core.models import header
    from trainer_core.training import metadata

    found = metadata.read(header.read_file(places.typed(path)).metadata)
    for note in notes(found):
        show.notice(note)
    return found


def notes(found: Recorded) -> list[str]:
    """What must be said about a plan from a file: changes, what was left out, and which paths it was trained with."""
    said = list(found.notes)
    if not found.is_unchanged:
        said.insert(0, "The plan in this file was changed or damaged after the training: check its values.")
    known = fields.all_fields()
    for path, name in found.asked.items():
        option = known[path].about.option or f"--set {path}="
        said.append(f"{known[path].title}: it was trained with {name}. Set it with {option}.")
    return said


def save(result: Path | None, target: Path) -> None:
    """Writes the plan in a result as a new plan file.

    Raises:
        EaselError: the file exists already, or the result contains no plan.
    """
    import tomli_w

    from trainer_core.models import header
    from trainer_core.training import metadata

    if result is None:
        raise click.UsageError("--save-plan needs --from.")
    source = places.typed(result)
    found = metadata.read(header.read_file(source).metadata)
    lines = [f"# The plan of {source.name!r}, read from its metadata.", *(f"# {note}" for note in notes(found))]
    top = {"schema_version": 1, "engine": found.engine, "profile": "plain"}
    text = "\n".join(lines) + "\n" + tomli_w.dumps({**top, **fields.nest(found.values)})
    try:
        with places.typed(target).open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError as error:
        raise EaselError(f"{target} already exists.", "Choose another name.") from error
    show.notice(f"The plan was saved: {target}")
