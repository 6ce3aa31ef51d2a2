"""The tool that fetches what an engine loads from the Hub for a family, and the kind of job that runs it.

`python -m trainer_core.tools.hub_files` is the program of such a job. It reads `settings.json` in the current folder, and writes
`made.json` or `failure.json` there.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

from trainer_core.engines import manifest
from trainer_core.errors import InstallError
from trainer_core.events import Event, Phase
from trainer_core.files import from_table
from trainer_core.install import hub_files
from trainer_core.jobs import own_program
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.job import Job
from trainer_core.jobs.journal import Journal
from trainer_core.jobs.kind import LineWatch
from trainer_core.jobs.outcome import Diagnosis, Outcome
from trainer_core.models import tokens
from trainer_core.models.families import load_families

KIND = "hub-files"
KEEPS = (
    *tokens.SITES["huggingface"].names,
    "HF_ENDPOINT",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "TRANSFORMERS_CACHE",
    "HF_HUB_OFFLINE",
)
"""Where the Hub is, where its files are kept, and the token; as in a run, which gets the same variables."""
PHASES = ("Making ", "Downloading ")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The engine and the family whose files are fetched, and the variant; "" fetches those of all its variants."""

    engine: str
    family: str
    variant: str = ""


def start(settings: Settings) -> Job:
    """The job that fetches the files, started now.

    Raises:
        BackendError: there is no such engine.
        InstallError: the engine does not train this family, or there is no such variant.
        JobError: the job cannot be started.
    """
    _check(settings)
    job = own_program.prepared(KIND, __name__, settings, keeps=KEEPS)
    with tokens.lent("huggingface"):
        job.launch()
    return job


def _check(settings: Settings) -> None:
    table = manifest.read(settings.engine)
    if settings.family not in table.families:
        known = ", ".join(sorted(table.families))
        raise InstallError(f"{table.title} does not train {settings.family!r:.60}.", f"It trains: {known}.")
    family = load_families()[settings.family]
    if settings.variant and settings.variant not in family.variants:
        known = ", ".join(family.variants) or "none"
        raise InstallError(f"{family.title} has no variant {settings.variant!r:.60}.", f"It has: {known}.")


def run(settings: Settings) -> Mapping[str, str]:
    """Fetches what is missing, looks again, and returns where the files are.

    Raises:
        InstallError: some of them cannot be had.
    """
    _check(settings)
    table = manifest.read(settings.engine)
    token = tokens.find("huggingface")
    rows = hub_files.missing(table, settings.family, settings.variant)
    hub_files.bring_all(rows, table, own_program.report, token.header() if token else None)
    if left := hub_files.missing(table, settings.family, settings.variant):
        raise InstallError(
            f"After the fetching, {left[0].title} is still not where the engine looks.",
            "Report this as a fault of Easel.",
        )
    needed = table.families[settings.family].hub_of(settings.variant)
    folders = sorted({str(hub_files.folder_of(table.hub[name])) for name in needed})
    for folder in folders:
        own_program.report(f"Ready: {folder}")
    return {"path": folders[0] if folders else ""}


class FetchingHubFiles:
    """The kind of job that fetches the files of the Hub; it succeeds only if the engine finds them then."""

    id, title = KIND, "Fetching files of the Hub"

    def begin(self, arguments: Mapping[str, str]) -> Job:
        """The job with the settings in these arguments, started now.

        Raises:
            EaselError: a setting is unknown or missing, or the job cannot be started.
        """
        return start(from_table(Settings, arguments, "The fetching", InstallError))

    def watch(self, folder: JobFolder, journal: Journal) -> LineWatch:
        """A watch that reads phases from the tool's messages."""
        return LineWatch(folder, journal, parse, judge)


kind = FetchingHubFiles()


def parse(line: str) -> Event | None:
    """The phase that a line of the tool begins, or None."""
    text = line.strip()
    return Phase(text.rstrip(".").lower()) if text.startswith(PHASES) else None


def judge(folder: JobFolder, exit_code: int | None) -> Outcome:
    """COMPLETED when every file is where the engine looks."""
    return own_program.judge(folder, exit_code, "path", Diagnosis("not-fetched", "The files were not fetched.", "", ""))


def main() -> int:
    """Runs the tool with the settings in the current folder; returns the exit status."""
    return own_program.run(Settings, InstallError, run)


if __name__ == "__main__":
    sys.exit(main())
