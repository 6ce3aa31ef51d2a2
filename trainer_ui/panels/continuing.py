"""Resume and extend in Watch: what will happen is shown first, and starts when the user agrees."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from trainer_ui.boundary import attempt
from trainer_ui.panels.run_content import rows_of

if TYPE_CHECKING:
    from collections.abc import Callable

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

        def take(found: Proposal | None, refused: str) -> str:
            if found is None or self.session.run is run:
                self.proposal, self._busy = found, ""
            return refused

        self.proposal, self._busy, self._added = None, "extend" if added else "resume", added
        read_proposal(self.session, lambda: resume.propose(run, added=added), take)

    def start(self, *, trusted: bool) -> None:
        """Starts what was proposed; `trusted`: the user trusts a state that Easel did not record."""
        found = self.proposal
        if found is not None:
            self.forget()
            start_proposal(self.session, found, trusted=trusted)


def read_proposal(session: Session, ask: Callable[[], Proposal], take: Callable[[Proposal | None, str], str]) -> None:
    """Asks in a thread how a run would continue: its state may be large.

    `take` gets the answer, or None and the reason why it cannot continue, and returns the sentence that is shown, or "".
    """

    def look() -> None:
        found: list[Proposal] = []
        refused: list[str] = []
        attempt(lambda: found.append(ask()), refused.append)
        with session.lock:
            said = take(next(iter(found), None), "".join(refused))
        session.show_soon(said)

    threading.Thread(target=look, name="easel-propose", daemon=True).start()


def start_proposal(session: Session, found: Proposal, *, trusted: bool) -> bool:
    """Starts the run that continues another one as proposed; whether that is possible now."""
    from trainer_core import hardware, places
    from trainer_core.training import resume

    def make() -> Run:
        run = resume.start(found, trusted=trusted, machine=hardware.machine(places.home()))
        run.launch()
        return run

    return session.jobs.start(make)
