"""The result of a finished job as a few labelled sentences."""

from __future__ import annotations

from pathlib import Path

from trainer_core import places
from trainer_core.errors import JobError
from trainer_core.jobs.job import Job
from trainer_core.jobs.state import JobState
from trainer_core.text import printable
from trainer_core.training.delivery import SUFFIX
from trainer_core.training.folder import GUARD_FILE
from trainer_core.training.mirror_notes import lack_of
from trainer_core.training.run import Run
from trainer_core.training.use import newest_of, removal, saved


def verdict(job: Job, *, is_for_page: bool = False) -> list[dict[str, str]]:
    """The result of a finished job, as [{"label", "text"}]: files, time and memory, or what happened and what to do.

    A run that did not complete also gets its newest usable checkpoint, and the command that takes it. For a page, which has
    buttons, there is no command, and the files of a folder are one sentence with their names in place of a path each.
    """
    result = job.result or {}
    rows = [(_label(job, Path(file)), str(file)) for file in result.get("outputs", [])]
    rows = _in_one_line(rows) if is_for_page else rows
    diagnosis = job.diagnosis
    if diagnosis is not None and job.state is not JobState.COMPLETED:
        rows += [("What happened", diagnosis.cause), ("The log says", diagnosis.line), ("What to do", diagnosis.advice)]
    if isinstance(job, Run):
        rows.append(("Deleted checkpoints", _removal(job)))
        if is_for_page:
            rows.append(("Mirror", lack_of(job.folder)))
    if isinstance(job, Run) and job.state is not JobState.COMPLETED:
        rows += [*_checkpoints(job, commands=not is_for_page), *_guard(job)]
    if seconds := result.get("seconds"):
        peak = (result.get("peak_memory_bytes") or 0) / 1024**3
        rows.append(("Took", f"{seconds:.0f} s" + (f", {peak:.1f} GiB of memory at most" if peak >= 0.05 else "")))
    rows.append(("Run folder" if isinstance(job, Run) else "Folder of the job", str(job.folder.path)))
    return [{"label": label, "text": printable(text, 1000)} for label, text in rows if text]


def _in_one_line(rows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Labelled paths with one row for all files of a folder: the name of the first, how many more, and the folder."""
    folders: dict[tuple[str, Path], list[str]] = {}
    for label, text in rows:
        path = Path(text)
        folders.setdefault((label, path.parent), []).append(path.name)
    return [
        ("Files" if label == "File" else label, f"{first} and {len(more)} more in {folder}")
        if more
        else (label, str(folder / first))
        for (label, folder), (first, *more) in folders.items()
    ]


def _checkpoints(run: Run, *, commands: bool) -> list[tuple[str, str]]:
    """The newest usable checkpoint of a run, or how many there are that cannot be used or were not tested."""
    try:
        newest = newest_of(run, every := saved(run))
    except JobError:
        return []
    if newest is not None:
        take = [("To take it", f"easel runs use {run.name}")] if commands else []
        return [("Newest usable checkpoint", f"step {newest.step}, {newest.path}"), *take]
    untested = sum(one.ok is None for one in every)
    if untested:
        take_one = f" Test and take one: easel runs use {run.name}" if commands else ""
        return [("Checkpoints", f"{untested} of {len(every)} were not tested.{take_one}")]
    if every:
        return [
            (
                "Checkpoints",
                f"None of the {len(every)} can be used. Step {every[-1].step}: {' '.join(every[-1].reasons)}",
            )
        ]
    return []


def _removal(run: Run) -> str:
    """What the engine deleted because the plan asks for that; "" if nothing, or if the plan cannot be read."""
    try:
        return removal(run)
    except JobError:
        return ""


def _guard(run: Run) -> list[tuple[str, str]]:
    """Why a guard that applied to a failed run has started nothing."""
    told = run.folder.read(GUARD_FILE) or {}
    words = [told[name] for name in ("why", "advice") if isinstance(told.get(name), str)]
    return [("Easel did not go on by itself", f"{told.get('guard', '')}: {' '.join(words)}")] if words else []


def _label(job: Job, file: Path) -> str:
    try:
        copies = job.folder.plan.get("output", {}).get("copy_to", "") if isinstance(job, Run) else ""
    except JobError:
        copies = ""
    if copies and file.parent == places.typed(copies):
        return "Copied to"
    return "File" if file.suffix == SUFFIX else "Folder"
