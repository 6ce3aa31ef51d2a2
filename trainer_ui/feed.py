"""The thread that follows a job: it reads what is new in the job folder and passes it on, at most four times a second."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from trainer_core.errors import JobError
from trainer_core.jobs.gauges.clocks import span
from trainer_core.jobs.gauges.wording import rows
from trainer_core.jobs.heard import STALE_S
from trainer_core.jobs.job import Job
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.text import printable
from trainer_core.training.run import Run
from trainer_core.training.verdict import verdict
from trainer_ui.boundary import attempt
from trainer_ui.cells import Cell, cells

TICK_S = 0.3
BEAT_S = 2.0
PACE_S = 1.0

Tell = Callable[[Mapping[str, Any], list[bytes]], None]


class Watch:
    """What this notebook has read of one job so far."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.log = job.log
        self.state = ""
        self._looked = 0.0
        self._images_per_step = _images_per_step(job)
        # Raises a JobError here, once, when the job is damaged.
        self._begins = "starting the engine" if job.spec.total_steps else "starting"
        self._sent = (-1, 0)
        self._last: Mapping[str, Any] = {}
        self._cells: list[Cell] = []
        self._marks: tuple[list[int], list[list[float]]] = ([], [])

    def news(self, full: bool) -> tuple[Mapping[str, Any], list[bytes]] | None:
        """The message for the view: everything if `full`, else what is new; None if nothing is."""
        # The state is read first: if it is final, the events and lines that are read after it are complete.
        self._look(full)
        seen = self.job.summary
        lines = self.log.read()
        first = full or self._sent[0] < 0
        points, told = (0, 0) if first else self._sent
        status, timeline = self._status(), seen.timeline
        now = (len(seen.points) // 3, timeline.dropped + len(timeline.told))
        figures, marks = cells(seen, self._images_per_step, is_over=self.state in _FINAL_NAMES), self._marks_of()
        is_new = status != self._last or self._sent != now or figures != self._cells or marks != self._marks
        if not (is_new or lines or full):
            return None
        message = {
            "kind": "run",
            "run": self.job.name,
            "full": first,
            "from": points,
            "status": status,
            "story": [
                {"at": one.time_s, "severity": one.severity, "text": printable(one.text, 1000)}
                for one in timeline.told[max(0, told - timeline.dropped) :]
            ],
            "log": {"lines": self.log.rows if first else lines, "open": self.log.open},
        }
        if first or figures != self._cells:
            message["cells"] = figures
        if first or marks != self._marks:
            message["saves"], message["validations"] = marks
        self._sent, self._last, self._cells, self._marks = now, status, figures, marks
        return message, [seen.points[3 * points : 3 * now[0]].tobytes()]

    def _look(self, full: bool) -> None:
        """Reads the state. A job that goes on is asked once a second: the answer is in several files and processes."""
        now = time.monotonic()
        if full or self.state not in _GOING or now - self._looked >= PACE_S:
            self.state, self._looked = self.job.state.name, now

    def _marks_of(self) -> tuple[list[int], list[list[float]]]:
        """The steps after which a checkpoint was saved, and the validation losses by step."""
        seen = self.job.summary
        saves = sorted({one.step for one in seen.checkpoints if one.step})
        return saves, [[one.step, one.loss] for one in seen.validations if math.isfinite(one.loss)]

    def _status(self) -> dict[str, Any]:
        seen = self.job.summary
        return {
            "state": self.state,
            "phase": printable(seen.stage or self._begins, 200),
            "step": seen.step,
            "total": seen.total,
            "seconds_per_step": seen.seconds_per_step,
            "left_s": seen.eta_s,
            "log": self.log.open,
            "failed_at": seen.step if self.state in _FAILED_NAMES else 0,
            "old": self.old(),
            "gauges": [{"label": label, "text": text} for label, text in rows(seen.gauges)],
            "verdict": verdict(self.job, is_for_page=True) if self.state in _FINAL_NAMES else [],
        }

    def old(self) -> str:
        """A sentence if the supervisor was not heard lately; it changes once a minute, so that few messages are sent."""
        if not self.job.is_stale:
            return ""
        seconds = self.job.heard_s_ago or 0.0
        return f"Not heard from the job for {span(seconds // 60 * 60 or STALE_S)}: what you see may be old."


def _images_per_step(job: Job) -> int:
    """How many images a step of a run has; 0 for another kind of job, or if its plan does not say."""
    if not isinstance(job, Run):
        return 0
    try:
        schedule = job.folder.plan.get("schedule", {})
    except JobError:
        return 0
    batch, times = (schedule.get(name, 1) for name in ("batch_size", "gradient_accumulation"))
    return batch * times if isinstance(batch, int) and isinstance(times, int) else 0


def prompt_of(job: Job) -> str:
    """The sample prompt of a run, from its plan; "" for another kind of job, or when the plan cannot be read."""
    if not isinstance(job, Run):
        return ""
    try:
        plan = job.folder.plan
    except JobError:
        return ""
    prompt, trigger = plan.get("sampling", {}).get("prompt", ""), plan.get("dataset", {}).get("trigger", "")
    return printable(str(prompt).replace("{trigger}", str(trigger)), 300)


def _ignore(*_: object) -> None:
    """A function that does nothing."""


class Feed:
    """Follows at most one job; all messages for the page come from its thread, so they arrive in order.

    Four attributes are functions that its owner may set: `tell` gets each message for the page; `told` is called after
    messages, at once when the stage of the job is another, else once a second at most; `beat` is called every two seconds,
    `changed` when the state of the job has changed (with a sentence when the job cannot be read). They are called in the
    thread of the feed and must not block it.
    """

    def __init__(self, changed: Callable[[str], None]) -> None:
        self.tell: Tell = _ignore
        self.told: Callable[[], None] = _ignore
        self.beat: Callable[[], None] = _ignore
        self.changed = changed
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._job: Job | None = None
        self._full = self._closed = False
        self.watch: Watch | None = None
        self._untold = False
        self._told_at = 0.0
        self._stage: object = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Starts the thread, unless it was started before."""
        with self._lock:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._loop, name="easel-feed", daemon=True)
                self._thread.start()

    def follow(self, job: Job | None) -> None:
        """Shows this job from now on, or none."""
        with self._lock:
            self._job, self._full = job, True
        self._wake.set()

    def tell_all(self) -> None:
        """Sends everything again: a view was just opened, or it missed a message."""
        with self._lock:
            self._full = True
        self._wake.set()

    def close(self) -> None:
        """Ends the thread, not the job."""
        self._closed = True
        self._wake.set()
        thread = self._thread
        if thread is not None and thread.is_alive() and threading.current_thread() is not thread:
            thread.join(timeout=5)

    def _loop(self) -> None:
        beaten = 0.0
        while not self._closed:
            if time.monotonic() - beaten >= BEAT_S:
                beaten = time.monotonic()
                attempt(self.beat, lambda _: None)
            if not attempt(self._tick, self.changed):
                # Each further look would fail in the same way, so a job that cannot be read is not followed any more.
                self.follow(None)
            live = self.watch is not None and self.watch.state not in _FINAL_NAMES
            self._wake.wait(TICK_S if live else BEAT_S)
            self._wake.clear()
            # A pause, even if woken early: many requests at once must not become many messages.
            if not self._closed and live:
                time.sleep(0.02)

    def _tick(self) -> None:
        with self._lock:
            job, full, self._full = self._job, self._full, False
        if job is None:
            self.watch = None
            if full:
                self.tell({"kind": "run", "run": "", "full": True}, [])
            return
        if self.watch is None or self.watch.job is not job:
            self.watch, full = Watch(job), True
        before = self.watch.state
        news = self.watch.news(full)
        if news:
            self.tell(*news)
        self._pace(news[0] if news else None)
        if self.watch.state != before:
            self.changed("")

    def _pace(self, message: Mapping[str, Any] | None) -> None:
        """Calls `told` for the messages since it was called last, also for this one."""
        if message is not None:
            status = message["status"]
            stage = message["run"], status["state"], status["phase"]
            self._untold, self._stage, is_new = True, stage, message["full"] or stage != self._stage
        else:
            is_new = False
        if is_new or (self._untold and time.monotonic() - self._told_at >= PACE_S):
            self._untold, self._told_at = False, time.monotonic()
            self.told()


_FINAL_NAMES = frozenset(state.name for state in FINAL_STATES)
_GOING = frozenset({JobState.RUNNING.name})
_FAILED_NAMES = frozenset({JobState.FAILED.name, JobState.LOST.name})
