"""One job of an app: started, followed and stopped from the notebook, whatever its kind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

from trainer_core import places
from trainer_core.errors import JobError
from trainer_core.jobs.job import Job, list_jobs
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_ui.boundary import attempt
from trainer_ui.feed import Feed

if TYPE_CHECKING:
    from trainer_ui.feed import Watch
    from trainer_ui.views import Views

AnyJob = TypeVar("AnyJob", bound=Job)


def known_jobs(kind: str) -> Iterator[Job]:
    """The jobs of a kind on this machine, newest first; damaged ones are left out."""
    return (job for job in list_jobs(places.jobs()) if _kind(job) == kind)


def _kind(job: Job) -> str:
    try:
        return job.spec.kind
    except JobError:
        return ""


class JobSession(Generic[AnyJob]):
    """The job that an app or a panel shows, and the feed that follows it."""

    def __init__(self, views: Views) -> None:
        self.views = views
        self.job: AnyJob | None = None
        self.starting = False
        self.feed = Feed(views.show_soon)
        self.refusal: Callable[[], str] = str
        """Says why no job may be started now; "" when one may."""

    @property
    def state(self) -> JobState | None:
        """The state of the job; None when no job is shown."""
        return self.job.state if self.job is not None else None

    @property
    def is_live(self) -> bool:
        """Whether a job is shown that has not ended."""
        state = self.state
        return state is not None and state not in FINAL_STATES

    @property
    def watch(self) -> Watch | None:
        """What the feed has read of the job so far."""
        return self.feed.watch

    def start(self, make: Callable[[], AnyJob], failed: Callable[[], None] = lambda: None) -> bool:
        """Starts the job that `make` returns, in a thread, and follows it; returns False when no job may be started now.

        An error of `make` becomes the message; `failed` is then called with the lock held, before the views are shown.
        """
        if self.starting:
            return False
        if reason := self.refusal():
            self.views.note(reason)
            return False
        self.starting = True
        threading.Thread(target=self._start, args=(make, failed), name="easel-start", daemon=True).start()
        return True

    def _start(self, make: Callable[[], AnyJob], failed: Callable[[], None]) -> None:
        reasons: list[str] = []
        done = attempt(lambda: self.follow(make()), reasons.append)
        with self.views.lock:
            # Whoever reads the reason can start again at once.
            self.starting = False
            if not done:
                failed()
            self.views.show_unasked(*reasons)

    def follow(self, job: AnyJob | None) -> None:
        """Shows this job from now on, or none."""
        with self.views.lock:
            self.job = job
        self.feed.follow(job)
        self.feed.start()

    def follow_live(self, newest_first: Iterable[AnyJob]) -> None:
        """Follows the newest of these jobs that is in progress, if there is one: the kernel may have been restarted."""
        job = next((job for job in newest_first if job.is_live), None)
        if job is not None:
            self.follow(job)

    def stop(self) -> None:
        """Stops the job, in a thread: the programs of a job get some seconds to end, and the page must not wait for them."""
        if self.job is not None:
            threading.Thread(
                target=attempt, args=(self.job.stop, self.views.show_soon), name="easel-stop", daemon=True
            ).start()

    def close(self) -> None:
        """Ends the feed; the job continues."""
        self.feed.close()
