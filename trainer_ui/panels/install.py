"""The installation of the engine that a job needs, as a job of its own: a button, its progress, and Stop."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trainer_core.engines import registry, trainable
from trainer_core.install import choice, offer
from trainer_core.install import job as installation
from trainer_core.install.installed import installed
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_ui import pasts
from trainer_ui.boundary import attempt
from trainer_ui.formatting import Labelled, Paragraph, show
from trainer_ui.job_session import JobSession
from trainer_ui.panels.card import fold
from trainer_ui.panels.engine import use_engine
from trainer_ui.widgets import Box, Button, VBox

if TYPE_CHECKING:
    from trainer_core.jobs.job import Job
    from trainer_ui.session import Session

SHOWN_ROWS = 6
TRYING = installation.PHASES[-1][1]
"""The phase in which the engine is installed already: what follows is known of it, and not needed by it."""
FAILED = (JobState.FAILED, JobState.LOST)
_FINAL_NAMES = frozenset(state.name for state in FINAL_STATES)


class InstallPanel:
    """The button that installs a missing engine, and the installation that is in progress.

    All widgets are made at the start, and the threads only fill them (see `Views.unasked`).
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.jobs: JobSession[Job] = JobSession(session)
        self.jobs.feed.tell, self.jobs.feed.changed = self._tell, self._changed
        self.start = Button()
        self.is_offered = False
        """Whether the engine that the job needs is missing, and is not being installed."""
        self.is_installing = False
        """Whether that engine is being installed."""
        self.is_main = False
        """Whether the offered installation is what to do next: a model is chosen, and this engine can train it."""
        self.start.on_click(session.handler(lambda _: self._install()))
        self.stop = Button(description="Stop the installation", classes=("easel-stop",))
        self.stop.on_click(session.handler(lambda _: self.jobs.stop()))
        self.offer = Labelled("", "")
        """Beside the button: that the engine is missing, and what its installation takes."""
        self.other = Button()
        """Uses another engine that trains the model too, after an installation that has failed."""
        self.other.on_click(session.handler(lambda _: self._use_other()))
        self.offered = Box([self.offer, self.other, self.start], classes=("easel-message", "easel-engine-offer"))
        self.says, self.log = Paragraph("", "grow"), Paragraph("", "muted", "small", "lines")
        row = Box([self.says, self.stop], classes=("easel-row",))
        self.widget = VBox([row, fold(session, "Log", lambda: [self.log])], classes=("easel-install",))
        self._offered = ("", "", "")
        self._ready = ""
        self._other = ""
        self._phase = ""
        self.jobs.feed.beat = self._beat

    def look(self) -> None:
        """Finds the installation that is in progress, or that failed: the kernel may have been restarted."""
        found = next((job for job in installation.known() if job.is_live), None)
        last = next(installation.known(missing), None) if (missing := self._missing()) else None
        if found is None and last is not None and last.state in FAILED:
            found = last
        if found is not None:
            self.jobs.follow(found)
            self.show()

    def show(self) -> None:
        """Offers the installation of the engine that the job needs, or shows the one that is in progress."""
        missing = self._missing()
        job, live = self.jobs.job, self.jobs.is_live
        self.is_installing = bool(missing) and live
        self.is_offered = bool(missing) and not live
        title = _title(missing) if missing else ""
        head, why = self._words(title)
        self.is_main = self.is_offered and self._can_train()
        if self.is_offered and self._offered != (missing, head, why):
            self._offered = missing, head, why
            self.start.description = f"Install {title}"
            self.offer.show_text(head, why, _takes(missing))
        if job is not None and not live and missing != installation.engine_of(job):
            # The result of the installation is shown for as long as the engine is missing.
            self.says.show_text("")
            self.log.show_text("")
        for one in (self.offered, self.offer, self.start):
            show(one, self.is_offered)
        # Not disabled meanwhile: a button that is disabled loses the keyboard.
        (self.start.add_class if self.jobs.starting else self.start.remove_class)("easel-busy")
        has_failed = job is not None and self.jobs.state in FAILED and missing == installation.engine_of(job)
        self._other = self._instead_of(missing) if has_failed else ""
        self.other.description = f"Use {_title(self._other)} instead" if self._other else ""
        show(self.other, bool(self._other))
        show(self.stop, live)
        self.stop.description = "Stop the trials" if live and not missing else "Stop the installation"
        self.stop.disabled = self.jobs.state is JobState.STOPPING
        show(self.widget, live or (bool(missing) and job is not None and missing == installation.engine_of(job)))

    def close(self) -> None:
        """Ends the feed; the installation continues."""
        self.jobs.close()

    def _words(self, title: str) -> tuple[str, str]:
        """That the engine is missing, and what it is for."""
        if self.session.backend is None:
            why = f"Choose the base model first: it decides which engine you need. {title} is the usual one."
            return "No training engine is installed yet.", why
        if not self.session.bench.state.family:
            return (
                f"{title} is not installed.",
                "You have chosen it. Whether it trains your model is known once you choose one.",
            )
        if not self._can_train():
            return f"{title} is not installed.", "It cannot train this model as it is: see below."
        return f"{title} is not installed.", f"{title} is what trains your model."

    def _can_train(self) -> bool:
        """Whether a model is chosen that the engine of the job can train."""
        state, backend = self.session.bench.state, self.session.backend
        if not state.family or backend is None:
            return False
        draft, found = state.draft, state.facts.detection
        status = state.facts.engine(backend.manifest.id)
        model = draft.text("model.method"), found, draft.text("model.variant")
        if choice.standing(backend.manifest, state.family, status, *model).blocks:
            return False
        return not any(one.fix is not None and one.fix.engine for one in self.session.problems)

    def _missing(self) -> str:
        """The engine that the job needs; before a model is known the usual one, if there is none at all."""
        backend = self.session.backend
        if backend is None:
            known = sorted((one.manifest for one in registry.available()), key=lambda one: (one.rank, one.id))
            none = known and all(one.needs_installation and installed(one.id) is None for one in known)
            return known[0].id if none else ""
        if not backend.manifest.needs_installation:
            return ""
        return "" if installed(backend.manifest.id) else backend.manifest.id

    def _instead_of(self, engine: str) -> str:
        """Another engine that trains the model by the same method, or any before a model is known; "" if there is none."""
        found, method = self.session.bench.state.facts.detection, str(self.session.values["model.method"])
        others = [one.manifest for one in registry.available() if one.manifest.id != engine]
        if found is not None and found.family:
            able = [one for one in others if not trainable.why_not(found, one)]
            others = [one for one in able if method in one.families[found.family].methods]
        return next((one.id for one in sorted(others, key=lambda one: (one.rank, one.id))), "")

    def _use_other(self) -> None:
        if self._other:
            use_engine(self.session, self._other)
        self.start.focus()

    def _beat(self) -> None:
        """Shows how long the installation has taken so far."""
        job = self.jobs.job
        if self._phase and job is not None and self.jobs.is_live and (took := pasts.seconds(job)) is not None:
            self.says.show_text(
                f"Installing {_title(installation.engine_of(job))}: {self._phase}, {pasts.clock(took)} so far"
            )

    def _install(self) -> None:
        if missing := self._missing():
            self.jobs.start(lambda: installation.start(missing)[0])

    def _tell(self, message: Mapping[str, Any], _: list[bytes]) -> None:
        """Shows what is new; called by the thread of the feed."""
        job = self.jobs.job
        if job is None or message["run"] != job.name:
            return
        self._phase = ""
        status, title = message["status"], _title(installation.engine_of(job))
        rows = {row["label"]: row["text"] for row in status["verdict"]}
        if status["state"] == JobState.COMPLETED.name:
            self.says.show_text(f"{title} is installed.", "ok")
        elif status["state"] == JobState.CANCELLED.name and (became := _became(job)):
            self.says.show_text(became, "ok")
        elif status["state"] == JobState.CANCELLED.name:
            self.says.show_text(f"The installation of {title} was stopped.", "warn")
        elif status["state"] in _FINAL_NAMES:
            why = " ".join(text for name in ("What happened", "What to do") if (text := rows.get(name)))
            self.says.show_text(f"{title} was not installed. {why}", "danger")
        elif status["phase"] == TRYING:
            self.says.show_text(
                f"{title} is installed. Easel now tries which optimizers work here. You can start a training meanwhile.",
                "ok",
            )
            if self._ready != job.name:
                self._ready = job.name
                threading.Thread(target=self._take_engine, args=(job,), name="easel-engine", daemon=True).start()
        else:
            self._phase = str(status["phase"])
            self.says.show_text(f"Installing {title}: {self._phase}", "")
            self._beat()
        watch = self.jobs.watch
        self.log.show_text("\n".join(watch.log.rows[-SHOWN_ROWS:]) if watch is not None else "")

    def _changed(self, sentence: str) -> None:
        """Updates the page when the installation has started or ended; the feed does not wait for it."""
        job = self.jobs.job
        if job is not None and job.state in FINAL_STATES:
            threading.Thread(target=self._take_engine, args=(job,), name="easel-engine", daemon=True).start()
        else:
            self.session.show_soon(sentence)

    def _take_engine(self, job: Job) -> None:
        """Reads the installed engines again, so that the job can use the new one."""
        with self.session.lock:
            registry.refresh()
            attempt(self.session.bench.look, self.session.note)
        # The panel is not shown any more when nothing is missing, so the message of the app says what became of it.
        self.session.show_soon(_became(job))


def _became(job: Job) -> str:
    """That the engine is installed, and whether its trials were stopped; "" if it is not."""
    engine = installation.engine_of(job)
    if installed(engine) is None:
        return ""
    rest = " Not every optimizer was tried." if job.state is JobState.CANCELLED else ""
    return f"{_title(engine)} is installed.{rest}"


def _takes(engine: str) -> str:
    """What the installation of an engine takes."""
    found = next((one.manifest for one in registry.available(include_hidden=True) if one.manifest.id == engine), None)
    return offer.takes(found)[0] if found is not None else ""


def _title(engine: str) -> str:
    """The title of an engine."""
    found = {backend.manifest.id: backend.manifest.title for backend in registry.available(include_hidden=True)}
    return found.get(engine, engine)
