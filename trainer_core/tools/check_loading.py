"""The tool that loads a network with diffusers' own loader in an engine's environment, and the kind of job that runs it.

The model has shapes and no weights, so nothing is downloaded and a few GB of memory are enough; see `inside/load_network.py`.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.engines import registry
from trainer_core.errors import EaselError, InstallError
from trainer_core.events import Event, Phase
from trainer_core.files import from_table, write_whole
from trainer_core.install.installed import InstalledEngine, installed
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.job import Job
from trainer_core.jobs.journal import Journal
from trainer_core.jobs.kind import LineWatch, by_exit_code
from trainer_core.jobs.outcome import Outcome
from trainer_core.jobs.spec import Spec, Step
from trainer_core.jobs.state import JobState
from trainer_core.models import detection, header, loaders
from trainer_core.models.header import Header
from trainer_core.text import printable

KIND = "check-loading"
MODEL, REPORT = "model.json", "report.json"
PACKAGES = ("diffusers", "peft", "torch", "safetensors")
PHASES = ("Building the model without weights", "Loading the network")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of a check: the file, its family ("": the one that its header shows), and the engine ("": any that fits)."""

    file: str
    family: str = ""
    engine: str = ""


@dataclass(frozen=True)
class Report:
    """What diffusers loaded: the layers with their scale by component, its error and warnings, and names it had no layer for."""

    version: str
    error: str = ""
    warnings: tuple[str, ...] = ()
    loaded: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    unexpected: tuple[str, ...] = ()

    @property
    def layers(self) -> int:
        """The number of layers that were loaded."""
        return sum(map(len, self.loaded.values()))

    @property
    def is_loaded(self) -> bool:
        """Whether the file was loaded without an error and without names that have no layer."""
        return not self.error and not self.unexpected and self.layers > 0


def start(settings: Settings) -> Job:
    """The job that checks a file, started now.

    Raises:
        HeaderError: the file cannot be read.
        EaselError: its family is not known, or diffusers cannot load networks of it.
        InstallError: no installed engine has diffusers and PEFT.
        JobError: the job cannot be started.
    """
    source = places.typed(settings.file).absolute()
    family = family_of(header.read_file(source), settings.family)
    rows = loaders.configs().get(family)
    if rows is None:
        reason = loaders.table.has_no_loader(family)
        what = f"{reason} cannot load networks" if reason else "Easel has no configuration of this family"
        raise EaselError(f"The file cannot be checked with diffusers: {what}.", "Check it in ComfyUI.")
    engine = engine_for(settings.engine)
    folder = JobFolder.create(places.jobs(), KIND)
    write_whole(folder.path / MODEL, json.dumps(rows))
    program = Path(__file__).parent / "inside" / "load_network.py"
    argv = (str(engine.python), "-P", str(program), str(source), str(folder.path / MODEL), str(folder.path / REPORT))
    folder.write_spec(Spec(KIND, (Step(KIND, argv),), folder.path, details=dataclasses.asdict(settings)))
    job = Job(folder)
    job.launch()
    return job


def family_of(found: Header, family: str = "") -> str:
    """The family of a network: as given, else as its header shows.

    Raises:
        EaselError: the header does not show it.
    """
    family = family or detection.detect(found).base_family or ""
    if not family:
        raise EaselError("The file does not show the family of its base model.", "Set it with --family, such as sdxl.")
    return family


def engine_for(wanted: str) -> InstalledEngine:
    """The installed engine whose environment has diffusers and PEFT: the one with this id, or any for "".

    Raises:
        InstallError: there is none.
    """
    ids = [backend.manifest.id for backend in registry.available()]
    for name in [wanted] if wanted else ids:
        found = installed(name)
        if found is not None and has_packages(found):
            return found
    needed = " and ".join(PACKAGES[:2])
    if wanted:
        message = f"The engine {printable(wanted, 60)} is not installed, or its environment lacks {needed}."
        raise InstallError(message, "Leave --engine out, or install the engine.")
    raise InstallError(
        f"No installed engine has an environment with {needed}.", "Install an engine that trains with diffusers."
    )


def has_packages(engine: InstalledEngine) -> bool:
    """Whether the environment of an engine has what the check needs."""
    folders = list((engine.python.parent.parent / "lib").glob("python3*/site-packages"))
    return any(all((folder / name).is_dir() for name in PACKAGES) for folder in folders)


def report_of(folder: JobFolder) -> Report | None:
    """The report of a job that has ended; None if it made none."""
    found = folder.read(REPORT)
    if found is None:
        return None
    loaded = found.get("loaded")
    return Report(
        version=printable(str(found.get("version", "")), 40),
        error=printable(str(found.get("error", "")), 2000),
        warnings=_texts(found.get("warnings")),
        loaded=loaded if isinstance(loaded, dict) and all(isinstance(each, dict) for each in loaded.values()) else {},
        unexpected=_texts(found.get("unexpected")),
    )


def words(report: Report, layers: int) -> list[str]:
    """The report as sentences; `layers` is the number of layers that the file changes."""
    program = f"diffusers {report.version}".strip()
    if report.error:
        return [f"{program} does not load this file: {report.error}"]
    if not report.layers:
        return [f"{program} loads nothing of this file.", *report.warnings]
    said = [f"{program} changes {report.layers} layers of the model with this file, which has {layers}."]
    strengths = Counter(round(scale, 6) for each in report.loaded.values() for scale in each.values())
    shown = ", ".join(f"{scale:g} ({count} layers)" for scale, count in strengths.most_common(3))
    said.append(f"The scale of the layers (alpha / rank, where it is not in the weights) is {shown}.")
    if report.unexpected:
        said.append(f"It has no layer for {len(report.unexpected)} names, such as {report.unexpected[0]}.")
    return said


def _texts(found: Any) -> tuple[str, ...]:
    return tuple(printable(str(each), 500) for each in found) if isinstance(found, list) else ()


class Checking:
    """The kind of job that loads a network; it succeeds if diffusers loads the whole file."""

    id, title = KIND, "Loading a network with diffusers"

    def begin(self, arguments: Mapping[str, str]) -> Job:
        """The job with the settings in these arguments, started now.

        Raises:
            EaselError: a setting is unknown or missing, the file cannot be checked, or the job cannot be started.
        """
        return start(from_table(Settings, arguments, "The check"))

    def watch(self, folder: JobFolder, journal: Journal) -> LineWatch:
        """A watch that reads the phases from the program's messages."""
        return LineWatch(folder, journal, parse, judge)


kind = Checking()


def parse(line: str) -> Event | None:
    """The phase in a line of the program, or None."""
    return Phase(line.strip().lower()) if line.strip() in PHASES else None


def judge(folder: JobFolder, exit_code: int | None) -> Outcome:
    """COMPLETED if the check gave an answer, whichever it is; the answer is in the notices."""
    report = report_of(folder)
    if exit_code != 0 or report is None:
        return by_exit_code(folder, 1 if exit_code == 0 else exit_code)
    return Outcome(JobState.COMPLETED, 0, notices=[] if report.is_loaded else words(report, 0)[:1])
