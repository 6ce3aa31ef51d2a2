"""What the tools that compute a new model file share: their job, its program and progress, and what is checked before the start."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.errors import JobError, WeightsError
from trainer_core.events import Event, Phase, Progress
from trainer_core.hardware import free_disk_bytes, memory_bytes
from trainer_core.jobs import own_program
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.job import Job, list_jobs
from trainer_core.jobs.outcome import Diagnosis, Outcome
from trainer_core.jobs.state import JobState
from trainer_core.models.header.tensors import shown
from trainer_core.tools.outlook import Outlook

DISK_FLOOR_BYTES = 1 << 30
"""The disk space that a new file must leave free."""
REST_S = 0.5
"""The seconds between two reports of the progress."""
_PROGRESS = re.compile(r"Wrote (\d+) of (\d+) MiB, \d+ of \d+ tensors")
_PHASES = ("Reading the headers", "Computing the hashes of the inputs", "Comparing the models", "Writing")


class Meter:
    """Reports how much of a new file is written, at most twice a second."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report, self._said_s = report, 0.0

    def __call__(self, tensors: int, of_tensors: int, done: int, total: int) -> None:
        """Reports so many tensors and bytes, if it is time."""
        now = time.monotonic()
        if now - self._said_s >= REST_S or (done == total and tensors == of_tensors):
            self._said_s = now
            # Rounded up, so that a file of a few bytes has a progress, too.
            of_mib, mib = -(-total // (1 << 20)), -(-done // (1 << 20))
            self._report(f"Wrote {mib} of {max(of_mib, 1)} MiB, {tensors} of {of_tensors} tensors")


def parse(line: str) -> Event | None:
    """The progress or the phase in a line of a tool, or None."""
    said = line.strip()
    if found := _PROGRESS.fullmatch(said):
        return Progress(int(found[1]), int(found[2]))
    return Phase(said.lower()) if said in _PHASES else None


def judge(folder: JobFolder, exit_code: int | None) -> Outcome:
    """COMPLETED with the path of the new file."""
    return own_program.judge(folder, exit_code, "path", Diagnosis("not-made", "The file was not made.", "", ""))


def program(kind: type, run: Callable[[Any, Callable[[str], None]], Path]) -> int:
    """Runs a tool with the settings in the current folder, which are of the type `kind`; returns the exit status.

    `made.json` gets the path and size of the new file or folder, and the seconds that it took.
    """

    def work(settings: Any) -> dict[str, Any]:
        started_s = time.monotonic()
        path = run(settings, own_program.report)
        took_s = time.monotonic() - started_s
        own_program.report(f"Made {path}")
        return {"path": str(path), "bytes": _size(path), "seconds": round(took_s, 3)}

    return own_program.run(kind, WeightsError, work)


def _size(path: Path) -> int:
    """The size of a file, or of the files in a folder, in bytes."""
    if not path.is_dir():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def seconds_for(kind: str, size: int) -> float | None:
    """How long a job of this kind will take for a new file of this size, in bytes; None before there was one on this machine.

    It is measured: the speed of the last job of this kind that wrote at least a tenth of that size.
    """
    for job in list_jobs(places.jobs()):
        if not _is(job, kind) or job.state is not JobState.COMPLETED:
            continue
        made = job.folder.read(own_program.MADE) or {}
        wrote, took_s = made.get("bytes"), made.get("seconds")
        if isinstance(wrote, int) and isinstance(took_s, (int, float)) and wrote > size / 10 and took_s > 0:
            return size * took_s / wrote
    return None


def check_target(target: Path, inputs: Iterable[Path]) -> None:
    """Checks that the new file replaces nothing.

    Raises:
        WeightsError: there is a file with this name, or it is an input; the hint has a free name.
    """
    if any(_same(target, each) for each in inputs):
        raise WeightsError(
            f"{shown(target)} is one of the models that are read.", f"Choose another name, such as {free(target).name}."
        )
    if target.exists() or target.is_symlink():
        raise WeightsError(
            f"{shown(target)} already exists, and Easel replaces no model.", f"{free(target).name} is free."
        )


def free(target: Path) -> Path:
    """The path itself, or the first one with a number that does not exist."""
    number, found = 1, target
    while found.exists() or found.is_symlink():
        number += 1
        found = target.with_name(f"{target.stem}-{number}{target.suffix}")
    return found


def check_room(outlook: Outlook) -> None:
    """Checks that the disk and the memory suffice.

    Raises:
        WeightsError: one does not; the sentence has the numbers.
    """
    free_bytes = free_disk_bytes(outlook.target.parent)
    if free_bytes < outlook.size_bytes + DISK_FLOOR_BYTES:
        raise WeightsError(
            f"The new file needs {outlook.size_bytes / 1e9:.1f} GB and 1 GB beside it, but "
            f"{shown(outlook.target.parent)} has {free_bytes / 1e9:.1f} GB free.",
            "Free some space, or choose another folder.",
        )
    _, free_memory = memory_bytes()
    if free_memory < outlook.memory_bytes:
        raise WeightsError(
            f"This needs {outlook.memory_bytes / 1e9:.1f} GB of memory, but {free_memory / 1e9:.1f} GB are free.",
            "Close other programs, and try again.",
        )


def settings_text(settings: dict[str, Any]) -> str:
    """Settings as JSON, always with the same text for the same settings."""
    return json.dumps(settings, sort_keys=True, separators=(",", ":"))


def _is(job: Job, kind: str) -> bool:
    try:
        return job.spec.kind == kind
    except JobError:
        return False


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return one == other
