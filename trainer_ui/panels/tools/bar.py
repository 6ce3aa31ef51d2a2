"""The bar of a tool: what it would make now, or why it cannot, and the button that starts it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.hardware import free_disk_bytes
from trainer_core.text import printable
from trainer_ui.formatting import Figures, Headline
from trainer_ui.pasts import span
from trainer_ui.widgets import Box, Button

if TYPE_CHECKING:
    from trainer_core.tools.outlook import Outlook
    from trainer_ui.tool_session import ToolSession, Utility


class ToolBar:
    """State, figures and the start of one tool."""

    def __init__(self, session: ToolSession, utility: Utility) -> None:
        self.session, self.utility = session, utility
        self.headline, self.figures = Headline(), Figures()
        self.start = Button(description=utility.verb, button_style="primary", classes=("easel-start",))
        self.start.on_click(session.handler(lambda _: session.start(utility.id)))
        self.widget = Box([self.headline, self.figures, self.start], classes=("easel-ready", "easel-tool-bar"))

    def show(self) -> None:
        """Shows what would be made."""
        session, desk = self.session, self.session.desks[self.utility.id]
        is_busy = session.jobs.starting or session.jobs.is_live
        outlook = desk.outlook
        self.figures.show_figures(_figures(outlook) if outlook is not None else ())
        refusal = session.refusal(self.utility.id)
        is_ready = desk.asked and desk.error is None and (outlook is not None or not self.utility.makes) and not refusal
        wanted = is_busy or desk.is_looking or not is_ready
        if self.start.disabled != wanted:
            self.start.disabled = wanted
        if session.jobs.is_live:
            self.headline.show_state("accent", "…", self.utility.title, "A job is in progress: see Job.")
        elif refusal:
            self.headline.show_state("warn", "!", "This cannot start yet", refusal)
        elif desk.is_looking:
            self.headline.show_state("accent", "…", self.utility.title, "Reading the headers of the files.")
        elif is_ready:
            makes = _made(outlook) if outlook is not None else "Nothing is written."
            if desk.doubt:
                self.headline.show_state("warn", "!", "Ready, but look first", f"{desk.doubt} {makes}")
            else:
                self.headline.show_state("ok", "✓", "Ready", makes)
        elif desk.asked and desk.error is not None:
            worded = self.utility.worded
            why = f"{worded(desk.error.message)} {worded(desk.error.hint)}".strip()
            self.headline.show_state("warn", "!", "This cannot start yet", why)
        else:
            self.headline.show_state("", "1", self.utility.title, "Choose the files below.")


def _made(outlook: Outlook) -> str:
    return f"Makes {printable(outlook.target.name, 120)} in {printable(str(outlook.target.parent), 200)}"


def _figures(outlook: Outlook) -> list[tuple[str, str, str]]:
    folder = next((each for each in outlook.target.parents if each.is_dir()), None)
    free = f"of {_size(free_disk_bytes(folder))} free" if folder is not None else ""
    computed = f"of {outlook.tensors:,} tensors" if outlook.changed < outlook.tensors else "tensors"
    return [
        ("File", f"{'up to ' if outlook.is_most else ''}{_size(outlook.size_bytes)}", free),
        ("Computed", f"{outlook.changed:,}", computed),
        ("Memory", _size(outlook.memory_bytes), ""),
        ("Time", f"about {span(outlook.seconds)}" if outlook.seconds is not None else "", ""),
    ]


def _size(number: float) -> str:
    return f"{number / 1e9:.2f} GB" if number >= 1e9 else f"{number / 1e6:,.{0 if number >= 1e7 else 1}f} MB"
