"""`easel diagnose`: explains why a job failed, or a log of a training that Easel did not start."""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from trainer_core import places
from trainer_core.cli import jobs, show
from trainer_core.cli.options import bundle_options, check_bundle
from trainer_core.engines import diagnosis, job_diagnosis, registry
from trainer_core.errors import EaselError
from trainer_core.jobs import tail
from trainer_core.jobs.job import Job, list_jobs
from trainer_core.jobs.outcome import Diagnosis
from trainer_core.training.folder import KINDS
from trainer_core.training.run import Run

if TYPE_CHECKING:
    from trainer_core.prepare.mending import Mended

LIMIT_BYTES = 2 << 20
"""The size of the end of a log that is read. It contains the error that stopped the engine."""
_CHUNK_BYTES = 1 << 20
NO_ERROR = "The log shows no error that ended the engine."


@click.command()
@click.argument("job_or_log")
@click.option(
    "--backend",
    type=click.Choice([backend.manifest.id for backend in registry.available()]),
    help="The engine that wrote LOG. Without it, the argument is a job.",
)
@bundle_options
def diagnose(job_or_log: str, backend: str | None, bundle: Path | None, with_captions: bool, as_json: bool) -> None:
    """Explain why a job failed, with changes that may help.

    The argument is a job of any kind: a training, an installation, a tool. Identify it by its name, the end of its name, or its
    folder; the word last means the newest. With --backend it is the file of a log, or - for standard input, of an engine that need
    not have been started by Easel. The cause in the JSON output is null if Easel knows none.
    """
    check_bundle(bundle, with_captions)
    if backend is not None:
        if bundle is not None:
            raise click.UsageError("--bundle is for a job, not for a log.")
        with click.File("rb").convert(job_or_log, None, None) as log:
            _explain_log(_end(log), backend, as_json)
        return
    if job_or_log == "-" or Path(job_or_log).is_file():
        raise click.UsageError("Which engine wrote this log? Name it with --backend.")
    explain(_find(job_or_log), bundle, with_captions, as_json)


def _find(name: str) -> Job:
    found = jobs.find(name, list_jobs(places.runs(), places.jobs()), Job.attach, places.home())
    return Run.attach(found.folder.path) if found.spec.kind in KINDS else found


def _explain_log(content: bytes, backend: str, as_json: bool) -> None:
    lines, signatures = tail.split(content), registry.get(backend).manifest.diagnosis
    found = diagnosis.explain(lines, signatures, None)
    if as_json:
        show.as_json(_told(found))
        return
    _show(found or Diagnosis("", NO_ERROR, "", ""))
    _show_noticed(diagnosis.noticed(lines, signatures))


def _told(found: Diagnosis | None) -> dict[str, Any]:
    known = found if found is not None and found.id != diagnosis.UNKNOWN else None
    return {
        "cause": known.id if known else None,
        "message": found.cause if found else NO_ERROR,
        "line": found.line if found else "",
        "fix": known.advice if known else "",
    }


def explain(job: Job, bundle: Path | None, with_captions: bool, as_json: bool) -> None:
    """Prints why a job failed, with changes that may help, and writes the bundle if one is wanted."""
    found = job_diagnosis.explained(job)
    lines = tail.last_lines(job.folder.log, host=job.host)
    noticed = diagnosis.noticed(lines, job_diagnosis.signatures_of(job))
    fixes, why_none = _fixes(job) if found else ([], "")
    counts = _bundled(job, bundle, found, with_captions) if bundle is not None else {}
    if as_json:
        told = _told(found) if found else {"cause": None, "message": _not_failed(job), "line": "", "fix": ""}
        numbered = [{"number": number, **fix.as_dict()} for number, fix in enumerate(fixes, 1)]
        notices = [{"id": one.id, "message": one.cause, "line": one.line, "fix": one.advice} for one in noticed]
        extra = {"bundle": bundle.absolute(), "replaced": counts} if bundle is not None else {}
        show.as_json({"job": job.name, "state": job.state.name, **told, "fixes": numbered, "notices": notices, **extra})
        return
    _show(found or Diagnosis("", _not_failed(job), "", ""))
    _show_fixes(job, fixes)
    if why_none:
        show.line(f"No changes can be offered: {why_none}", "dim")
    _show_noticed(noticed)
    if bundle is not None:
        show.line(f"Wrote {bundle}. Read it before you share it.")
        show.line("Replaced: " + ", ".join(f"{count} {kind}" for kind, count in counts.items()) + ".", "dim")


def _not_failed(job: Job) -> str:
    return f"This job did not fail: it is {job.state.name}."


def _fixes(job: Job) -> tuple[list[Mended], str]:
    """The changes that a run can be started again with, and why there are none, if that is an error."""
    if not isinstance(job, Run):
        return [], ""
    from trainer_core.prepare import mending

    try:
        return mending.fixes_for(job), ""
    except EaselError as error:
        return [], str(error)


def _bundled(job: Job, target: Path, found: Diagnosis | None, with_captions: bool) -> dict[str, int]:
    from trainer_core.training import bundle

    return bundle.write(job, target, found, with_captions=with_captions)


def _end(log: IO[bytes]) -> bytes:
    """The last part of a log, which may be a pipe."""
    kept = b""
    if log.seekable():
        log.seek(max(0, log.seek(0, 2) - LIMIT_BYTES))
    while chunk := log.read(_CHUNK_BYTES):
        kept = (kept + chunk)[-LIMIT_BYTES:]
    return kept


def _show(found: Diagnosis) -> None:
    show.line(f"what happened: {found.cause}")
    if found.line:
        show.line(f"from the log: {found.line}")
    if found.advice and found.id != diagnosis.UNKNOWN:  # its advice is to read the log
        show.line(f"what to do: {found.advice}")


def _show_fixes(job: Job, fixes: list[Mended]) -> None:
    if not fixes:
        return
    show.line("changes that may help:")
    for number, fix in enumerate(fixes, 1):
        show.line(f"  {number}. {fix.title}")
        changes = " ".join(f"{path}={show.value(value)}" for path, value in fix.changes.items())
        show.line(f"     {changes}", "dim")
    show.line(f"start again with one of them: easel runs retry {job.name} --fix 1")


def _show_noticed(noticed: list[Diagnosis]) -> None:
    for one in noticed:
        show.line(f"also noticed: {one.cause} {one.advice}", "yellow")
