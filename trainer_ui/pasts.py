"""What is shown of a run in the bar, the results and the history: its name, its state in words, and its times."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from trainer_core.catalog import methods
from trainer_core.jobs import time_left
from trainer_core.jobs.folder import SUPERVISOR
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.training import labels

if TYPE_CHECKING:
    from trainer_core.jobs.job import Job
    from trainer_core.training.history import PastRun

STATES = {
    JobState.PREPARED: ("prepared", "muted"),
    JobState.QUEUED: ("waiting", "muted"),
    JobState.ELSEWHERE: ("on another machine", "accent"),
    JobState.RUNNING: ("running", "accent"),
    JobState.STOPPING: ("stopping", "warn"),
    JobState.COMPLETED: ("finished", "ok"),
    JobState.FAILED: ("failed", "danger"),
    JobState.LOST: ("lost", "danger"),
    JobState.CANCELLED: ("stopped", "warn"),
}
"""Each state in a word, and its tone."""
SIGNS = {"ok": "✓", "danger": "!", "warn": "■", "accent": "●", "muted": "·"}
_NAMED = re.compile(r"(?P<at>\d{8}-\d{6})-(?P<name>.+)", re.DOTALL)


def state_of(job: Job) -> tuple[str, str]:
    """The state of a job in a word, and its tone."""
    state = job.state
    return STATES.get(state, (state.name.lower(), "muted"))


def name_of(job: Job) -> str:
    """The name that the user gave to a run, else that of its folder without the time."""
    if given := labels.read(job.folder).name:
        return given
    found = _NAMED.fullmatch(job.name)
    return found["name"] if found else job.name


def kind_of(run: PastRun) -> str:
    """The method of a run that trained no network, such as "Full finetuning"; "" for a LoRA, and for an unknown one."""
    known = methods.shipped().get(run.method)
    return known.title if known is not None and run.method != "lora" else ""


def when(job: Job, now: datetime | None = None) -> str:
    """When a run was started: "today 14:32", "yesterday 9:05", "22 Nov 2026"; "" if its folder does not say."""
    found = _NAMED.fullmatch(job.name)
    try:
        at = datetime.strptime(found["at"], "%Y%m%d-%H%M%S") if found else None  # noqa: DTZ007  # the local time
    except ValueError:
        at = None
    return _said(at, now) if at is not None else ""


def called(run: PastRun) -> str:
    """The name that the user gave to a run, else that of its folder without the time."""
    found = _NAMED.fullmatch(run.run)
    return run.labels.name or (found["name"] if found else run.run)


def folder_name(folder: str, now: datetime | None = None) -> str:
    """The name of a run folder as people read it: its name and, in place of the digits, when the run was started."""
    name = folder.replace("\\", "/").rpartition("/")[2]
    found = _NAMED.fullmatch(name)
    if not found:
        return name
    try:
        at = datetime.strptime(found["at"], "%Y%m%d-%H%M%S")  # noqa: DTZ007  # the local time
    except ValueError:
        return name
    return f"{found['name']}, {_said(at, now)}"


def started(run: PastRun, now: datetime | None = None) -> str:
    """When a run was started, as `when` says it; "" if it is not known."""
    return moment(run.started, now) if run.started > 0 else ""


def moment(at_s: float, now: datetime | None = None) -> str:
    """A time in seconds since 1970 in words, as `when` says it; "" if it is not one."""
    try:
        return _said(datetime.fromtimestamp(at_s), now)  # noqa: DTZ006  # the local time
    except (ValueError, OverflowError, OSError):
        return ""


def pill_of(run: PastRun) -> tuple[str, str]:
    """The state of a run in a word, and its tone."""
    word, tone = STATES.get(run.state, (run.state.name.lower(), "muted"))
    return word.capitalize(), tone


def size(count_bytes: int) -> str:
    """A size as people say it: "1.4 GB", "812 MB", "35 kB"."""
    for unit, name, digits in ((1e9, "GB", 1), (1e6, "MB", 0)):
        if count_bytes >= unit:
            return f"{count_bytes / unit:.{digits}f} {name}"
    return f"{max(1, round(count_bytes / 1e3))} kB" if count_bytes else "0 kB"


def _said(at: datetime, now: datetime | None) -> str:
    today = (now or datetime.now()).date()  # noqa: DTZ005  # as above
    clock = f"{at.hour}:{at.minute:02}"
    if at.date() == today:
        return f"today {clock}"
    if at.date() == today - timedelta(days=1):
        return f"yesterday {clock}"
    return f"{at.day} {at:%b %Y}"


def seconds(job: Job) -> float | None:
    """How long a job took, or has taken so far; None if it is not known."""
    if job.state in FINAL_STATES:
        took = (job.result or {}).get("seconds")
        return float(took) if isinstance(took, int | float) else None
    try:
        return max(0.0, time.time() - (job.folder.path / SUPERVISOR).stat().st_mtime)
    except OSError:
        return None


def clock(span_s: float) -> str:
    """A span of time as a clock shows it: "0:22", "31:05", "1:02:09"."""
    minutes, rest = divmod(int(span_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def span(span_s: float) -> str:
    """A span of time in words: "22 s", "31 min", "1 h 02 min"."""
    return time_left.span(span_s)
