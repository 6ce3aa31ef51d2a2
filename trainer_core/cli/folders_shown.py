"""Prints what each image folder of a job trains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trainer_core.cli import show
from trainer_core.prepare import image_folders

if TYPE_CHECKING:
    from trainer_core.prepare.state import State


def show_folders(state: State, found: Sequence[image_folders.Part]) -> None:
    """Prints a row for each image folder and the steps of an epoch, if there are several folders."""
    if len(found) < 2:
        return
    show.line("--- image folders", "bold")
    show.aligned([(part.title, part.sum, ", ".join(part.notes)) for part in found])
    show.line(image_folders.epoch(state, found))
