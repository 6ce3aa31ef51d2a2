"""The card of a run that does not train: what happened, what to do, and what is left of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.training import standing
from trainer_core.training.verdict import verdict
from trainer_ui.boundary import attempt
from trainer_ui.components.run_bar import EndCard
from trainer_ui.panels.run_content import rows_of

if TYPE_CHECKING:
    from trainer_core.prepare.mending import Mended
    from trainer_core.training.run import Run
    from trainer_ui.session import Session

FAILED = (JobState.FAILED, JobState.LOST)
LOOKING = "Looking for changes that may help, and trying each of them on the settings…"


class EndPanel:
    """The card of the run that is shown, while that run does not train.

    What needs reading and trying (the cause in the log, the changes that may help) is found in a thread, once for each run.
    """

    def __init__(self, session: Session, go: Callable[[str], object]) -> None:
        self.session, self.go = session, go
        self.card = EndCard(self._act)
        self.widget = self.card
        self.fixes: list[Mended] = []
        self._shown: tuple[Any, ...] = ()
        self._found: dict[str, Any] = {}
        self._act_on = session.handler(self._do)

    def show(self) -> None:
        """Shows how the run stands; nothing for one that trains."""
        run = self.session.run
        state = run.state if run is not None else None
        key = (run.folder.path, state) if run is not None else ()
        if key != self._shown or state is JobState.QUEUED:
            if key != self._shown:
                self._found, self.fixes = {}, []
            self._shown = key
            if run is not None and state in FAILED:
                self._found = {"looking": LOOKING}
                self._begin(lambda: self._look(run, key))
            self._fill()

    def _fill(self) -> None:
        run = self.session.run
        stands = standing.of(run) if run is not None else None
        if run is None or stands is None:
            self.card.content = {}
            return
        told = {**stands.as_dict(), "run": run.name, **self._found}
        if run.state in FINAL_STATES:
            told |= {"rows": self._rows(run), "kept": self._kept(run), "actions": self._actions(run)}
        self.card.content = told

    def _rows(self, run: Run) -> list[list[str]]:
        """Where the files of a finished run are."""
        if run.state is not JobState.COMPLETED:
            return []
        rows = [(row["label"], row["text"]) for row in verdict(run, is_for_page=True)]
        notices = [("Note", str(text)) for text in (run.result or {}).get("notices", [])]
        return rows_of([*rows, *notices])

    def _kept(self, run: Run) -> dict[str, str]:
        """What is left of a run that did not finish."""
        if run.state is JobState.COMPLETED:
            return {}
        found = standing.kept(run)
        if not found.is_usable:
            return {"text": found.sentence} if found.sentence else {}
        size = f"{found.size_bytes / 1e6:,.0f} MB" if found.size_bytes >= 1e6 else f"{found.size_bytes / 1e3:,.0f} kB"
        return {"text": f"The newest good checkpoint: step {found.step:,}, {size}.", "button": "See it in Results"}

    def _actions(self, run: Run) -> list[dict[str, str]]:
        if run.state not in FAILED:
            return []
        again = {"id": "retry", "title": "Start again", "brief": "a new run, unchanged"}
        edit = {"id": "edit", "title": "Change the settings", "brief": "opens them in Prepare"}
        report = {"id": "report", "title": "Save a report", "brief": "a zip without private data"}
        if self.fixes:
            mend = {"id": "mend", "title": "Start again with this change", "brief": "a new run; this one stays"}
            return [{**mend, "look": "primary"}, again, edit, report]
        if "fixes" not in self._found:
            return [edit, again, report]
        # The settings of a run whose processes were lost may be right; what has failed fails again without a change.
        if run.state is JobState.LOST:
            return [{**again, "look": "primary"}, edit, report]
        return [{**edit, "look": "primary"}, again, report]

    def _look(self, run: Run, key: tuple[Any, ...]) -> None:
        """Finds the cause and the changes that may help; runs in a thread."""
        from trainer_core.prepare import mending

        explained = standing.explained(run)
        fixes: list[Mended] = []
        said: list[str] = []
        attempt(lambda: fixes.extend(mending.fixes_for(run)), said.append)
        rows = [
            {"number": number, "title": fix.title, "changes": mending.changes_of(run, fix), "note": _lowers(fix)}
            for number, fix in enumerate(fixes, 1)
        ]
        found: dict[str, Any] = explained.as_dict() if explained is not None else {}
        if said:
            found["looking"] = f"No change can be offered: {said[0]}"
        with self.session.lock:
            if key == self._shown:
                self.fixes, self._found = fixes, {**found, "fixes": rows}
                self._fill()

    def _act(self, action: str, told: Mapping[str, Any]) -> None:
        self._act_on((action, told.get("number")))

    def _do(self, asked: tuple[str, object]) -> None:
        action, number = asked
        run = self.session.run
        if run is None:
            return
        from trainer_core.remote.runs import starting

        fix = self.fixes[number - 1] if isinstance(number, int) and 0 < number <= len(self.fixes) else None
        if action == "results":
            self.go("results")
        elif action == "edit":
            self.session.begin_from(run)
            self.go("prepare")
        elif action == "report":
            self._report(run)
        elif action == "retry" or (action == "mend" and fix is not None):
            self.session.jobs.start(lambda: starting.again(run, fix if action == "mend" else None))

    def _report(self, run: Run) -> None:
        """Writes the report in a thread: it reads the log and the captions."""
        from trainer_core.training import bundle

        def write() -> None:
            path = bundle.save_report(run, run.diagnosis)
            self.session.show_soon(f"The report is {path}. Read it before you share it.")

        self._begin(write)

    def _begin(self, work: Callable[[], object]) -> None:
        """Does something in a thread; an error becomes the message."""
        threading.Thread(target=attempt, args=(work, self.session.show_soon), name="easel-ended", daemon=True).start()


def _lowers(fix: Mended) -> str:
    return {"ram": "needs less memory", "vram": "needs less GPU memory"}.get(fix.lowers, "")
