"""What the commands that tag and caption share: problems before the start, the job, and what is written."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer_core.cli import jobs, show
from trainer_core.errors import JobError
from trainer_core.jobs.job import Job
from trainer_core.jobs.state import JobState
from trainer_core.problems import Problem, blocking

if TYPE_CHECKING:
    from trainer_core.captioning.applying import Mode, Written

PROBLEMS = 3


def stop_at(found: Iterable[Problem], as_json: bool) -> None:
    """Shows problems, and ends the program with exit code 3 if one of them prevents the start."""
    listed = tuple(found)
    stopping = blocking(listed)
    if as_json and stopping:
        show.as_json({"problems": [problem.as_dict() for problem in listed]})
    elif not as_json:
        show.problems(listed)
    if stopping:
        sys.exit(PROBLEMS)


def missing(folder: str, known: Collection[str]) -> bool:
    """Whether there are images of which nothing is known."""
    from trainer_core.captioning import dataset

    return any(path not in known for path in dataset.images(dataset.root_of(folder)))


def finished(job: Job, *, quiet: bool) -> Job:
    """Shows a job until it has ended.

    Raises:
        JobError: it failed or was stopped.
    """
    jobs.watch(job, quiet=quiet)
    result = job.result or {}
    if job.state is not JobState.COMPLETED:
        told = result.get("diagnosis") or {}
        message = str(told.get("cause") or "The job was stopped. What is done is kept.")
        raise JobError(message, str(told.get("advice") or "Start it again to go on."))
    if not quiet:
        for notice in result.get("notices", ()):
            show.line(notice, "yellow")
    return job


class Result:
    """The captions that a machine made, and what became of them in the dataset."""

    def __init__(
        self, folder: Path, said: Mapping[str, str], mode: Mode, author: str, title: str, ending: str, *, applies: bool
    ) -> None:
        """Looks at the captions that there are, and writes if it `applies`.

        Raises:
            DatasetError: the dataset cannot be read or changed.
        """
        from trainer_core.captioning import applying, dataset

        root = dataset.root_of(folder)
        self._files = applying.current(root, ending)
        self.mode, self.applies = mode, applies
        self.counts = applying.counts(self._files, said)
        self.written: Written = (
            applying.apply(root, said, mode, author, title, ending)
            if applies
            else applying.chosen(self._files, said, mode)
        )
        self._paths = {file.path: file for file in self._files}

    def before(self) -> dict[str, str]:
        """The captions before the writing, by the path of the image."""
        return {file.image: file.text for file in self._files}

    def as_json(self) -> dict[str, Any]:
        """What was or would be written, as JSON data."""
        edit = self.written.edit
        changes = [
            {"path": path, "before": self._paths[path].text if path in self._paths else "", "after": text}
            for path, text in self.written.texts.items()
        ]
        return {
            "edit": dataclasses.asdict(edit) if edit is not None else None,
            "write": self.mode,
            "counts": self.counts,
            "kept": self.written.kept,
            "changes": changes,
        }

    def show(self, most: int) -> None:
        """Prints what was or would be written."""
        from trainer_core.captioning.applying import MEANING

        texts = self.written.texts
        for path, text in list(texts.items())[:most]:
            show.line(path)
            if path in self._paths and (before := self._paths[path].text.strip()):
                show.line(f"  - {before}")
            show.line(f"  + {text}")
        if len(texts) > most:
            show.line(f"and {len(texts) - most:,} more")
        if self.written.edit is not None:
            show.edit(self.written.edit, "", False)
            show.line("`easel dataset undo` takes it back.")
        elif not self.applies and texts:
            show.line("Nothing was written. --apply writes this.")
        elif not texts:
            show.line("No caption is to be written.")
        if self.written.kept:
            others = ", ".join(f"--write {mode} {count:,} ({MEANING[mode]})" for mode, count in self.counts.items())
            stay = "1 other caption stays" if self.written.kept == 1 else f"{self.written.kept:,} other captions stay"
            show.line(f"{stay}. Captions that would be written with {others}.")
