"""Resume and extend in Watch: what will happen is shown first, and starts when the user agrees."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from trainer_ui.boundary import attempt
from trainer_ui.panels.run_content import rows_of

if TYPE_CHECKING:
    from trainer_core.training.resume import Proposal
    from trainer_core.training.run import Run
    from trainer_ui.session import Session

MOST_ADDED = 1_000_000


class Continuing:
    """The continuation of a run that is proposed, and waits for the user's agreement."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.proposal: Proposal | None = None
        self._busy = ""
        self._added = 0

    def forget(self) -> None:
        """Proposes nothing any more."""
        self.proposal, self._busy, self._added = None, "", 0

    def content(self) -> dict[str, Any]:
        """What the bar shows of it."""
        found = self.proposal
        shown: dict[str, Any] = {"busy": self._busy}
        if self._added:
            shown["added"] = self._added
        if found is None:
            return shown
        from trainer_core.training import proposal

        told = {
            "id": "extend" if found.extends else "resume",
            "title": proposal.headline(found),
            "rows": rows_of(proposal.lines(found)),
            "needs_trust": bool(found.distrust),
        }
        return {**shown, "proposal": told}

    def propose(self, run: Run, added: int) -> None:
        """Reads the run in a thread, and then shows how it would continue, by `added` steps if that is not 0."""
        from trainer_core.training import resume

        added = min(MOST_ADDED, max(0, added))

        def propose() -> None:
            found = resume.propose(run, added=added)
            with self.session.lock:
                if self.session.run is run:
                    self.proposal, self._busy = found, ""
            self.session.show_soon()

        def failed(sentence: str) -> None:
            self._busy = ""
            self.session.show_soon(sentence)

        self.proposal, self._busy, self._added = None, "extend" if added else "resume", added
        threading.Thread(target=attempt, args=(propose, failed), name="easel-propose", daemon=True).start()

    def start(self, *, trusted: bool) -> None:
        """Starts what was proposed; `trusted`: the user trusts a state that Easel did not record."""
        from trainer_core import hardware, places
        from trainer_core.training import resume

        found = self.proposal
        if found is None:
            return
        self.forget()

        def make() -> Run:
            run = resume.start(found, trusted=trusted, machine=hardware.machine(places.home()))
            run.launch()
            return run

        self.session.jobs.start(make)
