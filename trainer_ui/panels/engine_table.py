"""The table of engines: a row for each, and below it why it would not train the job. In a narrow page each row is a block."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from trainer_core.text import printable
from trainer_ui.widgets import HTML

if TYPE_CHECKING:
    from trainer_core.prepare.engine_rows import EngineRow, EngineTable

LONGEST = 400
TONES = {
    "at hand": "good",
    "fits": "good",
    "tight": "unsure",
    "to fetch": "unsure",
    "to rename": "unsure",
    "missing": "bad",
    "does not fit": "bad",
}
"""The tone of a rating at the beginning of a cell; others have none."""
LABEL = "Which program would train this"


class EngineRows(HTML):
    """The rows as an HTML table of escaped text."""

    def __init__(self) -> None:
        super().__init__(classes=("easel-engines",))

    def show_table(self, found: EngineTable | None) -> None:
        """Shows a table; nothing for None."""
        markup = _markup(found) if found is not None else ""
        if self.value != markup:
            self.value = markup


def _markup(found: EngineTable) -> str:
    heads = "".join(f'<th scope="col" role="columnheader">{_text(each)}</th>' for each in found.headings)
    body = "".join(_row(row, found) for row in found.rows)
    # The roles stay where a narrow page shows the cells as blocks.
    head = f'<thead role="rowgroup"><tr role="row">{heads}</tr></thead>'
    return f'<table class="easel-text" role="table" aria-label="{LABEL}">{head}<tbody role="rowgroup">{body}</tbody></table>'


def _row(row: EngineRow, found: EngineTable) -> str:
    title, *texts = row.cells
    is_proposed = row.standing.id == found.proposed
    trains = "trains this" if row.standing.trains else "chosen"
    marks = [mark for mark, is_so in ((trains, row.is_chosen), ("proposed", is_proposed)) if is_so]
    marked = "".join(f"<small>{mark}</small>" for mark in marks)
    name = f'<th scope="row" role="rowheader">{_text(title)}{marked}</th>'
    chosen = ' class="easel-engines-chosen"' if row.is_chosen else ""
    below = "".join(f"<p>{_text(sentence)}</p>" for sentence in row.reasons)
    if not row.standing.trains:
        return f'<tr role="row"{chosen}>{name}<td role="cell" colspan="{len(texts)}">{below}</td></tr>'
    cells = "".join(
        f'<td role="cell" data-name="{_text(head)}"><span>{_rated(text)}</span></td>'
        for head, text in zip(found.headings[1:], texts, strict=True)
    )
    why = f'<tr role="row" class="easel-engines-why"><td role="cell" colspan="{len(row.cells)}">{below}</td></tr>'
    return f'<tr role="row"{chosen}>{name}{cells}</tr>{why if below else ""}'


def _rated(text: str) -> str:
    """The text of a cell; a rating at its beginning is bold, in its tone."""
    head, colon, rest = text.partition(":")
    tone = TONES.get(head, "") if colon else ""
    return f'<b class="easel-engines-{tone}">{_text(head)}</b>:{_text(rest)}' if tone else _text(text)


def _text(text: str) -> str:
    return escape(printable(text, LONGEST))
