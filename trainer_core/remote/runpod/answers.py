"""The bodies of RunPod's responses and of a training worker, as types. Everything here comes from outside: it is checked and shown as text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trainer_core.text import printable, without_escapes, without_secrets

IN_QUEUE, IN_PROGRESS, RUNNING = "IN_QUEUE", "IN_PROGRESS", "RUNNING"
COMPLETED, FAILED, CANCELLED, TIMED_OUT = "COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"
GONE = "GONE"
"""Not a state of RunPod: it answers 404, because the time of the job or of its result is over."""
FINAL = frozenset({COMPLETED, FAILED, CANCELLED, TIMED_OUT})
"""The states after which nothing changes. A state that Easel does not know is not final."""

LONGEST_LINE = 300
_LONGEST_ID, _LONGEST_STATE = 200, 40
_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,199})")
_CLASS = re.compile(r"<class '(?:[\w.]*\.)?(\w+)'>")
_NESTED = 4
_LONGEST_MS = 1e15


@dataclass(frozen=True)
class Result:
    """What a training worker says at the end, in the form of the document "LoRA Training System".

    `job_id` is the request id that Easel gave, not RunPod's. `lora_url` is where the LoRA is; "" after a failure, `error` is
    then one line.
    """

    is_success: bool
    job_id: str
    lora_name: str = ""
    lora_url: str = ""
    size_bytes: int | None = None
    error: str = ""


@dataclass(frozen=True)
class JobStatus:
    """What RunPod says of a job. `delay_s` is its time in the queue, `run_s` the time it ran, both in seconds.

    `state` is one of the names above, or one that Easel does not know. `error` is one line. `output` is what the worker returned, or
    its progress while the job runs.
    """

    id: str
    state: str
    output: Any = field(default=None, compare=False, repr=False)
    error: str = ""
    delay_s: float | None = None
    run_s: float | None = None
    worker: str = ""

    @property
    def is_final(self) -> bool:
        """Whether RunPod has ended the job."""
        return self.state in FINAL

    @property
    def is_gone(self) -> bool:
        """Whether RunPod no longer knows the job. This is no failure of the job."""
        return self.state == GONE

    @property
    def result(self) -> Result | None:
        """What the worker said at the end; None while the job runs, or when it said nothing that Easel knows."""
        return result({"output": self.output, "error": self.error}) if self.is_final else None

    def as_dict(self) -> dict[str, Any]:
        """The status as JSON data, without the output."""
        return {
            "id": self.id,
            "state": self.state,
            "error": self.error,
            "delay_s": self.delay_s,
            "run_s": self.run_s,
            "worker": self.worker,
        }


@dataclass(frozen=True)
class Health:
    """The jobs and the workers of an endpoint, each as the number for each state."""

    jobs: Mapping[str, int]
    workers: Mapping[str, int]


def status(body: Any, job_id: str) -> JobStatus | None:
    """The status in the body of a response about a job; None if it is no status, or of another job."""
    if not isinstance(body, Mapping) or not isinstance(body.get("status"), str):
        return None
    if body.get("id") != job_id:
        return None
    return JobStatus(
        job_id,
        printable(body["status"].strip().upper(), _LONGEST_STATE),
        body.get("output"),
        error_line(body.get("error")),
        _seconds(body.get("delayTime")),
        _seconds(body.get("executionTime")),
        _text(body.get("workerId"), _LONGEST_ID),
    )


def is_job_id(text: str) -> bool:
    """Whether a text can be the id of a job, and a part of an address."""
    return _ID.fullmatch(text) is not None and ".." not in text


def gone(job_id: str) -> JobStatus:
    """The status of a job that RunPod does not know any more."""
    return JobStatus(job_id, GONE)


def health(body: Any) -> Health | None:
    """The health in the body of a response; None if it is none."""
    if not isinstance(body, Mapping):
        return None
    jobs, workers = _counts(body.get("jobs")), _counts(body.get("workers"))
    return None if jobs is None or workers is None else Health(jobs, workers)


def result(body: Any) -> Result | None:
    """What a worker said: its own object, or RunPod's envelope with this object under `output`; None if it is neither."""
    for _ in range(2):
        if not isinstance(body, Mapping):
            return None
        if body.get("status") in ("success", "failed") and isinstance(body.get("job_id"), str):
            return _result(body)
        envelope, body = body, body.get("output")
        if isinstance(body, Mapping) and body.get("status") == "failed" and not body.get("error"):
            # The worker of RunPod takes the error out of the object, and puts it into the envelope.
            body = {**body, "error": envelope.get("error")}
    return None


def error_line(error: Any) -> str:
    """An error as one decisive line; "" if there is none.

    An exception in a worker arrives as JSON in a string, with type, message and traceback; others as a text or a traceback.
    """
    for _ in range(_NESTED):
        if isinstance(error, str) and error.lstrip()[:1] in ("{", '"'):
            try:
                error = json.loads(error)
            except (ValueError, RecursionError):
                break
        elif isinstance(error, Mapping):
            found = _of_exception(error)
            if found is None:
                break
            error = found
        else:
            break
    if error is None or error == {}:
        return ""
    return _line(error if isinstance(error, str) else json.dumps(error, default=str))


def _of_exception(error: Mapping[Any, Any]) -> Any:
    """The message of an exception with its type, or what a table has under another usual name; None if it has none."""
    name, said = error.get("error_type"), error.get("error_message")
    if isinstance(said, str) and said.strip():
        kind = _CLASS.sub(r"\1", name).strip() if isinstance(name, str) else ""
        return f"{kind}: {_last(said)}" if kind and not _last(said).startswith(kind) else _last(said)
    return next((error[key] for key in ("error_traceback", "error", "message", "detail") if error.get(key)), None)


def _line(text: str) -> str:
    """One line of a text from outside, without secrets."""
    return printable(without_secrets(_last(without_escapes(text))), LONGEST_LINE)


def _last(text: str) -> str:
    """The last line of a traceback, else the first line with text."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return ""
    return lines[-1] if any(line.startswith("Traceback (most recent call last)") for line in lines) else lines[0]


def _result(body: Mapping[Any, Any]) -> Result:
    if body["status"] == "failed":
        return Result(is_success=False, job_id=body["job_id"], error=error_line(body.get("error")))
    info = body.get("model_info")
    size = info.get("size_bytes") if isinstance(info, Mapping) else None
    return Result(
        is_success=True,
        job_id=body["job_id"],
        lora_name=_text(body.get("loraName"), 300),
        lora_url=_text(body.get("loraUrl"), 4000),
        size_bytes=size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None,
    )


def _counts(table: Any) -> dict[str, int] | None:
    if not isinstance(table, Mapping):
        return None
    return {
        printable(str(name), 60): number
        for name, number in table.items()
        if isinstance(number, int) and not isinstance(number, bool)
    }


def _seconds(milliseconds: Any) -> float | None:
    is_number = isinstance(milliseconds, int | float) and not isinstance(milliseconds, bool)
    return milliseconds / 1000 if is_number and 0 <= milliseconds < _LONGEST_MS else None


def _text(value: Any, limit: int) -> str:
    return printable(value, limit) if isinstance(value, str) else ""
