"""What can go wrong with a run on RunPod, as rows: what a test does, and where the run is then. docs/remote-faults.md has the same table.

`then` is "passing" (it is asked again by itself), "refused" (the user must do something), or a phase: "waiting", "running", "ended", "lost".
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.runpod_runs import Cloud, Worker
from tests.support.runpod_twin import KEPT_S, Fault


@dataclass
class Scene:
    """A run that was sent; `worker` has taken its job and has claimed the run, unless the row begins earlier."""

    cloud: Cloud
    worker: Worker
    carrier: Any
    folder: Path
    jobs: dict[str, Any] = field(default_factory=dict)

    def runpod_says(self, *faults: Fault) -> None:
        self.cloud.twin.faults = list(faults)

    def bucket(self, **what: Any) -> None:
        self.cloud.place.network.fault(times=50, **what)

    def later(self, seconds: float) -> None:
        """Makes everything that RunPod knows this much older."""
        with self.cloud.twin.changed:
            for job in self.cloud.twin.jobs.values():
                job.made_s -= seconds
                job.started_s -= seconds if job.started_s else 0
                job.ended_s -= seconds if job.ended_s else 0

    def grace_is_over(self) -> None:
        """The time in which RunPod may not know a job, and that in which a worker uploads what it has after RunPod ended its job."""
        self.carrier._looker.grace_s = self.carrier._looker.uploads_s = 0.0


@dataclass(frozen=True)
class Row:
    """One fault. `well` ends it; the run then goes on, and its end is found."""

    id: str
    what: str
    does: str
    go_wrong: Callable[[Scene], None]
    then: str
    well: Callable[[Scene], None] = field(default=lambda scene: None)
    says: str = ""
    goes_on: bool = True


def _no_faults(scene: Scene) -> None:
    scene.cloud.twin.faults = []
    scene.cloud.place.network.faults.clear()
    scene.cloud.place.network.clock = dt.timedelta()


def _over(scene: Scene) -> None:
    scene.worker.end()
    scene.later(KEPT_S + 60)


def _ended_while_down(scene: Scene) -> None:
    scene.worker.end()
    scene.runpod_says(*[Fault(503)] * 9)


def _gone_for_now(scene: Scene) -> None:
    scene.jobs = dict(scene.cloud.twin.jobs)
    scene.cloud.twin.jobs.clear()
    scene.carrier._notes.write({"sent_s": 1000.0, "deadline_s": 2000.0})


def _there_again(scene: Scene) -> None:
    scene.cloud.twin.jobs.update(scene.jobs)


def _gone(scene: Scene) -> None:
    _gone_for_now(scene)
    scene.grace_is_over()


def _killed(scene: Scene) -> None:
    scene.worker.kill()
    scene.grace_is_over()


def _timed_out(scene: Scene) -> None:
    scene.cloud.twin.finish(scene.worker.job, "TIMED_OUT", error="job timed out after executionTimeout")
    scene.grace_is_over()


def _cancelled(scene: Scene) -> None:
    scene.cloud.twin.finish(scene.worker.job, "CANCELLED")
    scene.grace_is_over()


def _said_by_a_liar(scene: Scene) -> None:
    """The result of another request, as a forged call or a mixed-up worker would say it."""
    said = {"status": "success", "job_id": "another", "loraName": "x.safetensors", "loraUrl": "s3://bkt/x"}
    scene.cloud.twin.progress(scene.worker.job, said)


def _nothing(scene: Scene) -> None:
    del scene


ROWS = (
    # ---- RunPod ----
    Row(
        "down",
        "RunPod's service is down for minutes (5xx)",
        "says so once, asks again; the training goes on",
        lambda s: s.runpod_says(*[Fault(502)] * 9),
        "passing",
        _no_faults,
    ),
    Row(
        "busy",
        "RunPod refuses because of too many requests (429)",
        "waits as long as it says, asks again",
        lambda s: s.runpod_says(*[Fault(429, headers={"Retry-After": "1"})] * 9),
        "passing",
        _no_faults,
    ),
    Row(
        "cut",
        "the connection to RunPod is cut",
        "asks again",
        lambda s: s.runpod_says(*[Fault(how="cut")] * 9),
        "passing",
        _no_faults,
    ),
    Row(
        "no-json",
        "RunPod answers with an error page",
        "says so; the end is in the bucket all the same",
        lambda s: s.runpod_says(*[Fault(200, "<html>")] * 9),
        "refused",
        _no_faults,
        "did not answer with",
    ),
    Row(
        "ended-while-down",
        "RunPod is down when the run ends",
        "finds result.json in the bucket",
        _ended_while_down,
        "ended",
        goes_on=False,
    ),
    Row(
        "key",
        "the API key was revoked (401)",
        "says which setting to check",
        lambda s: s.runpod_says(*[Fault(401)] * 9),
        "refused",
        _no_faults,
        "RUNPOD_API_KEY",
    ),
    Row(
        "retention",
        "RunPod no longer knows the job (404, after 30 minutes), and the result is in the bucket",
        "the bucket decides: ended",
        _over,
        "ended",
        goes_on=False,
    ),
    Row(
        "gone-for-now",
        "RunPod, or a proxy before it, says once that it does not know the job",
        "asks again for 90 s before it counts as lost",
        _gone_for_now,
        "running",
        _there_again,
        "asks again before it counts as lost",
    ),
    Row(
        "gone",
        "RunPod no longer knows the job for 90 s, and the bucket has no result",
        "ends as lost, with the command that looks again",
        _gone,
        "lost",
        says="no longer knows the job",
        goes_on=False,
    ),
    Row(
        "unknown-state",
        "RunPod names a state that Easel does not know",
        "goes on asking",
        lambda s: setattr(s.worker.job, "status", "THROTTLED"),
        "running",
        lambda s: setattr(s.worker.job, "status", "IN_PROGRESS"),
        "does not know",
    ),
    Row(
        "requeued",
        "RunPod gives the job to another worker",
        "the run goes on; the same job may train it again",
        lambda s: setattr(s.worker.job, "status", "IN_QUEUE"),
        "running",
        lambda s: s.worker.take().begin(),
    ),
    Row(
        "time-over",
        "the time for the training is over, and the worker is gone",
        "ends as failed, with what to change",
        _timed_out,
        "ended",
        says="the time for its training was over",
        goes_on=False,
    ),
    Row(
        "cancelled",
        "the job is cancelled in RunPod's console, and the worker is gone",
        "ends as cancelled",
        _cancelled,
        "ended",
        goes_on=False,
    ),
    # ---- the worker ----
    Row(
        "killed",
        "the worker is killed while it trains",
        "ends as failed; what it had uploaded is fetched",
        _killed,
        "ended",
        says="exit code 137",
        goes_on=False,
    ),
    Row(
        "killed-uploading",
        "RunPod has ended the job, and the worker still uploads",
        "waits 90 s for the result",
        lambda s: s.worker.kill(),
        "running",
        says="may still upload",
    ),
    Row(
        "failed",
        "the training fails",
        "ends as failed, with the worker's reason",
        lambda s: s.worker.end(is_success=False, error="out of memory"),
        "ended",
        goes_on=False,
    ),
    Row(
        "silent",
        "the worker has written the result, and RunPod still says that it runs",
        "result.json decides: ended",
        lambda s: s.worker.end(finishes=False),
        "ended",
        goes_on=False,
    ),
    # ---- the webhook, which is only a reason to ask ----
    Row(
        "webhook-lost",
        "the webhook is not called",
        "nothing: the state is asked for",
        lambda s: s.worker.end(),
        "ended",
        goes_on=False,
    ),
    Row(
        "webhook-early",
        "the webhook is called before the answer to the request, or twice",
        "nothing: the job still runs",
        _nothing,
        "running",
    ),
    Row(
        "webhook-forged",
        "somebody says that a run has ended which has not",
        "nothing: only result.json and RunPod's state count",
        _said_by_a_liar,
        "running",
    ),
    # ---- the bucket ----
    Row(
        "s3-403",
        "the access key loses its rights (403)",
        "says which right is missing",
        lambda s: s.bucket(method="GET", status=403, code="AccessDenied"),
        "refused",
        _no_faults,
        "s3:ListBucket",
    ),
    Row(
        "s3-404",
        "the bucket is gone (404)",
        "says so",
        lambda s: s.bucket(method="GET", status=404, code="NoSuchBucket"),
        "refused",
        _no_faults,
        "There is no bucket",
    ),
    Row(
        "s3-503",
        "the storage has too many requests (503)",
        "asks again",
        lambda s: s.bucket(status=503, code="SlowDown"),
        "passing",
        _no_faults,
    ),
    Row(
        "s3-500",
        "the storage has an error of its own (500)",
        "asks again",
        lambda s: s.bucket(status=500, code="InternalError"),
        "passing",
        _no_faults,
    ),
    Row(
        "s3-cut",
        "the connection to the storage is cut",
        "asks again",
        lambda s: s.bucket(cut_answer=3),
        "passing",
        _no_faults,
    ),
    Row("s3-slow", "the storage is slow", "waits", lambda s: s.bucket(slow_s=0.4), "running", _no_faults),
    Row(
        "clock",
        "the clock of this machine is wrong, as after it was asleep",
        "says by how much, asks again",
        lambda s: setattr(s.cloud.place.network, "clock", dt.timedelta(hours=3)),
        "passing",
        _no_faults,
        "The clock of this machine is wrong",
    ),
)
