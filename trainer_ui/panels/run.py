"""The live parts of the job that is shown (chart with figures, log), and the panel with which any app shows a job."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from trainer_core.jobs import tail
from trainer_core.jobs.state import FINAL_STATES
from trainer_core.text import printable
from trainer_core.training import standing
from trainer_core.training.verdict import verdict
from trainer_ui.boundary import attempt
from trainer_ui.components.log import LogPane
from trainer_ui.components.monitor import Monitor
from trainer_ui.components.run_bar import EndCard
from trainer_ui.panels.job_bar import JobBar
from trainer_ui.panels.run_content import rows_of
from trainer_ui.widgets import VBox

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trainer_ui.job_session import JobSession


class LiveParts:
    """Chart, figures and log of a job. `heard` is called after messages of the feed, in its thread and as often as it says."""

    def __init__(self, jobs: JobSession[Any]) -> None:
        self.jobs = jobs
        self.monitor = Monitor(jobs.feed.tell_all)
        self.log = LogPane(jobs.feed.tell_all, self._search)
        self.heard: Callable[[], None] = lambda: None
        jobs.feed.tell, jobs.feed.told = self._tell, self._told

    def _tell(self, message: Mapping[str, Any], buffers: list[bytes]) -> None:
        self.monitor.tell({name: part for name, part in message.items() if name != "log"}, buffers)
        told = {name: message[name] for name in ("kind", "run", "full", "log", "story") if name in message}
        if told.get("full") or told["story"] or told["log"]["lines"] or told["log"]["open"] != self._open:
            self._open = told["log"]["open"] if "log" in told else ""
            self.log.tell(told)

    def _told(self) -> None:
        self.heard()

    _open = ""
    """The incomplete last row of the log that the page has."""

    def _search(self, wanted: str) -> None:
        """Searches the whole log in a thread: it may have a million lines."""
        job = self.jobs.job
        if job is None or not wanted.strip():
            return

        def search() -> None:
            hits, total, more = tail.search(job.folder.log, wanted.strip(), host=job.host)
            rows = [{"number": number, "text": text} for number, text in hits]
            self.log.tell({"kind": "found", "text": wanted.strip(), "hits": rows, "total": total, "more": more})

        def failed(sentence: str) -> None:
            told = {"kind": "found", "text": wanted.strip(), "hits": [], "total": 0, "more": False}
            self.log.tell({**told, "error": printable(sentence, 300)})

        threading.Thread(target=attempt, args=(search, failed), name="easel-search", daemon=True).start()


class RunPanel:
    """A job of any kind: its bar with Stop, how it ended, its figures and its log. `called` is the word for it on the page."""

    def __init__(self, jobs: JobSession[Any], called: str = "job") -> None:
        self.jobs = jobs
        self.live = LiveParts(jobs)
        self.bar = JobBar(jobs, called)
        self.live.heard = self.bar.beat
        self.end = EndCard(lambda *_: None)
        self._shown: object = None
        parts = [self.bar.widget, self.end, self.live.monitor, self.live.log]
        self.widget = VBox(parts, classes=("easel-watch",))

    def show(self) -> None:
        """Shows the job."""
        self.bar.show()
        job = self.jobs.job
        shown = (job.folder.path, job.state) if job is not None else None
        if shown == self._shown:
            return
        self._shown = shown
        stands = standing.of(job) if job is not None else None
        if job is None or stands is None:
            self.end.content = {}
            return
        ended = verdict(job, is_for_page=True) if job.state in FINAL_STATES else []
        rows = rows_of([(row["label"], row["text"]) for row in ended])
        # The card says these itself.
        told = [row for row in rows if row[0] not in ("What happened", "The log says", "What to do")]
        self.end.content = {**stands.as_dict(), "run": job.name, "rows": told}
