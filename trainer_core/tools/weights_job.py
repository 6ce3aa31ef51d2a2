"""What the tools that compute a new file from others share: their job, its program, its progress, the name of the file, its recipe."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from trainer_core import __version__, places
from trainer_core.errors import WeightsError
from trainer_core.events import Event, Phase, Progress
from trainer_core.files import from_table
from trainer_core.hardware import memory_bytes
from trainer_core.jobs import own_program
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.job import Job
from trainer_core.jobs.journal import Journal
from trainer_core.jobs.kind import LineWatch
from trainer_core.jobs.outcome import Diagnosis, Outcome
from trainer_core.models.header.tensors import shown
from trainer_core.tools.outlook import Outlook

RECIPE, MERGED_FROM = "easel.recipe", "modelspec.merged_from"
"""The metadata keys with all settings and inputs of a new file as JSON, and with the names of its inputs."""
PHASES = ("Reading", "Computing", "Writing", "Copying")
LINES_PER_S = 2
_PROGRESS = re.compile(r"(?:Computed|Copied) (\d+) of (\d+) MiB, \d+ of \d+ (?:layers|tensors)")
Wanted = TypeVar("Wanted")
Tell = Callable[[str], None]


class WeightsTool(Generic[Wanted]):
    """A kind of job that makes one file; `program` is the module that it runs."""

    def __init__(self, kind: str, title: str, settings: type[Wanted], start: Callable[[Wanted], Job]) -> None:
        self.id, self.title = kind, title
        self._settings, self._start = settings, start

    def begin(self, arguments: Mapping[str, str]) -> Job:
        """The job with the settings in these arguments, started now.

        Raises:
            EaselError: a setting is unknown or missing, the file cannot be made, or the job cannot be started.
        """
        return self._start(from_table(self._settings, arguments, self.title, WeightsError))

    @staticmethod
    def watch(folder: JobFolder, journal: Journal) -> LineWatch:
        """A watch that reads phases and progress from the program's messages."""
        return LineWatch(folder, journal, parse, judge)


def begin(kind: str, module: str, settings: Any) -> Job:
    """The job of a tool, started now; its program is a module that reads `settings` from the folder of the job.

    Raises:
        JobError: the job cannot be started.
    """
    job = own_program.prepared(kind, module, settings)
    job.launch()
    return job


def program(kind: type[Wanted], work: Callable[[Wanted, Tell], Mapping[str, Any]]) -> int:
    """Does the work with the settings in the current folder; returns the exit status. `work` gives the content of made.json."""
    return own_program.run(kind, WeightsError, lambda settings: work(settings, own_program.report))


def parse(line: str) -> Event | None:
    """The progress or the phase in a line of a tool, or None."""
    if found := _PROGRESS.fullmatch(line.strip()):
        return Progress(int(found[1]), int(found[2]))
    return Phase(line.strip().lower()) if line.strip() in PHASES else None


def judge(folder: JobFolder, exit_code: int | None) -> Outcome:
    """COMPLETED with the path of the new file."""
    return own_program.judge(folder, exit_code, "path", Diagnosis("not-made", "The file was not made.", "", ""))


class Meter:
    """Reports the progress of a tool, at most twice a second."""

    def __init__(self, tell: Tell, verb: str = "Copied", things: str = "tensors") -> None:
        self._tell, self._verb, self._things, self._said_s = tell, verb, things, 0.0

    def __call__(self, whole: int, of: int, done: int, total: int) -> None:
        """Reports that `whole` of `of` tensors, `done` of `total` bytes are complete, if it is time."""
        now = time.monotonic()
        if now - self._said_s >= 1 / LINES_PER_S or done == total:
            self._said_s = now
            mib = max(total >> 20, 1)
            self._tell(f"{self._verb} {min(done >> 20, mib)} of {mib} MiB, {whole} of {of} {self._things}")


def target(typed: str, source: Path, ending: str) -> Path:
    """The path of the new file: as typed, else next to the first input with an ending.

    Raises:
        WeightsError: it exists already, or is no .safetensors file.
    """
    path = places.typed(typed).absolute() if typed else source.with_name(f"{source.stem}-{ending}.safetensors")
    if path.suffix != ".safetensors":
        raise WeightsError(f"{shown(path)} would not be a .safetensors file.", "End its name with .safetensors.")
    if path.exists() or path.is_symlink():
        raise WeightsError(f"{shown(path)} already exists.", f"Choose another name; {free(path).name} is free.")
    return path


def free(path: Path) -> Path:
    """A path like this one at which nothing exists."""
    for number in range(2, 10_000):
        other = path.with_stem(f"{path.stem}-{number}")
        if not other.exists() and not other.is_symlink():
            return other
    raise WeightsError(f"There are too many files called {shown(path)}.", "Choose another name.")


def source(typed: str) -> Path:
    """The absolute path of an input as the user typed it."""
    return places.typed(typed).absolute()


def check_memory(outlook: Outlook) -> None:
    """Checks that this machine has the memory that a tool needs.

    Raises:
        WeightsError: it has not.
    """
    _, left = memory_bytes()
    if left and outlook.memory_bytes > left:
        raise WeightsError(
            f"This needs {outlook.memory_bytes / 1e9:.1f} GB of memory, and {left / 1e9:.1f} GB are free.",
            "Close other programs, or choose a smaller rank.",
        )


def recipe(tool: str, settings: Mapping[str, Any], inputs: Sequence[Path]) -> dict[str, str]:
    """The metadata that says how a file was made: its recipe, and the names of its inputs. It has no folders."""
    files = [{"name": each.name, "size": each.stat().st_size, "sha256": sha256(each)} for each in inputs]
    made = {"tool": tool, "version": __version__, "settings": dict(settings), "inputs": files}
    return {
        RECIPE: json.dumps(made, sort_keys=True, allow_nan=False),
        MERGED_FROM: ", ".join(each.stem for each in inputs),
    }


def sha256(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
