"""Deletes runs into a folder from which they can be restored: `<home>/trash`, one subfolder each, as they were.

A run folder is only ever renamed, which is atomic; only `empty` removes files. Delivered results are outside the run folder and
stay. Links in a run folder are renamed and removed as links: the user's images are never touched.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from trainer_core import places
from trainer_core.errors import JobError, RunError, wrong_use
from trainer_core.jobs.alone import alone
from trainer_core.jobs.folder import JobFolder, writing
from trainer_core.jobs.queueing import entries, occupancy
from trainer_core.jobs.state import JobState
from trainer_core.training import artefacts, history, labels, numbers
from trainer_core.training.results import results_of
from trainer_core.training.run import Run

METADATA_BYTES = 1 << 20
"""By so many bytes at most the metadata makes a delivered file larger or smaller."""
SHOWN = 10
"""So many names are in an error at most."""
RECORD = "trashed.json"
"""In a deleted run folder: when it was deleted, and the name that it had."""


@dataclass(frozen=True)
class Deletion:
    """What a deletion does: `kept` are the delivered results, which stay; `only_here` the results that exist nowhere else.

    `resumed_by` are the runs that continue this one.
    """

    run: str
    bytes: int
    kept: tuple[Path, ...]
    only_here: tuple[Path, ...]
    resumed_by: tuple[str, ...]


@dataclass(frozen=True)
class Trashed:
    """A deleted run: its folder in the trash, its former name, when it was deleted (seconds since 1970), and its size.

    `name` is what the user called it, "" if nothing.
    """

    path: Path
    run: str
    deleted: float
    bytes: int
    name: str = ""


def look(path: Path, force: bool = False) -> Deletion:
    """What would be deleted.

    Raises:
        RunError: it is not a run folder in the folder of runs; or the run runs, waits or is being started; or another run
            continues it and `force` is not set.
    """
    run = _deletable(path)
    resumed_by = tuple(name for name, how in history.related(run.name) if how == "resumes")
    if resumed_by and not force:
        raise RunError(
            f"The run {run.name} is needed: {', '.join(resumed_by)} continues it.",
            "Delete that run first, or delete this one with --force; a continued run that was started keeps its own copy.",
        )
    kept = tuple(_delivered(run))
    recorded = _recorded(run)
    only_here = tuple(
        file
        for file in _results(run)
        if not _is_still(file, recorded.get(file)) and not any(_is_copy(file, other) for other in kept)
    )
    return Deletion(run.name, size_bytes(run.folder.path), kept, only_here, resumed_by)


def delete(path: Path, force: bool = False) -> Path:
    """Moves a run folder to the trash, and returns where it is now.

    Raises:
        RunError: as `look`.
        JobError: it cannot be moved.
    """
    look(path, force)
    # The owner of the queue cannot begin to start the run while the queue is locked.
    with entries.locked():
        folder = _deletable(path).folder
        places.trash().mkdir(parents=True, exist_ok=True)
        target = _free(folder.path.name)
        with writing(folder.path):
            # The numbers of the runs that stay must not change.
            numbers.settle(folder.path)
            folder.write(RECORD, {"run": folder.path.name, "deleted": time.time()})
        # A delivery that has begun is finished first.
        with alone(folder.output):
            _move(folder.path, target)
    return target


def trashed() -> list[Trashed]:
    """The deleted runs, the last one first."""
    found = []
    where = places.trash()
    for path in where.iterdir() if where.is_dir() else ():
        if not path.is_symlink() and path.is_dir():
            record = JobFolder(path).read(RECORD) or {}
            run, deleted = record.get("run"), record.get("deleted")
            name = run if isinstance(run, str) and entries.is_name(run) else path.name
            at = float(deleted) if isinstance(deleted, int | float) else 0.0
            called = labels.read(JobFolder(path)).name
            found.append(Trashed(path, name, at, size_bytes(path), called))
    return sorted(found, key=lambda one: (one.deleted, one.path.name), reverse=True)


def find(name: str) -> Trashed:
    """The deleted run with this folder, former name or given name, else the only one whose name ends or begins with this.

    Raises:
        RunError: none or more than one fits.
    """
    known = trashed()
    exact = [one for one in known if one.path.name == name] or [one for one in known if name in (one.run, one.name)]
    near = [one for one in known if name and (one.run.endswith(name) or one.run.startswith(name))]
    fitting = exact or near
    if len(fitting) == 1:
        return fitting[0]
    advice = "`easel runs trash list` shows all of them."
    if not fitting:
        raise wrong_use(RunError(f"No deleted run is called {name!r:.100}.", advice))
    shown = ", ".join(one.path.name for one in fitting[:SHOWN]) + (", ..." if len(fitting) > SHOWN else "")
    told = f"{len(fitting)} deleted runs are called {name!r:.100}: {shown}."
    raise wrong_use(RunError(told, f"Give the whole name of one. {advice}"))


def restore(name: str) -> Path:
    """Moves a deleted run back, and returns its folder.

    Raises:
        RunError: there is none with this name, or more than one, or its name is taken by now.
        JobError: it cannot be moved.
    """
    one = find(name)
    target = places.runs() / one.run
    if os.path.lexists(target):
        raise RunError(f"There is a run called {one.run} again.", "Delete that one first.")
    places.runs().mkdir(parents=True, exist_ok=True)
    _move(one.path, target)
    (target / RECORD).unlink(missing_ok=True)
    return target


def empty(names: tuple[str, ...] = ()) -> list[Trashed]:
    """Removes these deleted runs for good, or all of them, and returns those that were removed.

    Raises:
        RunError: there is none with such a name.
        JobError: a folder cannot be removed.
    """
    removed = [find(name) for name in names] if names else trashed()
    for one in removed:
        with writing(one.path):
            # rmtree removes links and not what they point to, and refuses a link as its argument.
            shutil.rmtree(one.path)
    return removed


def size_bytes(folder: Path) -> int:
    """The size of the files in a folder. A file that exists elsewhere under another name too (a hard link) frees nothing."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                found = Path(place, name).lstat()
            except OSError:
                continue
            total += found.st_size if stat.S_ISREG(found.st_mode) and found.st_nlink == 1 else 0
    return total


def _deletable(path: Path) -> Run:
    """The run in a folder, if it may be deleted now."""
    runs = places.real(places.runs())
    # Not resolved: a link in the folder of runs would lead to a folder elsewhere.
    plain = Path(os.path.abspath(path))  # noqa: PTH100 - Path has no equivalent that leaves links alone
    is_inside = places.real(plain.parent) == runs and not plain.is_symlink() and plain.is_dir()
    if not is_inside or ".." in Path(path).parts:
        raise RunError(f"{path} is not a run folder in {runs}.", "`easel runs history` shows the runs.")
    try:
        run = Run.attach(runs / plain.name)
    except JobError as error:
        raise RunError(f"{path} is not a run folder. {error.message}", error.hint) from error
    state = run.state
    if state is JobState.QUEUED or _waits(run, state):
        raise RunError(
            f"The run {run.name} waits in the queue.", f"Cancel it first: easel runs queue cancel {run.name}"
        )
    if occupancy.goes_on(run):
        raise RunError(f"The run {run.name} runs.", f"Stop it first: easel runs stop {run.name}")
    return run


def _waits(run: Run, state: JobState) -> bool:
    """Whether a run is in the queue. Of a damaged queue only a run that was never started can be in it.

    Raises:
        JobError: the queue is damaged, and the run may be in it.
    """
    try:
        return entries.read().entry(run.name) is not None
    except JobError:
        if state is JobState.PREPARED:
            raise
        return False


def _delivered(run: Run) -> list[Path]:
    """The results that were delivered outside the run folder and still exist."""
    inside = run.folder.path
    listed = (*(run.result or {}).get("outputs", ()), *run.folder.delivered.values())
    found = dict.fromkeys(map(Path, listed))
    return [file for file in found if places.is_there(file) and not places.real(file).is_relative_to(inside)]


def _recorded(run: Run) -> dict[Path, Path]:
    """Where each result and checkpoint of a run was delivered, as the run recorded it, if the file is still there."""
    try:
        found = results_of(run).made
    except (JobError, AttributeError, ValueError):
        return {}
    inside = run.folder.path
    places_ = {one.saved.path: one.saved.delivered for one in found if one.saved.delivered is not None}
    return {file: place for file, place in places_.items() if not places.real(place).is_relative_to(inside)}


def _is_still(file: Path, place: Path | None) -> bool:
    """Whether a recorded copy can still be that of a file: it is about as large. It has other metadata, so it is not the same."""
    if place is None or file.is_dir() != place.is_dir():
        return False
    own, other = artefacts.size_of(file), artefacts.size_of(place)
    return own is not None and other is not None and abs(own[1] - other[1]) <= METADATA_BYTES


def _results(run: Run) -> list[Path]:
    """The finished results and checkpoints in a run folder."""
    try:
        patterns = run.folder.rendered.artefacts
    except (JobError, AttributeError, ValueError):
        return []
    found: list[Path] = []
    for pattern in (patterns.final, patterns.checkpoints):
        found += [path for path, _ in artefacts.matching(run.folder.output, pattern) if path not in found]
    return found


def _is_copy(file: Path, other: Path) -> bool:
    """Whether another file is the same file, or has the same content; of a folder, whether all its files do."""
    try:
        if file.is_dir() and other.is_dir():
            names = sorted(path.relative_to(file) for path in file.rglob("*") if path.is_file())
            return bool(names) and all(_is_copy(file / name, other / name) for name in names)
        return file.samefile(other) or (
            file.stat().st_size == other.stat().st_size and filecmp.cmp(file, other, shallow=False)
        )
    except OSError:
        return False


def _free(name: str) -> Path:
    """A path in the trash that is not used."""
    number, path = 2, places.trash() / name
    while os.path.lexists(path):
        number, path = number + 1, places.trash() / f"{name}-{number}"
    return path


def _move(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError as error:
        raise JobError(
            f"{source} cannot be moved to {target.parent}: {error.strerror or error}.",
            "Both folders must be on the same disk, and writable.",
        ) from error
