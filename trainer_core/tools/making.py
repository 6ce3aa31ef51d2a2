"""What the tools for model files share: their kind of job, its program and progress, and what is checked before the start."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from trainer_core import places
from trainer_core.errors import JobError, WeightsError, wrong_use
from trainer_core.events import Event, Phase, Progress
from trainer_core.files import from_table
from trainer_core.hardware import memory_bytes
from trainer_core.jobs import own_program
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.job import Job, list_jobs
from trainer_core.jobs.journal import Journal
from trainer_core.jobs.kind import LineWatch
from trainer_core.jobs.outcome import Diagnosis, End, Outcome
from trainer_core.jobs.state import JobState
from trainer_core.models.header.tensors import shown
from trainer_core.tools.outlook import Outlook
from trainer_core.weights import new_folder, writing

REST_S = 0.5
"""The seconds between two reports of the progress."""
_PROGRESS = re.compile(
    r"(?:Wrote|Copied|Computed|Checked) (\d+) of (\d+) (?:MiB|layers)(?:, \d+ of \d+ (?:layers|tensors))?"
)
_PHASES = frozenset(
    {"Reading", "Reading the header", "Reading the headers", "Computing", "Computing the hashes of the inputs"}
    | {"Comparing the models", "Copying", "Writing"}
)
Tell = Callable[[str], None]
Wanted = TypeVar("Wanted")


class WeightsTool(Generic[Wanted]):
    """A kind of job that works on model files with the settings of a tool; it succeeds if its program made what it was asked for."""

    stopped = "The incomplete file is removed; the files that were read stay as they are."

    def __init__(self, kind: str, title: str, settings: type[Wanted], start: Callable[[Wanted], Job]) -> None:
        self.id, self.title = kind, title
        self._settings, self._start = settings, start

    def begin(self, arguments: Mapping[str, Any]) -> Job:
        """The job with the settings in these arguments, started now.

        Raises:
            EaselError: a setting is unknown, missing or wrong, the file cannot be made, or the job cannot be started.
        """
        return self._start(from_table(self._settings, arguments, self.title, WeightsError))

    def watch(self, folder: JobFolder, journal: Journal) -> LineWatch:
        """A watch that reads phases and progress from the program's messages."""
        return ToolWatch(folder, journal, parse, self.judge)

    @staticmethod
    def judge(folder: JobFolder, exit_code: int | None) -> Outcome:
        """COMPLETED with the path of the new file."""
        return own_program.judge(folder, exit_code, "path", Diagnosis("not-made", "The file was not made.", "", ""))


class ToolWatch(LineWatch):
    """A watch that removes the unfinished file of a program that could not do it, because it was killed."""

    def outcome(self, end: End) -> Outcome:
        """As for any program, without an unfinished file if no file was made."""
        found = super().outcome(end)
        if found.state is JobState.COMPLETED:
            return found
        self._discard()
        if found.diagnosis is None or end.exit_code != -signal.SIGKILL or found.state is not JobState.FAILED:
            return found
        cause = "The program of this job was killed before the file was complete. The system does this when the memory is full."
        advice = "Start it again. If the memory was full, close other programs first. The unfinished file was removed."
        return dataclasses.replace(found, diagnosis=dataclasses.replace(found.diagnosis, cause=cause, advice=advice))

    def _discard(self) -> None:
        settings = self._folder.read(own_program.SETTINGS) or {}
        is_in_place = settings.get("in_place") or settings.get("undo")
        if target := settings.get("file" if is_in_place else "target"):
            with contextlib.suppress(OSError):
                writing.discard_part(Path(str(target)))
                new_folder.discard_part(Path(str(target)))


class Meter:
    """Reports the progress of a tool, at most twice a second: what it has done (`verb`), in MiB and tensors or layers (`things`)."""

    def __init__(self, tell: Tell, verb: str = "Wrote", things: str = "tensors") -> None:
        self._tell, self._verb, self._things, self._said_s = tell, verb, things, 0.0

    def __call__(self, whole: int, of: int, done: int, total: int) -> None:
        """Reports that `whole` of `of` tensors and `done` of `total` bytes are complete, if it is time."""
        self._report(done, total, f", {whole} of {of} {self._things}", is_end=done == total and whole == of)

    def bytes(self, done: int, total: int) -> None:
        """As a call, where the tensors are not counted."""
        self._report(done, total, "", is_end=done == total)

    def _report(self, done: int, total: int, more: str, *, is_end: bool) -> None:
        now = time.monotonic()
        if now - self._said_s >= REST_S or is_end:
            self._said_s = now
            # Rounded up, so that a file of a few bytes has a progress, too.
            of_mib, mib = -(-total // (1 << 20)), -(-done // (1 << 20))
            self._tell(f"{self._verb} {mib} of {max(of_mib, 1)} MiB{more}")


def parse(line: str) -> Event | None:
    """The progress or the phase in a line of a tool, or None."""
    said = line.strip()
    if found := _PROGRESS.fullmatch(said):
        return Progress(int(found[1]), int(found[2]))
    return Phase(said.lower()) if said in _PHASES else None


def program(kind: type[Wanted], work: Callable[[Wanted, Tell], Path | Mapping[str, Any]]) -> int:
    """Does the work with the settings in the current folder, which are of the type `kind`; returns the exit status.

    `work` gives the path of the new file or folder, or what is said of it in `made.json`, with its "path". `made.json` gets its
    size, too, and the seconds that it took.
    """
    use_one_thread()

    def timed(settings: Wanted) -> dict[str, Any]:
        started_s = time.monotonic()
        made = work(settings, own_program.report)
        told = {"path": str(made)} if isinstance(made, Path) else dict(made)
        took_s = time.monotonic() - started_s
        own_program.report(f"Made {told['path']}")
        return {**told, "bytes": _size(Path(told["path"])), "seconds": round(took_s, 3)}

    return own_program.run(kind, WeightsError, timed)


def use_one_thread() -> None:
    """Lets numpy compute with one thread, if this process has not imported it yet and the user has not said otherwise.

    The matrices are small: waiting for other threads would take ten times the CPU time of the work (benchmarks/resize_lora.py).
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def source(typed: str) -> Path:
    """The absolute path of an input as the user typed it. A job has another current folder.

    Raises:
        WeightsError: nothing was typed.
    """
    if not typed.strip():
        raise wrong_use(WeightsError("The name of a file is empty.", "Name a file."))
    return places.typed(typed).absolute()


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


def twice(files: Mapping[str, Path]) -> str:
    """A sentence that two inputs are the same file; "" if all differ. `files` are the inputs by what a sentence calls them."""
    known: list[tuple[str, Path]] = []
    for name, path in files.items():
        if found := next((other for other, one in known if _same(one, path)), ""):
            return f"{found} and {name} are the same file."
        known.append((name, path))
    return ""


def check_target(target: Path, inputs: Iterable[Path]) -> None:
    """Checks that the new file replaces nothing.

    Raises:
        WeightsError: there is a file with this name, or it is an input; the hint has a free name.
    """
    if any(_same(target, each) for each in inputs):
        raise WeightsError(
            f"{shown(target)} is one of the files that are read.", f"Choose another name, such as {free(target).name}."
        )
    if target.exists() or target.is_symlink():
        what = "already exists" if target.exists() else "is a link to a file that does not exist"
        raise WeightsError(f"{shown(target)} {what}, and Easel replaces nothing.", f"{free(target).name} is free.")
    above = next((place for place in target.parents if place.exists()), target.parent)
    if not above.is_dir():
        raise WeightsError(
            f"{shown(above)} is a file, so {shown(target)} cannot be made in it.", "Choose another folder."
        )
    if not os.access(above, os.W_OK | os.X_OK):
        raise WeightsError(
            f"Nothing can be written into the folder {shown(above)}.",
            "Check its permissions, or choose another folder.",
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
    writing.check_disk(outlook.target.parent, outlook.size_bytes, _left(outlook.target))
    _, free_memory = memory_bytes()
    if free_memory < outlook.memory_bytes:
        raise WeightsError(
            f"This needs {outlook.memory_bytes / 1e9:.1f} GB of memory, but {free_memory / 1e9:.1f} GB are free.",
            "Close other programs, and try again.",
        )


def _left(target: Path) -> int:
    """The bytes of the unfinished file or folder that a killed job left for this target, and that the next one overwrites."""
    part = writing.part_of(target)
    return _size(part) if part.exists() else 0


def planned_name(folder: JobFolder) -> str:
    """The name of the file that the job of a tool makes or looks into, by its settings; "" if they do not say it."""
    settings = folder.read(own_program.SETTINGS) or {}
    named = next((settings[key] for key in ("target", "file", "model") if settings.get(key)), "")
    return Path(named).name if isinstance(named, str) else ""


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
