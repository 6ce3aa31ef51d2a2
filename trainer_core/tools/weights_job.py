"""What the kinds of job of `easel lora` share: how they begin and are watched, their program, the name of the new file and its recipe."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from trainer_core import places
from trainer_core.errors import WeightsError
from trainer_core.events import Event, Phase, Progress
from trainer_core.files import from_table
from trainer_core.jobs import own_program
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.job import Job
from trainer_core.jobs.journal import Journal
from trainer_core.jobs.kind import LineWatch
from trainer_core.models import header
from trainer_core.models.header.tensors import shown
from trainer_core.tools import making, recipe

PHASES = ("Reading", "Computing", "Writing", "Copying")
_PROGRESS = re.compile(r"(?:Computed|Copied) (\d+) of (\d+) MiB, \d+ of \d+ (?:layers|tensors)")
Wanted = TypeVar("Wanted")
Tell = Callable[[str], None]


class WeightsTool(Generic[Wanted]):
    """A kind of job that makes one file, with the settings of a tool."""

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
        return LineWatch(folder, journal, parse, making.judge)


def begin(kind: str, module: str, settings: Any) -> Job:
    """The job of a tool, started now; its program is a module that reads `settings` from the folder of the job.

    Raises:
        JobError: the job cannot be started.
    """
    job = own_program.prepared(kind, module, settings)
    job.launch()
    return job


def program(kind: type[Wanted], work: Callable[[Wanted, Tell], Mapping[str, Any]]) -> int:
    """Does the work with the settings in the current folder; returns the exit status.

    `work` gives the content of made.json, to which the size of the file and the time that it took are added.
    """
    use_one_thread()

    def timed(settings: Wanted) -> Mapping[str, Any]:
        started_s = time.monotonic()
        made = work(settings, own_program.report)
        own_program.report(f"Made {made['path']}")
        size = Path(str(made["path"])).stat().st_size
        return {**made, "bytes": size, "seconds": round(time.monotonic() - started_s, 3)}

    return own_program.run(kind, WeightsError, timed)


def use_one_thread() -> None:
    """Lets numpy compute with one thread, if this process has not imported it yet and the user has not said otherwise.

    The matrices are small: waiting for other threads would take ten times the CPU time of the work (benchmarks/resize_lora.py).
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def parse(line: str) -> Event | None:
    """The progress or the phase in a line of a tool, or None."""
    if found := _PROGRESS.fullmatch(line.strip()):
        return Progress(int(found[1]), int(found[2]))
    return Phase(line.strip().lower()) if line.strip() in PHASES else None


class Meter:
    """Reports the progress of a tool, at most twice a second."""

    def __init__(self, tell: Tell, verb: str = "Copied", things: str = "tensors") -> None:
        self._tell, self._verb, self._things, self._said_s = tell, verb, things, 0.0

    def __call__(self, whole: int, of: int, done: int, total: int) -> None:
        """Reports that `whole` of `of` tensors, `done` of `total` bytes are complete, if it is time."""
        now = time.monotonic()
        if now - self._said_s >= making.REST_S or (done == total and whole == of):
            self._said_s = now
            mib = max(total >> 20, 1)
            self._tell(f"{self._verb} {min(done >> 20, mib)} of {mib} MiB, {whole} of {of} {self._things}")


def target(typed: str, inputs: Sequence[Path], ending: str) -> Path:
    """The path of the new file: as typed, else next to the first input with an ending.

    Raises:
        WeightsError: it exists already, or is no .safetensors file.
    """
    path = places.typed(typed).absolute() if typed else inputs[0].with_name(f"{inputs[0].stem}-{ending}.safetensors")
    if path.suffix != ".safetensors":
        raise WeightsError(f"{shown(path)} would not be a .safetensors file.", "End its name with .safetensors.")
    making.check_target(path, inputs)
    return path


def source(typed: str) -> Path:
    """The absolute path of an input as the user typed it."""
    return places.typed(typed).absolute()


def recipe_of(tool: str, settings: Mapping[str, Any], inputs: Sequence[Path]) -> dict[str, str]:
    """The metadata that says how a file was made. The settings may have no folders."""
    hashed = [recipe.hashed(header.read_file(each)) for each in inputs]
    found = {recipe.KEY: recipe.of(tool, settings, hashed).text()}
    if len(inputs) > 1:
        found[recipe.MERGED_FROM] = ", ".join(each.stem for each in inputs)
    return found
