"""What the doctor finds on this machine: which engines can train, what prevents it, and what to do."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from trainer_ui.boundary import attempt
from trainer_ui.formatting import Findings, Paragraph
from trainer_ui.panels.card import Step, row
from trainer_ui.widgets import Button, Widget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer_core.doctor.finding import Finding, State
    from trainer_ui.session import Session

TONES: dict[State, str] = {"problem": "danger", "notice": "warn", "unknown": "muted", "good": ""}
UNCHECKED = "open it to check what works here"
CHECKING = "Checking. Each engine computes something on the device, which takes up to a few minutes the first time."


class MachinePanel:
    """The step of the machine. It is checked in a thread when it is first opened, and when the user asks for it."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.step = Step(session, "Machine", self._content)
        self.widget = self.step.widget
        self.found: Sequence[Finding] = ()
        """What was found; nothing before the first check."""
        self._thread: threading.Thread | None = None
        self._said: Paragraph | None = None
        self._list: Findings | None = None
        self.again = Button(description="Check again", classes=("easel-small",))
        self.again.on_click(session.handler(lambda _: self.look(again=True)))

    def look(self, *, again: bool = False) -> None:
        """Checks in a thread, unless that is being done; with `again` what was tried before is tried anew."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._look, args=(again,), name="easel-doctor", daemon=True)
            self._thread.start()

    def _look(self, again: bool) -> None:
        from trainer_core.doctor.case import Case
        from trainer_core.doctor.examination import examine

        def check() -> None:
            self.found = examine(Case(again=again))

        attempt(check, self.session.note)
        self._thread = None
        self.session.show_soon()

    def _content(self) -> list[Widget]:
        self._said = Paragraph("", "small", "grow", role="status")
        self._list = Findings()
        self.look()
        return [row(self._said, self.again), self._list]

    def show(self) -> None:
        """Shows the conclusion in one line, and all findings once it was opened."""
        is_checking = self._thread is not None
        first = self.found[0] if self.found else None
        state = {"problem": "bad", "notice": "warn"}.get(first.state, "done") if first is not None else "open"
        self.step.show(state, "checking" if is_checking else first.found if first is not None else UNCHECKED)
        self.again.disabled = is_checking
        if self._said is None or self._list is None:
            return
        fix = f"{first.found} {_to_do(first)}" if first is not None and first.fix else ""
        self._said.show_text(CHECKING if is_checking else fix)
        if is_checking or not self.found:
            # What was found before would look as if it had been checked now.
            self._list.show_groups(())
            return
        from trainer_core.doctor.report import HEADINGS

        self._list.show_groups(
            (HEADINGS[of_state], tone, [_row(each) for each in self.found[1:] if each.state == of_state])
            for of_state, tone in TONES.items()
        )


def _row(finding: Finding) -> tuple[str, str, tuple[str, ...]]:
    """A finding as its name, its text, and what it means and what to do; of one in order the text is enough."""
    if finding.state == "good":
        return finding.title, finding.found, ()
    return finding.title, finding.found, (finding.means, _to_do(finding))


def _to_do(finding: Finding) -> str:
    return f"What to do: {finding.fix}" if finding.fix else ""
