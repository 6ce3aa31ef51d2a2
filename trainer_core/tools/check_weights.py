"""The tool that looks for damage in the numbers of a model file, and the kind of job that runs it.

`python -m trainer_core.tools.check_weights` is the program of such a job. It writes `report.json` into the folder of its job.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_core.errors import WeightsError
from trainer_core.files import write_whole
from trainer_core.jobs import own_program
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.job import Job
from trainer_core.jobs.outcome import Diagnosis, Outcome
from trainer_core.models.header.tensors import shown
from trainer_core.text import printable
from trainer_core.tools import making
from trainer_core.weights import sources

KIND, REPORT = "check-weights", "report.json"
SHOWN = 3
NO_REPORT = "The model is only read, and there will be no report."


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The model file or folder that is checked."""

    file: str


def start(settings: Settings) -> Job:
    """The job that checks a model, started now.

    Raises:
        HeaderError, WeightsError: it cannot be read.
        JobError: the job cannot be started.
    """
    check(settings)
    path = making.source(settings.file)
    return own_program.started(KIND, __name__, Settings(file=str(path)))


def run(settings: Settings, report: Callable[[str], None]) -> Path:
    """Checks a model, writes the report into the current folder, and returns the path of the model.

    Raises:
        HeaderError, WeightsError: it cannot be read.
        OSError: a file cannot be read or written.
    """
    from trainer_core.weights import checking

    path = making.source(settings.file)
    found = checking.check(path, making.Meter(report, "Checked").bytes)
    write_whole(Path(REPORT), json.dumps(dataclasses.asdict(found)) + "\n")
    for sentence in words(dataclasses.asdict(found)):
        report(sentence)
    return path


def check(settings: Settings) -> None:
    """Checks that a model can be read, from its header.

    Raises:
        HeaderError, WeightsError: it cannot.
    """
    sources.find(making.source(settings.file), dequantise=True)


def report_of(folder: JobFolder) -> dict[str, Any] | None:
    """The report of a job that has ended; None if it made none."""
    return folder.read(REPORT)


def words(found: Mapping[str, Any]) -> list[str]:
    """A report as sentences."""
    told = [f"{found['tensors']:,} tensors with {found['numbers']:,} numbers were read."]
    for count, numbers, names, what in (
        (found["nan"], found["numbers_nan"], found["names_nan"], "not a number (NaN)"),
        (found["infinite"], found["numbers_infinite"], found["names_infinite"], "infinite"),
    ):
        if count:
            told.append(
                f"{numbers:,} numbers of {count} tensors are {what}: {_some(names, count)}. The model is damaged."
            )
    if found["zeros"]:
        told.append(
            f"{found['zeros']} tensors have only zeros: {_some(found['names_zeros'], found['zeros'])}. "
            "That is usual for biases, and for a layer that was not trained."
        )
    if found["duplicates"]:
        first = " and ".join(printable(name, 120) for name in found["duplicates"][0][:2])
        told.append(f"{len(found['duplicates'])} groups of tensors have the same numbers, such as {first}.")
    if not found["nan"] and not found["infinite"]:
        told.append("No number is NaN or infinite.")
    return told


def _some(names: list[str], count: int) -> str:
    shown_names = ", ".join(printable(name, 120) for name in names[:SHOWN])
    return shown_names + (f" and {count - SHOWN} more" if count > SHOWN else "")


class CheckingWeights(making.WeightsTool[Settings]):
    """The kind of job that looks for damage; it succeeds if the model could be read, whatever is in it."""

    stopped = NO_REPORT

    @staticmethod
    def judge(folder: JobFolder, exit_code: int | None) -> Outcome:
        """COMPLETED if there is a report; damage is in the notices."""
        unsaid = Diagnosis("not-checked", "The model was not checked.", "", "")
        outcome = own_program.judge(folder, exit_code, "path", unsaid)
        found = report_of(folder)
        if found is None or not (found["nan"] or found["infinite"]):
            return outcome
        return dataclasses.replace(outcome, notices=words(found)[1:2])


kind = CheckingWeights(KIND, "Checking the numbers of a model", Settings, start)


def main() -> int:
    """Runs the tool with the settings in the current folder; returns the exit status."""

    def work(settings: Any) -> dict[str, str]:
        path = run(settings, own_program.report)
        return {"path": shown(path)}

    return own_program.run(Settings, WeightsError, work)


if __name__ == "__main__":
    sys.exit(main())
