"""What a notification says about an ended job: its name, kind, state and figures. No paths, captions, prompts or log lines."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from trainer_core.jobs.job import Job

_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,60}")
_LONGEST_NAME = 100


@dataclass(frozen=True)
class Message:
    """An ended job, as far as it may leave this machine.

    `reason` is the id of the diagnosis: its sentence may contain the path of a file. `step` and `total` are 0 if the job has
    no steps. `is_test`: no job has ended, the user tries the webhook.
    """

    job: str
    kind: str
    state: str
    seconds: int
    step: int
    total: int
    reason: str
    is_test: bool = False

    @property
    def text(self) -> str:
        """One sentence, such as "Run 20261129-101500-anna: COMPLETED after 12 min, step 1500 of 1500."."""
        if self.is_test:
            return "This is a test message of Easel: no job has ended. Messages about ended jobs will come here."
        noun = "Run" if self.kind in {"training", "remote-training"} else "Job"
        parts = [f"{noun} {self.job}: {self.state} after {_duration(self.seconds)}"]
        if self.total:
            parts.append(f"step {self.step} of {self.total}")
        if self.reason:
            parts.append(f"reason: {self.reason}")
        return ", ".join(parts) + "."

    def as_dict(self) -> dict[str, Any]:
        """The message as JSON data, with its text."""
        return {**asdict(self), "text": self.text}


def message(job: Job) -> Message:
    """What may be said about a job.

    Raises:
        JobError: its spec.json is damaged.
    """
    diagnosis, summary = job.diagnosis, job.summary
    seconds = (job.result or {}).get("seconds")
    reason = diagnosis.id if diagnosis is not None and _ID.fullmatch(diagnosis.id) else ""
    return Message(
        job=job.name[:_LONGEST_NAME],
        kind=job.spec.kind,
        state=job.state.name,
        seconds=round(seconds) if isinstance(seconds, int | float) and seconds == seconds else 0,  # noqa: PLR0124 - nan
        step=summary.step,
        total=summary.total,
        reason=reason,
    )


EXAMPLE = Message("a-test", "training", "COMPLETED", 60, 100, 100, "", is_test=True)
"""The message that `easel notify test` sends."""


def _duration(seconds: int) -> str:
    if seconds < 60:
        return f"{seconds} s"
    minutes = seconds // 60
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
