"""A box for a command or a configuration of an engine: what becomes of each option is shown before anything is applied."""

from __future__ import annotations

import copy
from html import escape
from typing import TYPE_CHECKING

from trainer_core.text import printable
from trainer_ui.controls import value_text
from trainer_ui.explaining import helped
from trainer_ui.formatting import Paragraph, show
from trainer_ui.panels.card import row
from trainer_ui.widgets import HTML, Button, Textarea, VBox

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trainer_core.engines.pasted import Item
    from trainer_core.prepare.pasting import Offer
    from trainer_core.prepare.state import State
    from trainer_ui.session import Session

HELP = "A training command with its options, or the text of a TOML file, or the JSON file that a program with a form for the engine saved. Nothing of it is run, and nothing changes before you have seen the list."
MOST_CHARACTERS = 160
"""Of a value or a reason, in the list."""


class PasteCommand:
    """The box, what was understood of the text, and the buttons that take it over, leave it, or undo it."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.offer: Offer | None = None
        self.before: State | None = None
        """The job before a text was taken over."""
        handler = session.handler
        self.text = Textarea(
            description="Command or configuration",
            placeholder="accelerate launch sdxl_train_network.py --network_dim=16 …",
            rows=6,
            continuous_update=False,
        )
        self.text.observe(handler(lambda _: self._forget()), "value")
        self.look = Button(description="Show what it would set", classes=("easel-small",))
        self.look.on_click(handler(lambda _: self._look()))
        self.told = Paragraph("", "small", role="status")
        self.list = HTML(classes=("easel-beside", "easel-pasted"))
        self.accept = Button(description="Take it over", classes=("easel-small",))
        self.accept.on_click(handler(lambda _: self._accept()))
        self.leave = Button(description="Leave it", classes=("easel-small", "easel-quiet"))
        self.leave.on_click(handler(lambda _: self._leave()))
        self.undo = Button(description="Undo: the settings from before", classes=("easel-small",))
        self.undo.on_click(handler(lambda _: self._undo()))
        self.decide = row(self.accept, self.leave)
        self.again = row(self.undo)
        self.widget = VBox(
            [helped(self.text, HELP), row(self.look), self.told, self.list, self.decide, self.again],
            classes=("easel-part",),
        )
        show(self.list, False)
        show(self.decide, False)
        show(self.again, False)
        session.forgetting.append(self._start_afresh)

    def _look(self) -> None:
        from trainer_core.prepare import pasting

        self.offer = None
        self.told.show_text("")
        self.offer = pasting.look(self.session.bench, self.text.value)

    def _forget(self) -> None:
        self.offer = None
        self.told.show_text("")

    def _start_afresh(self) -> None:
        """Drops the text and the way back: the form that they belong to is gone."""
        self.text.value, self.before = "", None
        self._forget()

    def _leave(self) -> None:
        self._forget()
        self.look.focus()

    def _accept(self) -> None:
        from trainer_core.prepare import pasting

        offer = self.offer
        assert offer is not None  # the button is shown only then
        # A workbench only ever replaces its state, so that nothing is half applied.
        bench = copy.copy(self.session.bench)
        pasting.take(bench, offer)
        self.before, self.offer = self.session.bench.state, None
        self.session.bench.state = bench.state
        self.told.show_text(f"{offer.sentence} {offer.title} is chosen as the engine.")
        self.session.note(f"{offer.sentence} “Undo” below the command restores the settings from before.")
        show(self.again, True)
        self.undo.focus()

    def _undo(self) -> None:
        if self.before is not None:
            self.session.bench.state, self.before = self.before, None
            self.told.show_text("The settings from before are here again.")
        self.look.focus()

    def show(self) -> None:
        """Shows what was understood, if it was not decided yet."""
        offer = self.offer
        show(self.decide, offer is not None)
        show(self.list, offer is not None)
        show(self.again, self.before is not None)
        if offer is not None:
            self.told.show_text(offer.sentence)
            self.list.value = _table(offer)


def _table(offer: Offer) -> str:
    """The options below their headings. Every text is from outside, so it is shown as text."""
    head = "".join(f'<th scope="col">{title}</th>' for title in ("Option", "In the text", "Becomes"))
    body = "".join(
        f'<tr class="easel-pasted-head"><th scope="rowgroup" colspan="3">{escape(heading)} ({len(items)})</th></tr>{_rows(items)}'
        for heading, items in offer.grouped().items()
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _rows(items: Iterable[Item]) -> str:
    return "".join(
        f'<tr class="{"easel-differs" if one.kind == "refused" else "easel-same"}"><th scope="row">{_safe(one.option)}</th>'
        f"<td>{_safe(one.shown)}</td><td>{_safe(_becomes(one))}</td></tr>"
        for one in items
    )


def _becomes(one: Item) -> str:
    from trainer_core.plan import fields

    if one.kind in ("refused", "same"):
        return one.reason
    field = fields.all_fields().get(one.path)
    told = f"{field.title}: {value_text(one.path, one.value)}" if field else one.path
    return f"{told} ({one.reason})" if one.reason else told


def _safe(text: str) -> str:
    return escape(printable(text, MOST_CHARACTERS))
