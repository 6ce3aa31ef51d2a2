"""Copies a result to a folder of the user's, such as the LoRA folder of ComfyUI. The same file is never copied there twice."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer_core import places
from trainer_core.errors import HeaderError, RunError, wrong_use
from trainer_core.jobs.alone import alone
from trainer_core.models import header
from trainer_core.text import printable
from trainer_core.training import choice, delivery, use
from trainer_core.training.metadata import keys, result_keys
from trainer_core.training.results import Made, inside, results_of

if TYPE_CHECKING:
    from trainer_core.training.run import Run

SAME = (result_keys.HASH, keys.STEPS, keys.PLAN_DIGEST)
"""Two results with the same values of these keys are the same."""
FINISHED = "finished"
"""The folder of the finished files, as `finishing.FOLDER`, which loads much."""
LONGEST_LISTING = 2000
"""So many files of a folder are compared at most."""


@dataclass(frozen=True)
class HandedOver:
    """A result in a folder of the user's; `was_there` is whether it lay there already, `notices` are sentences about it."""

    path: Path
    step: int
    was_there: bool
    notices: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """It as JSON data."""
        return {"path": str(self.path), "step": self.step, "was_there": self.was_there, "notices": list(self.notices)}


def hand_over(run: Run, step: int | None, folder: Path) -> HandedOver:
    """Copies the result of a step to a folder, with Easel's metadata; without a step, the one that `Results.offered` names.

    A checkpoint that was not tested is tested first.

    Raises:
        RunError: there is no such result, it cannot be used, or the folder cannot be written.
        JobError: the run folder is damaged.
    """
    found = results_of(run)
    one = found.offered if step is None else found.of_step(step)
    if one is None:
        what = f"checkpoint of step {step}" if step is not None else "checkpoint that can be used"
        error = RunError(f"The run {run.name} has no {what}.", f"It has: `easel runs checkpoints {run.name}`.")
        raise wrong_use(error) if step is not None else error
    if not folder.is_absolute():
        raise RunError(f"{printable(str(folder), 200)} is not an absolute path.", "Give the whole path of the folder.")
    use.refuse_own_folder(run.folder, folder)
    stem = choice.stem_of(run.folder) + ("" if one.is_final else delivery.step_ending(one.step))
    if one.saved.ok:
        with alone(run.folder.output):
            use.refuse_deleted(run)
            source = ready_file(run, one)
            if (there := same_in(folder, source, stem)) is not None:
                return HandedOver(there, one.step, was_there=True)
            placed = next(delivery.deliver(source, (), folder, stem))
        notices = () if one.is_final else use.note_delivered(run, one.saved.path, placed)
        return HandedOver(placed, one.step, was_there=False, notices=notices)
    taken = use.use(run, one.step, folder)
    return HandedOver(taken.delivered or taken.path, one.step, was_there=False, notices=taken.notices)


def ready_file(run: Run, one: Made) -> Path:
    """The file of a result with Easel's metadata, inside the run folder; a folder, and a whole model, stay as they are."""
    from trainer_core.training import finishing

    if (known := finished_file(run, one)) is not None:
        return known
    return finishing.Finishing(run.folder, run.folder.plan, choice.stem_of(run.folder)).made(one.saved.path, one.step)


def finished_file(run: Run, one: Made) -> Path | None:
    """The file of a result with Easel's metadata, if it was made before; a link, which may lead anywhere, does not count."""
    source, folder = one.saved.path, run.folder.path
    for path in sorted((folder / FINISHED).glob(f"*-{glob.escape(source.parent.name)}-{glob.escape(source.name)}")):
        relative = path.relative_to(folder).as_posix()
        if not path.is_symlink() and inside(folder, relative) is not None and path.is_file():
            return path
    return None


def same_in(folder: Path, source: Path, stem: str) -> Path | None:
    """The file in a folder that is this result, under its name or a numbered one; None if there is none."""
    if source.is_dir() or not places.is_folder(folder):
        return None
    names = sorted(path for path in folder.iterdir() if path.name.startswith(stem) and path.suffix == delivery.SUFFIX)
    wanted = _signature(source)
    for path in names[:LONGEST_LISTING]:
        try:
            if path.is_file() and (path.samefile(source) or (wanted and _signature(path) == wanted)):
                return path
        except OSError:
            continue
    return None


def _signature(path: Path) -> tuple[str, ...]:
    """What tells one result from another; () for a file without Easel's metadata."""
    try:
        told = header.read_file(path).metadata
    except (HeaderError, OSError):
        return ()
    return tuple(told.get(key, "") for key in SAME) if told.get(result_keys.HASH) else ()
