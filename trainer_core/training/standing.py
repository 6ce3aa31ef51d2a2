"""How a run stands when it does not train now: what happened, why Easel thinks so, what to do."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from trainer_core.engines import diagnosis as causes
from trainer_core.engines import job_diagnosis
from trainer_core.errors import EaselError, JobError
from trainer_core.jobs import kind as kinds
from trainer_core.jobs.folder import SUPERVISOR
from trainer_core.jobs.gauges.clocks import span
from trainer_core.jobs.job import Job
from trainer_core.jobs.origin import Origin
from trainer_core.jobs.outcome import Diagnosis
from trainer_core.jobs.queueing import entries
from trainer_core.jobs.state import JobState
from trainer_core.jobs.timeline import RESULT
from trainer_core.text import printable
from trainer_core.training.run import Run
from trainer_core.training.use import newest_of, saved

UNEXPLAINED = (
    "Easel does not know this error. The log has what the engine said last; a report helps others to find the cause."
)


@dataclass(frozen=True)
class Standing:
    """How a run stands: `title` says what happened, `text` more of it, `line` is the line of the log that shows it, `advice` what to do.

    `tone` is "danger", "warn", "ok" or "muted".
    """

    title: str
    tone: str
    text: str = ""
    line: str = ""
    advice: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The standing as JSON data, safe to show."""
        return {name: printable(value, 2000) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Kept:
    """What is left of a run: its newest usable checkpoint (`step`, `size_bytes`), and a sentence if there is none."""

    step: int = 0
    size_bytes: int = 0
    is_usable: bool = False
    sentence: str = ""


def of(run: Job) -> Standing | None:
    """How a run stands; None for one that runs or is being stopped.

    It does not read the log; `explained` does.
    """
    match state := run.state:
        case JobState.FAILED | JobState.LOST:
            return _failed(run, run.diagnosis, state)
        case JobState.CANCELLED:
            found = _cancelled(run)
            return replace(found, text=f"{_trained_on(run)} {found.text}".strip())
        case JobState.COMPLETED:
            took = (run.result or {}).get("seconds")
            text = f"It took {span(float(took))}." if isinstance(took, int | float) else ""
            title, more = ("The training is finished", _trained_on(run)) if isinstance(run, Run) else _done(run)
            return Standing(title, "ok", f"{more} {text}".strip())
        case JobState.ELSEWHERE:
            return _elsewhere(run)
        case JobState.QUEUED:
            return _queued(run)
        case JobState.PREPARED:
            text = "Its folder is ready, and no process was started for it."
            return Standing("This run was prepared and not started", "muted", text, advice="Start it again.")
        case _:
            return None


def explained(run: Job) -> Standing | None:
    """As `of`, for a failed run with the cause that the log shows. Reads the end of the log."""
    state = run.state
    if state not in job_diagnosis.FAILURES:
        return of(run)
    try:
        found = job_diagnosis.explained(run)
    except EaselError:
        # Its signatures cannot be read, so what its supervisor wrote has to do.
        found = run.diagnosis
    return _failed(run, found, state)


def kept(run: Run) -> Kept:
    """The newest usable checkpoint of a run, or why there is none."""
    try:
        every = saved(run)
        newest = newest_of(run, every)
    except JobError:
        return Kept()
    if newest is not None:
        return Kept(newest.step, newest.size_bytes, is_usable=True)
    if not every:
        return Kept(sentence="No checkpoint was saved.")
    if any(one.ok is None for one in every):
        return Kept(sentence=f"{len(every)} checkpoints were saved and not tested.")
    last = every[-1]
    return Kept(
        sentence=f"None of the {len(every)} checkpoints can be used. Step {last.step:,}: {' '.join(last.reasons)}"
    )


def _failed(run: Job, found: Diagnosis | None, state: JobState) -> Standing:
    if found is None:
        title = f"This {_called(run)} {'failed' if state is JobState.FAILED else 'was lost'}"
        return Standing(title, "danger", UNEXPLAINED if isinstance(run, Run) else "")
    text = UNEXPLAINED if found.id == causes.UNKNOWN else _reached(run, state) if isinstance(run, Run) else ""
    text = f"{_trained_on(run)} {text}".strip()
    line = "" if found.line.strip() == found.cause.strip() else found.line
    return Standing(found.cause, "danger", text, line, found.advice)


def _done(job: Job) -> tuple[str, str]:
    """What a finished job of another kind has done, as a title and a sentence."""
    try:
        found = kinds.get(job.spec.kind)
    except JobError:
        return "The job is finished", ""
    if isinstance(found, kinds.Tells):
        return found.told(job.folder)
    return (f"{found.title} is finished" if found is not kinds.commands else "The job is finished"), ""


def _called(job: Job) -> str:
    return "run" if isinstance(job, Run) else "job"


def _trained_on(run: Job) -> str:
    """On which machine a run has trained, as a sentence; "" for this one."""
    where = run.folder.where if isinstance(run, Run) else ""
    return f"It was a run on {where}." if where else ""


def _reached(run: Job, state: JobState) -> str:
    seen = run.summary
    if seen.step:
        return "" if state is JobState.FAILED else f"It was last heard at step {seen.step:,} of {seen.total:,}."
    # What it left behind was looked at after its end.
    stage = next((one.name for one in reversed(seen.timeline.stages) if one.name != RESULT), "")
    return f"It ended before its first step{f', in the stage “{stage}”' if stage else ''}."


def _cancelled(run: Job) -> Standing:
    seen = run.summary
    if not isinstance(run, Run):
        # What other jobs count are no steps.
        return Standing("This job was stopped", "warn")
    if not seen.step:
        return Standing("This run was stopped before its first step", "warn")
    return Standing(f"This run was stopped at step {seen.step:,} of {seen.total:,}", "warn")


def _elsewhere(run: Job) -> Standing:
    origin = Origin.from_dict(run.folder.read(SUPERVISOR))
    where = f"the machine {origin.host}" if origin is not None and origin.host else "another machine"
    heard = run.heard_s_ago
    text = f"It was heard {span(heard)} ago. " if heard is not None else ""
    return Standing(f"This run is on {where}", "muted", f"{text}A stop that you ask for here is carried out there.")


def _queued(run: Job) -> Standing:
    try:
        queue = entries.read()
    except JobError as error:
        return Standing("This run waits in the queue", "muted", str(error))
    entry = queue.entry(run.name)
    if entry is None:
        return Standing("This run waits in the queue", "muted")
    before = queue.position(run.name) - 1
    text = f"{before} {'run is' if before == 1 else 'runs are'} before it." if before else "It is the next one."
    if queue.is_paused(entry.gpu):
        reason = queue.reasons.get(entry.gpu) or queue.reasons.get(entries.ALL, "")
        return Standing(
            f"This run waits for {entries.place(entry.gpu)}, and the queue is paused",
            "warn",
            f"{text} {reason}".strip(),
            advice=f"Continue the queue: {entries.CONTINUE}",
        )
    return Standing(f"This run waits for {entries.place(entry.gpu)}", "muted", text)
