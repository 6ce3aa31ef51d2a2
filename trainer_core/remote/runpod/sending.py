"""Sends the request for a run to RunPod as one job, and finds that job again if its answer was lost.

The notes of the run have: "asked_s", when a job was sent whose answer has not arrived; "job", its id; "sent_s" and "deadline_s", when it was
sent and when RunPod deletes it; "times", how often one was sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trainer_core.remote.runpod.allowed_time import Allowed
from trainer_core.remote.runpod.bucket_run import BucketRun
from trainer_core.remote.runpod.client import Client
from trainer_core.remote.runpod.refusals import RunPodError
from trainer_core.remote.runs.carrier import NotNow
from trainer_core.remote.runs.notes import Notes

JOB, ASKED, SENT, DEADLINE, TIMES = "job", "asked_s", "sent_s", "deadline_s", "times"
UNANSWERED_S = 120.0
"""For so long after a request without an answer Easel looks for its job before it sends another one. A second job is refused by the worker,
but costs its start."""


@dataclass(frozen=True)
class Sender:
    """Sends the job of one run. `unanswered_s` is as UNANSWERED_S."""

    client: Client
    run: BucketRun
    notes: Notes
    unanswered_s: float = UNANSWERED_S

    def job(self) -> str:
        """The id of the run's job, as far as it is known here; "" before one was sent."""
        found = self.notes.read().get(JOB)
        return found if isinstance(found, str) else ""

    def found(self) -> bool:
        """Whether the job of an earlier request, whose answer was lost, has begun; then its id is noted.

        Raises:
            RemoteError: the bucket cannot be read.
        """
        job = self.run.running_job()
        if job and job != self.job():
            self.notes.write({JOB: job})
        return bool(job)

    def send(self, data: Mapping[str, Any], allowed: Allowed, webhook: str, say: Callable[[str], None]) -> None:
        """Sends the job, unless an earlier request may still turn out to have arrived.

        Raises:
            RunPodError: RunPod refuses it.
            NotNow: no answer arrived, so it is not known whether there is a job; the next call finds out.
        """
        known = self.notes.read()
        asked_s, now = known.get(ASKED), time.time()
        if isinstance(asked_s, int | float) and 0 <= now - asked_s < self.unanswered_s and not self._has_no_job():
            raise self._unanswered(self.unanswered_s - (now - asked_s))
        times = known.get(TIMES, 0)
        if asked_s and times:
            say(
                "The first request has no job that runs, so it is sent again. If both arrive, the worker trains only once."
            )
        # Before it is sent: whatever happens then, the next follower knows that there may be a job.
        self.notes.write({ASKED: now, SENT: now, DEADLINE: now + allowed.policy.ttl_s, TIMES: times + 1})
        try:
            job = self.client.run(data, allowed.policy, webhook)
        except RunPodError as error:
            if error.may_have_arrived:
                raise self._unanswered(None, error.message) from error
            self.notes.write({ASKED: 0})
            raise
        self.notes.write({JOB: job.id, ASKED: 0})
        say(f"RunPod has the job {job.id}. {allowed.sentence}")

    def _has_no_job(self) -> bool:
        """Whether the endpoint says that it has no job at all, so that the request did not arrive."""
        try:
            jobs = self.client.health().jobs
        except RunPodError:
            return False
        return {"inQueue", "inProgress"} <= jobs.keys() and not jobs["inQueue"] and not jobs["inProgress"]

    @staticmethod
    def _unanswered(wait_s: float | None, why: str = "") -> NotNow:
        message = f"{why or 'RunPod has not answered the request.'} It may have started the job all the same."
        return NotNow(message, "Easel looks in the bucket whether it runs, before it sends the request again.", wait_s)
