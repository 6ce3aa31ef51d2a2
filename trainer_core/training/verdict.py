"""The result of a finished job as a few labelled sentences."""

from __future__ import annotations

from pathlib import Path

from trainer_core.errors import JobError
from trainer_core.jobs.job import Job
from trainer_core.jobs.state import JobState
from trainer_core.text import printable
from trainer_core.training.delivery import SUFFIX
from trainer_core.training.run import Run


def verdict(job: Job) -> list[dict[str, str]]:
    """The result of a finished job, as [{"label", "text"}]: files, time and memory, or what happened and what to do."""
    result = job.result or {}
    rows = [(_label(job, Path(file)), str(file)) for file in result.get("outputs", [])]
    diagnosis = job.diagnosis
    if diagnosis is not None and job.state is not JobState.COMPLETED:
        rows += [("What happened", diagnosis.cause), ("The log says", diagnosis.line), ("What to do", diagnosis.advice)]
    if seconds := result.get("seconds"):
        peak = (result.get("peak_memory_bytes") or 0) / 1024**3
        rows.append(("Took", f"{seconds:.0f} s" + (f", {peak:.1f} GiB of memory at most" if peak >= 0.05 else "")))
    rows.append(("Run folder" if isinstance(job, Run) else "Folder of the job", str(job.folder.path)))
    return [{"label": label, "text": printable(text, 1000)} for label, text in rows if text]


def _label(job: Job, file: Path) -> str:
    try:
        copies = job.folder.plan.get("output", {}).get("copy_to", "") if isinstance(job, Run) else ""
    except JobError:
        copies = ""
    if copies and file.parent == Path(copies).expanduser():
        return "Copied to"
    return "File" if file.suffix == SUFFIX else "Folder"
