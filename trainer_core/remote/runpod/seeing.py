"""Where a run on RunPod is: from the bucket, and from what RunPod says of its job. The bucket's result decides; polling finds the rest."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from trainer_core.errors import RemoteError
from trainer_core.remote.runpod import settle
from trainer_core.remote.runpod.absence import GRACE_S, Absence
from trainer_core.remote.runpod.bucket_run import REQUEST, BucketRun
from trainer_core.remote.runpod.client import Client
from trainer_core.remote.runpod.sending import ASKED, DEADLINE, SENT, Sender
from trainer_core.remote.runpod.settle import Known, RemoteState
from trainer_core.remote.runs.carrier import NotNow, Seen
from trainer_core.remote.runs.notes import Notes

ENDED = "runpod_ended_s"
"""The note of when RunPod was first seen to have ended the job without a result in the bucket, in seconds since 1970."""
UPLOADS_S = 90.0
"""For so long after RunPod has ended a job, its worker may still upload what it has: a cancelled or timed-out job is ended first."""


@dataclass
class Looker:
    """Looks where one run is. `grace_s` is as GRACE_S, `uploads_s` as UPLOADS_S.

    What RunPod said counts as long as the process lives; the rest is in the notes.
    """

    client: Client
    run: BucketRun
    notes: Notes
    sender: Sender
    grace_s: float = GRACE_S
    uploads_s: float = UPLOADS_S
    known: Known | None = None
    absence: Absence = field(default_factory=Absence)
    has_begun: bool = False

    def look(self) -> Seen:
        """Where the run is now. A run that RunPod has ended, and whose worker cannot say so any more, gets its result here.

        Raises:
            RemoteError: the bucket or RunPod cannot be asked, and the other one does not decide.
        """
        if self.run.has_ended():
            return Seen("ended")
        job = self.run.running_job()
        # A run that has begun stays one, also if the bucket once does not show it.
        self.has_begun = self.has_begun or bool(job)
        if job and job != self.sender.job():
            # Of two jobs, because the answer about the first one was lost, this one trains.
            self.sender.found()
        job = job or self.sender.job()
        if not job:
            return self._without_job()
        return self._of(self._asked(job))

    def _without_job(self) -> Seen:
        if self.run.asked_to_stop():
            return Seen("lost", "It was stopped before a worker had begun.")
        if self.notes.read().get(ASKED):
            return Seen("waiting", "RunPod has not answered the request; it may have started the job all the same.")
        is_known = self.run.content(REQUEST) is not None
        return Seen(
            "waiting", "It was not sent to RunPod yet." if is_known else "The bucket has nothing of it.", is_known
        )

    def _asked(self, job: str) -> settle.Settled:
        """The state by all that is known now."""
        noted, now = self.notes.read(), time.time()
        if self.known is None or self.known.job_id != job:
            sent_s, deadline_s = (_number(noted.get(name), now) for name in (SENT, DEADLINE))
            self.known = Known(self.run.id, job, sent_s, max(deadline_s, sent_s))
        self.known = self.known.with_status(settle.Seen(self.client.status(job), now))
        found = settle.settle(self.known, now)
        if found.look_in_bucket:
            # After the status: a result that the worker wrote before its end is there then.
            if (result := self.run.result()) is not None:
                self.known = self.known.with_result(result)
            else:
                self.known = self.known.with_look(time.time())
            found = settle.settle(self.known, time.time())
        return found

    def _of(self, found: settle.Settled) -> Seen:
        self.has_begun = self.has_begun or bool(self.run.running_job())
        if found.state is RemoteState.QUEUED and not self.has_begun:
            return Seen("waiting", found.sentence)
        if found.state is RemoteState.LOST:
            return self._lost(found.sentence)
        self.absence.ends()
        if not found.state.is_final:
            # RunPod gives a job whose worker was lost to another one: then it waits again.
            return Seen("running", found.sentence)
        if self.run.has_ended():
            return Seen("ended")
        first_s = self._first_seen()
        waited_s = time.time() - first_s
        # A clock that was set back must not make it wait for ever.
        if self.has_begun and -self.uploads_s < waited_s < self.uploads_s:
            return Seen("running", f"{found.sentence} Its worker may still upload what it has.")
        is_cancelled = found.state is RemoteState.CANCELLED
        self.run.conclude("CANCELLED" if is_cancelled else "FAILED", f"{found.sentence} {_WITHOUT}", _ADVICE)
        return Seen("ended")

    def _lost(self, sentence: str) -> Seen:
        if self.run.has_ended():
            return Seen("ended")
        if not self.absence.counts(self.grace_s):
            return Seen("running", f"{sentence} Easel asks again before it counts as lost.")
        return Seen("lost", sentence)

    def _first_seen(self) -> float:
        """When RunPod was first seen to have ended the job."""
        ended_s = self.notes.read().get(ENDED)
        if not isinstance(ended_s, int | float):
            ended_s = time.time()
            self.notes.write({ENDED: ended_s})
        return ended_s


_WITHOUT = "Its worker wrote no result into the bucket."
_ADVICE = "What the bucket has of it was fetched. See the log of the worker in RunPod's console."


def _number(value: object, default: float) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else default


def passing(error: RemoteError) -> NotNow | None:
    """The error as one that passes, if it is about the clock of this machine; None for another one.

    A machine that wakes up has a wrong clock for some seconds, and the storage refuses every request then.
    """
    return NotNow(error.message, error.hint) if error.kind == "clock" else None
