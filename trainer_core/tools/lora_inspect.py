"""The tool that measures what is in a LoRA, and the kind of job that runs it; its result is a report instead of a file.

`python -m trainer_core.tools.lora_inspect` is the program of such a job: see `making`. `report_of` reads the report of a job.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainer_core.jobs import own_program
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.job import Job
from trainer_core.tools import lora_files, making

if TYPE_CHECKING:
    from trainer_core.weights.lora.report import Report

KIND, TITLE = "lora-inspect", "Looking into a LoRA"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of an inspection: the file, and its family, "" for the one that its header shows."""

    file: str
    family: str = ""


def start(settings: Settings) -> Job:
    """The job that measures a file, started now.

    Raises:
        HeaderError, WeightsError: the file cannot be read, or contains no network.
        JobError: the job cannot be started.
    """
    check(settings)
    absolute = dataclasses.replace(settings, file=str(making.source(settings.file)))
    return own_program.started(KIND, __name__, absolute)


def check(settings: Settings) -> str:
    """Checks from its header that a file can be measured; returns a sentence about layers that cannot be, "" if all can.

    Raises:
        HeaderError, WeightsError: the file cannot be read, or contains no network.
    """
    (network,) = lora_files.listed([settings.file], settings.family)
    return network.said_of_unknown


def inspect(settings: Settings, report: Callable[[str], None] = lambda _: None) -> Report:
    """What is in a network, measured in this process.

    Raises:
        HeaderError, WeightsError: as `start`.
    """
    making.use_one_thread()
    from trainer_core.weights.lora import inspecting

    lora_files.listed([settings.file], settings.family)
    report("Computing")
    meter = making.Meter(report, "Computed", "layers")
    return inspecting.inspect(making.source(settings.file), settings.family, meter)


def report_of(folder: JobFolder) -> Mapping[str, Any] | None:
    """The report of a job that has ended, as JSON data; None if it made none."""
    found = (folder.read(own_program.MADE) or {}).get("report")
    return found if isinstance(found, dict) else None


class Inspecting(making.WeightsTool[Settings]):
    """The kind of job that measures a LoRA."""

    stopped = "The LoRA is only read, and there will be no report."


kind = Inspecting(KIND, TITLE, Settings, start)


def work(settings: Settings, report: Callable[[str], None]) -> Mapping[str, Any]:
    """Measures the file; returns its report."""
    return {"path": settings.file, "report": inspect(settings, report).as_dict()}


if __name__ == "__main__":
    sys.exit(making.program(Settings, work))
