"""Installing an engine as a kind of job: it survives the terminal or notebook that started it, and can be watched and stopped.

`python -m trainer_core.install.job <engine> <accelerator> [<source>]` is the program of such a job. It calls
`environments.install`, and writes an error to `failure.json` in the folder it runs in.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from trainer_core import places
from trainer_core.child import ADDRESSES
from trainer_core.engines import manifest
from trainer_core.errors import EaselError, InstallError, JobError
from trainer_core.events import Event, Phase
from trainer_core.files import write_whole
from trainer_core.install.addresses import without_secrets
from trainer_core.install.installed import installed
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.job import Job, list_jobs
from trainer_core.jobs.journal import Journal
from trainer_core.jobs.kind import LineWatch, by_exit_code
from trainer_core.jobs.outcome import Diagnosis, Outcome
from trainer_core.jobs.spec import Spec, Step
from trainer_core.jobs.state import JobState
from trainer_core.models.tokens import SITES

KIND = "install"
FETCHES_WITH = ("SSH_AUTH_SOCK", "GOOGLE_APPLICATION_CREDENTIALS", *SITES["huggingface"].names)
"""What git, a keyring of uv, and the Hub's client may need."""
FAILURE = "failure.json"
PHASES = (
    (r"Downloading uv", "fetching uv, the tool that installs packages"),
    (r"Another installation runs in", "waiting for another installation"),
    (r"Fetching the sources", "fetching the sources"),
    (r"No Python .* was found", "fetching Python"),
    (r"Installing ", "creating the environment"),
    (r"torch: ", "installing packages"),
    (r"Checking that it works", "checking"),
    (r"Fetching the tokenizers", "fetching tokenizers"),
    (r"Trying the optimizers", "trying optimizers"),
)
"""The beginning of a message of the installer, and the phase that starts with this message."""


def start(engine: str, accelerator: str = "auto", source: str | None = None) -> tuple[Job, bool]:
    """The job that installs an engine, and whether it was started now: if one already runs, that one is returned.

    Raises:
        InstallError: there is no such engine, it needs no installation, or the address of its source has a password.
        JobError: the job cannot be started.
    """
    # The notebook shows installations without ever starting one.
    from trainer_core.install.uv import kept_settings

    manifest.read(engine)
    if source and without_secrets(source) != source:
        raise InstallError(
            "The folder of a job would keep what opens the address of this source.",
            "Name it without a user, a password or a query, and let git's credential helper know them; or install without a job.",
        )
    running = next((job for job in known(engine) if job.is_live), None)
    if running is not None:
        return running, False
    folder = JobFolder.create(places.jobs(), f"{KIND}-{engine}")
    words = [sys.executable, "-P", "-m", __name__, engine, accelerator, *([source] if source else [])]
    present = installed(engine)
    spec = Spec(
        KIND,
        (Step(KIND, tuple(words)),),
        folder.path,
        # They locate Easel and the user's package index. Only names, because a mirror's address may contain a password.
        keeps=("PYTHONPATH", *ADDRESSES, *FETCHES_WITH, *kept_settings()),
        details={"engine": engine, "before": present.installed_at if present else ""},
    )
    folder.write_spec(spec)
    job = Job(folder)
    job.launch()
    return job, True


def known(engine: str = "") -> Iterator[Job]:
    """The jobs that install an engine, or any engine, newest first."""
    for job in list_jobs(places.jobs()):
        if (of := engine_of(job)) and engine in ("", of):
            yield job


def engine_of(job: Job) -> str:
    """The id of the engine that a job installs; "" for another kind of job or a damaged one."""
    try:
        spec = job.spec
    except JobError:
        return ""
    return str(spec.details.get("engine", "")) if spec.kind == KIND else ""


class Installing:
    """The kind of job that installs an engine: it has phases, and succeeds only if the engine is installed."""

    id, title = KIND, "Installing an engine"
    diagnosis = Path(__file__).with_name("diagnosis.toml")
    """The causes of failures that only installations have."""

    def watch(self, folder: JobFolder, journal: Journal) -> LineWatch:
        """A watch that reads the phases from the installer's messages."""
        return LineWatch(folder, journal, parse, judge)


kind = Installing()


def parse(line: str) -> Event | None:
    """The phase that starts with this line of the installer, or None."""
    return next((Phase(name) for pattern, name in PHASES if re.match(pattern, line)), None)


def main(arguments: list[str]) -> int:
    """Installs the engine and writes an error to a file; returns the exit status."""
    from trainer_core.install import environments

    engine, accelerator, source = [*arguments, ""][:3]
    try:
        environments.install(engine, accelerator, source or None, report=_report)
    except EaselError as error:
        _report(str(error))
        write_whole(Path(FAILURE), json.dumps({"message": error.message, "hint": error.hint}) + "\n")
        return 1
    return 0


def _report(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))


def judge(folder: JobFolder, exit_code: int | None) -> Outcome:
    """COMPLETED when the engine was installed now, or when there was nothing to do."""
    details = folder.spec.details
    found = installed(str(details.get("engine", "")))
    failure = folder.read(FAILURE)
    is_new = found is not None and found.installed_at != details.get("before")
    if found is not None and (is_new or (exit_code == 0 and failure is None)):
        said = f"The engine is installed, but a later step failed. {failure['message']}" if failure else ""
        return Outcome(JobState.COMPLETED, exit_code, [str(found.home)], notices=[said] if said else [])
    if failure is not None:
        told = Diagnosis("not-installed", str(failure.get("message")), "", str(failure.get("hint")))
        return Outcome(JobState.FAILED, exit_code, diagnosis=told)
    ended = by_exit_code(folder, exit_code)
    if ended.diagnosis is None:
        ended = Outcome(JobState.FAILED, diagnosis=Diagnosis("not-installed", "The engine was not installed.", "", ""))
    return ended
