"""What the bar of Watch shows of a run, as data: state, time left, progress, stages, and where the run comes from."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from trainer_core.errors import JobError
from trainer_core.jobs import kind, transferred
from trainer_core.jobs.reading import is_judged
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.jobs.timeline import ORDER, RESULT, SAMPLING, TRAINING, doing
from trainer_core.text import printable
from trainer_core.training.actions import save_steps
from trainer_core.training.run import Run
from trainer_ui import pasts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainer_core.jobs.job import Job
    from trainer_core.jobs.summary import Summary
    from trainer_core.jobs.time_left import TimeLeft

Content = dict[str, Any]
MOST_MARKS = 60
"""So many saves are marked on the progress bar at most."""
WORDS = {
    JobState.RUNNING: "Training",
    JobState.PREPARED: "Prepared",
    JobState.QUEUED: "Waiting",
    JobState.ELSEWHERE: "On another machine",
    JobState.STOPPING: "Stopping",
    JobState.COMPLETED: "Finished",
    JobState.FAILED: "Failed",
    JobState.LOST: "Lost",
    JobState.CANCELLED: "Stopped",
}
ENGINE, START = ORDER[0], "Start"
"""The first stage, as a training and as any other job has it."""
OPEN_END = "samples not counted"
NO_JOB: Content = {
    "run": "",
    "title": "Nothing is in progress",
    "summary": "A job is shown here, also after a restart.",
}
NOTHING: Content = {"run": "", "title": "Nothing is training", "summary": "A run is shown here, also after a restart."}


def about(run: Run) -> str:
    """What a run trains, in a few words: model, use and images, as far as it recorded them, and on which other machine."""
    versions = run.folder.versions
    recorded = versions.get("about")
    recorded = recorded if isinstance(recorded, dict) else {}
    images = versions.get("images")
    count = f"{images:,} images" if isinstance(images, int) and images > 1 else "1 image" if images == 1 else ""
    where = f"on {run.folder.where}" if run.folder.where else ""
    words = (_family(recorded.get("family")), _use(versions.get("profile")), count, where)
    return printable(", ".join(filter(None, words)), 200)


def _family(name: object) -> str:
    from trainer_core.models.families import load_families

    found = load_families().get(name) if isinstance(name, str) else None
    return found.title if found is not None else ""


def _use(profile: object) -> str:
    from trainer_core import profiles
    from trainer_ui.recipes import USES

    found = profiles.known().get(profile) if isinstance(profile, str) else None
    if found is None:
        return ""
    return USES[found.use][0] if found.use in USES else found.title


def content(run: Job, left: TimeLeft, usual: Mapping[str, float], old: str) -> Content:
    """The content of the bar, without the actions. `usual` are the usual seconds of stages."""
    state, seen = run.state, run.summary
    is_over = state in FINAL_STATES
    word, tone = WORDS.get(state, state.name.capitalize()), pasts.state_of(run)[1]
    is_run = isinstance(run, Run)
    if state is JobState.RUNNING and not (seen.last_step and is_run):
        word = "Starting" if is_run else "Running"
    now, is_open = time.time(), not is_over and are_samples_unknown(run)
    return {
        "run": run.name,
        "title": pasts.name_of(run) if is_run else _title(run),
        "state": state.name,
        "pill": [word, tone],
        "now": now,
        "headline": headline(run, state, left),
        "figures": [row for row in _figures(seen, is_over=is_over) if is_run or not row[0]],
        "clock": _clock(run, state),
        "ends": left.ends_s if seen.step < seen.total and not is_over else None,
        "note": _note(run, seen) if is_over else OPEN_END if is_open and seen.last_step else "",
        "track": _track(run, seen, tone),
        "stages": _stages(run, seen, usual, now),
        "old": old,
    }


def _title(job: Job) -> str:
    """What a job does, or its name if the package that knows its kind is gone."""
    try:
        return kind.get(job.spec.kind).title
    except JobError:
        return job.name


def headline(run: Job, state: JobState, left: TimeLeft) -> str:
    """The time left of a run that trains, with what it does if that is no training; else how it stands."""
    seen = run.summary
    step = f"step {seen.step:,} of {seen.total:,}"
    is_run = isinstance(run, Run)
    match state:
        case JobState.FAILED | JobState.LOST | JobState.CANCELLED if not is_run:
            # What other jobs count are no steps.
            return "Stopped" if state is JobState.CANCELLED else "Not finished"
        case JobState.COMPLETED:
            took = pasts.seconds(run)
            return f"Finished after {pasts.span(took)}" if took is not None else "Finished"
        case JobState.FAILED | JobState.LOST:
            return f"Ended at {step}" if seen.step else "Ended before the first step"
        case JobState.CANCELLED:
            return f"Stopped at {step}" if seen.step else "Stopped before the first step"
        case JobState.QUEUED:
            return "Waiting for its turn"
        case JobState.PREPARED:
            return "Not started"
        case JobState.STOPPING:
            return "Its processes have ended; finding out what became of it" if is_judged(run) else "Stopping"
        case _ if not seen.last_step:
            return ""
        case _:
            return _training(run, left)


def _training(run: Job, left: TimeLeft) -> str:
    """The time left of a run that has reported a step, with what it does if that is no training."""
    seen = run.summary
    # A last step needs no estimate; then the result is checked and copied.
    remains = left.text if seen.step < seen.total or seen.sample_time.pending_s else ""
    if seen.phase == SAMPLING and remains:
        # No step ends meanwhile, so it says why.
        known = seen.sample_time.pending_s
        return f"{doing(SAMPLING)}, {f'{remains} left' if known else f'then {remains} and later samples'}"
    if remains and are_samples_unknown(run):
        return f"{remains} left, plus the samples"
    return f"{remains} left" if remains else printable(_doing(run), 80)


def _doing(run: Job) -> str:
    phase = run.summary.phase
    return doing(phase) if phase or isinstance(run, Run) else "Starting"


def are_samples_unknown(run: Job) -> bool:
    """Whether samples are made or will be, and none were yet, so that it is not known how long they take."""
    seen = run.summary
    if seen.sample_time.usual_s:
        return False
    return seen.phase == SAMPLING or (isinstance(run, Run) and not seen.samples and bool(_next_samples(run)))


def _next_samples(run: Run) -> int:
    """The step after which the run makes its next samples; 0 if it makes none, or if its plan does not say."""
    try:
        sampling = run.folder.plan.get("sampling")
    except JobError:
        return 0
    every = sampling.get("every_steps") if isinstance(sampling, dict) else None
    if not isinstance(every, int) or isinstance(every, bool) or every <= 0:
        return 0
    step = (run.summary.step // every + 1) * every
    return step if step <= run.summary.total else 0


def _figures(seen: Summary, *, is_over: bool) -> list[list[str]]:
    """Figures as [text before, bold text, text after]."""
    found = []
    if seen.last_step and seen.total and not (is_over and seen.step < seen.total):
        share = 100 * seen.step / seen.total
        if not is_over:
            found.append(["", f"{share:.0f} %" if share < 100 or seen.step >= seen.total else "99 %", ""])
        found.append(["step", f"{seen.step:,}", f"of {seen.total:,}"])
    if seen.epochs[1] > 1 and seen.last_step:
        found.append(["epoch", f"{seen.epochs[0]:,}", f"of {seen.epochs[1]:,}"])
    if (moved := seen.transfer) is not None and not is_over:
        rate = transferred.rate(moved)
        found.append([transferred.what(moved), transferred.amount(moved), f"at {rate}" if rate else ""])
    return found


def _clock(run: Job, state: JobState) -> Content:
    """How long the run has taken: `seconds` until its end, or `since` when it has taken them."""
    took = pasts.seconds(run)
    if state in FINAL_STATES:
        # The name of the folder has the time of the start.
        when = f"started {at}" if (at := pasts.when(run)) else ""
        # The headline of another job that has completed says how long it took.
        is_said = state is JobState.COMPLETED and not isinstance(run, Run)
        return {"text": f"after {pasts.span(took)}" if took is not None and not is_said else "", "when": when}
    if state in (JobState.QUEUED, JobState.PREPARED) or took is None:
        return {}
    return {"since": time.time() - took}


def _note(run: Job, seen: Summary) -> str:
    saved = seen.checkpoints
    if run.state is JobState.COMPLETED:
        return ""
    if not isinstance(run, Run):
        return ""
    if not saved:
        return "No checkpoint was saved"
    step = max(one.step for one in saved)
    count = "1 checkpoint was" if len(saved) == 1 else f"{len(saved):,} checkpoints were"
    return f"{count} saved{f', the last at step {step:,}' if step else ''}"


def _track(run: Job, seen: Summary, tone: str) -> Content:
    total = seen.total
    if not total:
        return {}
    saved = sorted({one.step for one in seen.checkpoints if 0 < one.step < total})
    coming = save_steps(run) if isinstance(run, Run) and run.is_live else ()
    planned = [step for step in coming if seen.step < step < total]
    return {
        "share": min(1.0, seen.step / total),
        "tone": tone,
        "step": seen.step,
        "total": total,
        "saved": [step / total for step in saved[-MOST_MARKS:]],
        "planned": [step / total for step in planned[:MOST_MARKS]],
    }


def _stages(run: Job, seen: Summary, usual: Mapping[str, float], now: float) -> list[Content]:
    """The stages so far, and those to come. A clock runs in the page for the stage in progress, from `since` on."""
    timeline, state = seen.timeline, run.state
    is_over = state in FINAL_STATES
    found = []
    for stage in timeline.stages:
        called = START if stage.name == ENGINE and not isinstance(run, Run) else stage.name
        row: Content = {"name": called, "seconds": round(stage.seconds, 1), "state": "done"}
        if stage.since_s is not None and not is_over:
            row |= {"state": "now", "since": now - stage.elapsed_s(now - timeline.suspended_s)}
            row["doing"] = printable(doing(seen.phase, seen.detail) if called != START else "Starting", 160)
        if stage.name in usual and stage.name != TRAINING:
            row["usual"] = round(usual[stage.name])
        found.append(row)
    if is_over and state is not JobState.COMPLETED:
        # A run that did not complete ended in the stage before its files were looked at.
        found = [row for row in found if row["name"] != RESULT]
        for row in found[-1:]:
            row["state"] = "ended"
    if isinstance(run, Run) and not is_over and seen.total and state in (JobState.RUNNING, JobState.STOPPING):
        known = {row["name"] for row in found}
        coming = [name for name in ORDER if name not in known and not (seen.last_step and name != TRAINING)]
        found += [{"name": name, "state": "next", **_expected(name, usual)} for name in coming]
    return found


def _expected(name: str, usual: Mapping[str, float]) -> Content:
    return {"usual": round(usual[name])} if name in usual else {}


def rows_of(lines: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Labelled sentences as the page gets them."""
    return [[label, printable(text, 400)] for label, text in lines]


def damaged(error: JobError) -> Content:
    """The bar of a run whose folder is damaged."""
    return {**NOTHING, "title": "This run cannot be read", "summary": printable(str(error), 300)}
