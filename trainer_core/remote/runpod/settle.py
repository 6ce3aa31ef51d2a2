"""From all that is known of a remote run to its one state. Pure: no clock, no network, no files.

What is known only grows. `known.with_status(...)`, `with_result(...)` and `with_look(...)` add one observation each; the order in which
they arrive, and whether one arrives twice, makes no difference. An observation of another job, or of an earlier attempt, adds nothing.
The body of a webhook is no observation: a call is a reason to ask for the status.

    known = Known("style_16_1234567890", "abc-123", sent_s=now, deadline_s=now + policy.ttl_s)
    known = known.with_status(Seen(client.status("abc-123"), asked_s=now))
    settle(known, now).state
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace

from trainer_core.remote.runpod import answers
from trainer_core.remote.runpod.answers import JobStatus, Result

NEW_S = 60.0
"""For so long after it was sent, RunPod may not know a job yet."""


class RemoteState(enum.Enum):
    """The state of a remote run."""

    QUEUED = "queued"
    RUNNING = "running"
    UNSURE = "unsure"
    """RunPod no longer knows the job, and the bucket was not looked at since: the result may be there."""
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"
    """RunPod no longer knows the job, and the bucket has no result."""

    @property
    def is_final(self) -> bool:
        """Whether there is nothing more to ask."""
        return self in FINAL


FINAL = frozenset({RemoteState.COMPLETED, RemoteState.FAILED, RemoteState.CANCELLED, RemoteState.LOST})


@dataclass(frozen=True)
class Seen:
    """What RunPod answered to a question that was sent at `asked_s` (seconds since 1970) about this attempt, counted from 1."""

    status: JobStatus
    asked_s: float
    attempt: int = 1


@dataclass(frozen=True)
class Known:
    """All that is known of a remote run. Times are in seconds since 1970.

    `deadline_s` is when RunPod deletes the job, whether it runs or not. `looked_s` is when the bucket was last found without a
    result; 0 if never.
    """

    request_id: str
    job_id: str
    sent_s: float
    deadline_s: float
    attempt: int = 1
    seen: Seen | None = None
    gone_s: float = 0.0
    result: Result | None = None
    looked_s: float = 0.0

    def with_status(self, seen: Seen) -> Known:
        """This, and an answer of RunPod to a question about the status."""
        if seen.status.id != self.job_id or seen.attempt != self.attempt:
            return self
        if seen.status.is_gone:
            return replace(self, gone_s=max(self.gone_s, seen.asked_s))
        return replace(self, seen=seen if self.seen is None else max(self.seen, seen, key=self._weight))

    def _weight(self, seen: Seen) -> tuple[int, int, bool, float, str]:
        """Which of two answers counts: a final one, of those the better one, one with the result, else the later one; then the text."""
        state, result = seen.status.state, seen.status.result
        rank = _FINAL_ORDER.index(state) if state in _FINAL_ORDER else -1
        is_proof = result is not None and result.is_success and result.job_id == self.request_id
        return int(rank >= 0), rank, is_proof, seen.asked_s, f"{state} {seen.status.error} {seen.status.output!r}"

    def with_result(self, found: Result) -> Known:
        """This, and what the file result.json in the bucket says. One of another request adds nothing."""
        if found.job_id != self.request_id:
            return self
        return replace(self, result=found if self.result is None else max(self.result, found, key=_result_weight))

    def with_look(self, looked_s: float) -> Known:
        """This, and that the bucket had no result at this time."""
        return replace(self, looked_s=max(self.looked_s, looked_s))

    def with_retry(self, sent_s: float, deadline_s: float) -> Known:
        """This after another attempt was started: what was known of the former one no longer counts."""
        return Known(self.request_id, self.job_id, sent_s, deadline_s, self.attempt + 1)


@dataclass(frozen=True)
class Settled:
    """The state of a remote run, what the user should know about it, and the worker's result, if there is one.

    `is_late`: the time of the job is over, although RunPod last said that it waits or runs. `look_in_bucket`: the next thing to do.
    """

    state: RemoteState
    sentence: str
    result: Result | None = field(default=None, compare=True)
    is_late: bool = False
    look_in_bucket: bool = False


def settle(known: Known, now_s: float) -> Settled:
    """The state of a remote run at a time.

    A success in the bucket decides: it was written after the LoRA. Else RunPod's final state decides, then that it no longer knows the
    job, then its last other answer.
    """
    if known.result is not None and known.result.is_success:
        return _completed(known.result)
    status = known.seen.status if known.seen is not None else None
    if status is not None and status.is_final:
        return _ended(known, status)
    # A failure in the bucket ended this attempt: what RunPod still says of it afterwards cannot make it wait again.
    asked_s = known.seen.asked_s if known.seen is not None and known.result is None else 0.0
    if known.gone_s > max(known.sent_s + NEW_S, asked_s):
        return _gone(known, now_s)
    is_late = now_s > known.deadline_s
    if status is None:
        return Settled(RemoteState.QUEUED, "RunPod has not been asked about it yet.", is_late=is_late)
    if status.state == answers.IN_QUEUE:
        return Settled(RemoteState.QUEUED, "It waits for a worker.", is_late=is_late)
    if status.state in (answers.IN_PROGRESS, answers.RUNNING):
        return Settled(RemoteState.RUNNING, "A worker trains.", is_late=is_late)
    # A state that a later version of RunPod may have: it is asked again.
    return Settled(RemoteState.RUNNING, f"RunPod says {status.state}, which Easel does not know.", is_late=is_late)


def _completed(result: Result) -> Settled:
    name = result.lora_name or "the LoRA"
    return Settled(RemoteState.COMPLETED, f"{name} was trained.", result)


def _ended(known: Known, status: JobStatus) -> Settled:
    """The state after a final answer of RunPod. What the worker returned counts only if it is about this request."""
    told = status.result if status.result is not None and status.result.job_id == known.request_id else None
    failed = known.result or (told if told is not None and not told.is_success else None)
    if status.state == answers.COMPLETED:
        if told is not None and told.is_success:
            return _completed(told)
        if failed is not None:
            return Settled(RemoteState.FAILED, _because(failed.error or status.error), failed)
        if known.looked_s <= (known.seen.asked_s if known.seen is not None else 0.0):
            said = "The worker has ended, but did not say where the LoRA is."
            return Settled(RemoteState.UNSURE, said, look_in_bucket=True)
        said = "The worker ended without an error, but returned no LoRA, and the bucket has no result. Check that its handler is made for Easel."
        return Settled(RemoteState.FAILED, said)
    if status.state == answers.CANCELLED:
        return Settled(RemoteState.CANCELLED, "It was cancelled.")
    if status.state == answers.TIMED_OUT:
        return Settled(
            RemoteState.FAILED,
            "It was ended because the time for its training was over. Allow more time, or train fewer steps.",
        )
    return Settled(RemoteState.FAILED, _because(status.error or (failed.error if failed is not None else "")), failed)


def _gone(known: Known, now_s: float) -> Settled:
    if known.result is not None:
        return Settled(RemoteState.FAILED, _because(known.result.error), known.result)
    is_late = now_s > known.deadline_s
    if known.looked_s <= known.gone_s:
        said = "RunPod no longer knows the job: it keeps a result for 30 minutes. The bucket may have it."
        return Settled(RemoteState.UNSURE, said, is_late=is_late, look_in_bucket=True)
    if is_late:
        said = "RunPod no longer knows the job, whose time is over, and the bucket has no result. Start it again, with more time."
    else:
        said = "RunPod no longer knows the job, and the bucket has no result. It may have failed more than 30 minutes ago: see RunPod's console."
    return Settled(RemoteState.LOST, said, is_late=is_late)


def _because(error: str) -> str:
    return f"The training failed: {error}" if error else "The training failed, and the worker did not say why."


_FINAL_ORDER = (answers.CANCELLED, answers.TIMED_OUT, answers.FAILED, answers.COMPLETED)


def _result_weight(result: Result) -> tuple[bool, str]:
    return result.is_success, repr(result)
