"""Explains the failure of a job of any kind: with the signatures of its engine, else with those that its kind brings.

A kind of job can have an attribute `diagnosis`, the path of a TOML file with its own signatures. Those of the system apply to
every kind.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from trainer_core.engines import diagnosis, registry
from trainer_core.engines.diagnosis import Signature
from trainer_core.errors import EaselError, JobError
from trainer_core.jobs import kind as kinds
from trainer_core.jobs.job import Job
from trainer_core.jobs.outcome import Diagnosis
from trainer_core.jobs.state import JobState
from trainer_core.jobs.tail import is_cut, last_lines

FAILURES = frozenset({JobState.FAILED, JobState.LOST})
_DETAILED = frozenset(
    {"failed", "refused", "not-installed", "not-renamed", "not-started", "supervisor", diagnosis.UNKNOWN}
)
"""The ids of diagnoses that only repeat what the program said, so a signature can explain them."""


def signatures_of(job: Job) -> tuple[Signature, ...]:
    """The signatures that can explain this job, its own first.

    Raises:
        BackendError: a file with signatures cannot be used.
        JobError: the job's spec.json is damaged.
    """
    spec = job.spec
    if backend := str(spec.details.get("backend", "")):
        with contextlib.suppress(EaselError):  # the engine may have been removed since
            return registry.get(backend).manifest.diagnosis
    own = None
    with contextlib.suppress(JobError):  # so may the package with the kind
        own = getattr(kinds.get(spec.kind), "diagnosis", None)
    return diagnosis.for_programs(Path(own) if own else None, engine=str(spec.details.get("engine", "")))


def explained(job: Job) -> Diagnosis | None:
    """Why a job failed; None for one that did not fail.

    The diagnosis that the job's watch wrote is kept if it names a cause. One that only repeats the message of a program is
    explained by a signature, with the message as its line.
    """
    if job.state not in FAILURES:
        return None
    told = job.diagnosis
    if told is not None and told.id not in _DETAILED:
        return told
    code = (job.result or {}).get("exit_code")
    more = list(_messages(told))
    lines = [*last_lines(job.folder.log, host=job.host), *more]
    cut = not more and is_cut(job.folder.log, job.host)
    found = diagnosis.explain(lines, signatures_of(job), code if isinstance(code, int) and code else 1, is_cut=cut)
    if found is None or found.id == diagnosis.UNKNOWN:
        return told or found
    # The sentence that Easel wrote itself names the engine or the file.
    line = diagnosis.quoted(told.cause) if told and told.id.startswith("not-") else found.line
    return Diagnosis(found.id, found.cause, line, found.advice)


def _messages(told: Diagnosis | None) -> Iterator[str]:
    """The parts of a message that a program of Easel left, as the error lines that they were."""
    if told is not None and told.id != "failed":
        yield from (f"error: {part}" for part in re.split(r"; |(?<=[a-z]): (?=[A-Z])", told.cause))
