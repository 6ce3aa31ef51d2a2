"""The job that a fix starts, such as a download, or copying a file with other tensor names: its progress and a Stop button."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trainer_core import tools
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.prepare import native
from trainer_ui.formatting import Paragraph, show
from trainer_ui.job_session import JobSession
from trainer_ui.widgets import Box, Button, Layout

if TYPE_CHECKING:
    from trainer_core.jobs.job import Job
    from trainer_core.problems import Fix
    from trainer_ui.session import Session


class ToolPanel:
    """The job of the clicked fix. When the job has made its file, the setting of the fix is set to its path.

    All widgets are made at the start, and the threads only fill them (see `Views.unasked`).
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.jobs: JobSession[Job] = JobSession(session)
        self.jobs.refusal = lambda: (
            "Another fix is running. Wait until it ends, or stop it." if self.jobs.is_live else ""
        )
        self.jobs.feed.tell, self.jobs.feed.changed = self._tell, self._changed
        self.fix: Fix | None = None
        self.before: tuple[object, object] = ("", "")
        self.says = Paragraph("", "grow")
        self.stop = Button(description="Stop", classes=("easel-stop",))
        self.stop.on_click(session.handler(lambda _: self.jobs.stop()))
        self.widget = Box([self.says, self.stop], layout=Layout(), classes=("easel-row",))
        session.forgetting.append(self._forget)

    def _forget(self) -> None:
        """Drops what became of a fix; work in progress goes on, and sets nothing in the form that is empty now."""
        self.fix = None
        if not self.jobs.is_live:
            self.jobs.follow(None)
            self.says.show_text("")

    def start(self, fix: Fix) -> None:
        """Starts the job of a fix."""
        task = fix.task
        if task is not None and self.jobs.start(lambda: tools.begin(task)):
            self.fix, self.before = fix, self._basis_of(task.setting)

    def show(self) -> None:
        """Shows the running job, or the result of the last one."""
        show(self.stop, self.jobs.is_live)
        show(self.widget, self.jobs.job is not None or self.jobs.starting)

    def close(self) -> None:
        """Stops showing progress; the job continues."""
        self.jobs.close()

    def _tell(self, message: Mapping[str, Any], _: list[bytes]) -> None:
        """Shows what is new; called by the thread of the feed."""
        job, status = self.jobs.job, message["status"]
        if job is None or message["run"] != job.name:
            return
        rows = {row["label"]: row["text"] for row in status["verdict"]}
        state = status["state"]
        if state == JobState.COMPLETED.name:
            self.says.show_text("Done: the files are there.", "ok")
        elif state == JobState.CANCELLED.name:
            self.says.show_text("It was stopped. The button starts it again.", "warn")
        elif state in {each.name for each in FINAL_STATES}:
            why = " ".join(text for name in ("What happened", "What to do") if (text := rows.get(name)))
            self.says.show_text(f"This did not work. {why}", "danger")
        else:
            share = f": {status['step']} of {status['total']} MiB" if status["total"] else ""
            self.says.show_text(f"{status['phase'].capitalize() or 'Working'}{share}", "")

    def _changed(self, sentence: str) -> None:
        """Updates the page when the job has started or ended; the feed does not wait for it."""
        job = self.jobs.job
        if job is not None and job.state is JobState.COMPLETED:
            threading.Thread(target=self._take, args=(job,), name="easel-fix", daemon=True).start()
        else:
            self.session.show_soon(sentence)

    def _take(self, job: Job) -> None:
        """Sets the path of the new file, unless the user has changed the setting, or the model, in the meantime."""
        made = next(iter((job.result or {}).get("outputs", ())), "")
        with self.session.lock:
            fix = self.fix
            task = fix.task if fix else None
            if fix is not None and task is not None and not task.setting:
                self.session.show_soon("The files are there.")
                return
            self.fix = None
            if fix is None or task is None or not made:
                return
            if self._basis_of(task.setting) != self.before:
                self.session.show_soon(f"The file is at {made}.")
                return
            self.session.change({**fix.changes, **native.with_file(self.session.bench, task.setting, made)})
        self.session.show_soon("The file is used now.")

    def _basis_of(self, path: str) -> tuple[object, object]:
        """What a fix of a setting is for: its value, and the model. A file for one model is wrong for another."""
        return self._value_of(path), self.session.values.get("model.path")

    def _value_of(self, path: str) -> object:
        """The value of a setting of the plan or of an engine."""
        if not path.startswith("native."):
            return self.session.values.get(path)
        _, engine, option = path.split(".", 2)
        return native.native_of(self.session.bench.state, engine).get(option)
