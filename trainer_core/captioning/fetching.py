"""Fetches a tagger or a local captioner, and installs the environment that it runs in, as one job.

`python -m trainer_core.captioning.fetching` is the program of such a job.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from trainer_core.captioning import captioners, progress, taggers, weights
from trainer_core.captioning.captioners import Captioner
from trainer_core.captioning.taggers import Tagger
from trainer_core.errors import DatasetError, InstallError, wrong_use
from trainer_core.files import from_table
from trainer_core.install import tool_environments
from trainer_core.install.uv import kept_settings
from trainer_core.jobs import own_program
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.job import Job
from trainer_core.jobs.journal import Journal
from trainer_core.jobs.kind import LineWatch
from trainer_core.jobs.outcome import Diagnosis, Outcome
from trainer_core.models.downloads import Progress
from trainer_core.tools.hub_files import KEEPS

KIND = "fetch-captioner"
MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is fetched. With a `folder`, which has the files of the model already, only the environment is installed."""

    model: str
    folder: str = ""
    accelerator: str = "auto"


def row_of(model: str) -> Tagger | Captioner:
    """The tagger or local captioner with this id.

    Raises:
        DatasetError: there is none.
    """
    tables: Mapping[str, Tagger | Captioner] = {**taggers.taggers(), **captioners.captioners()}
    if model not in tables:
        raise wrong_use(DatasetError(f"There is no tagger or captioner {model!r:.60}.", f"Known: {', '.join(tables)}."))
    return tables[model]


def environment_of(row: Tagger | Captioner) -> str:
    """The environment of tools that it runs in."""
    return taggers.ENVIRONMENT if isinstance(row, Tagger) else captioners.ENVIRONMENT


def start(settings: Settings) -> Job:
    """The job that fetches a model, started now.

    Raises:
        EaselError: there is no such model, or the job cannot be started.
    """
    row_of(settings.model)
    module = __name__ if __name__ != "__main__" else "trainer_core.captioning.fetching"
    job = own_program.prepared(KIND, module, settings, keeps=(*KEEPS, *kept_settings()))
    job.launch()
    return job


def run(settings: Settings) -> Mapping[str, str]:
    """Installs the environment and fetches the files, and returns their folder.

    Raises:
        EaselError: one of them cannot be had; what has arrived of a file is kept.
    """
    report, row = own_program.report, row_of(settings.model)
    if row.terms:
        report(f"{row.title}: {row.licence or 'licence not known'}. {row.terms}")
    report("Installing the environment")
    tool_environments.install(environment_of(row), settings.accelerator, report)
    if settings.folder:
        return {"path": str(weights.required(row.id, row.title, row.files, settings.folder).folder)}
    report("Fetching the model")
    said = [-1]

    def tell(now: Progress) -> None:
        if now.total_bytes and now.doing == "downloading" and (done := now.done_bytes // MIB) != said[0]:
            said[0] = done
            report(f"Downloaded {done} of {-(-now.total_bytes // MIB)} MiB")

    found = weights.fetch(row.id, row.repository, row.files, tell, threading.Event())
    report(f"Ready: {found.folder}")
    return {"path": str(found.folder)}


class Fetching:
    """The kind of job that fetches a tagger or captioner."""

    id, title = KIND, "Fetching a tagger or captioner"

    def begin(self, arguments: Mapping[str, str]) -> Job:
        """The job with the settings in these arguments, started now.

        Raises:
            EaselError: a setting is unknown or missing, or the job cannot be started.
        """
        return start(from_table(Settings, arguments, "The fetching", InstallError))

    def watch(self, folder: JobFolder, journal: Journal) -> LineWatch:
        """A watch that reads phases and progress from the program's lines."""
        return LineWatch(folder, journal, progress.parse, judge)


kind = Fetching()


def judge(folder: JobFolder, exit_code: int | None) -> Outcome:
    """COMPLETED with the folder of the model."""
    unsaid = Diagnosis("not-fetched", "The model was not fetched.", "", "Start it again: what has arrived is kept.")
    return own_program.judge(folder, exit_code, "path", unsaid)


def main() -> int:
    """Fetches with the settings in the current folder; returns the exit status."""
    return own_program.run(Settings, InstallError, run)


if __name__ == "__main__":
    sys.exit(main())
