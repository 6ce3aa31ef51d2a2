"""The table of engines: a row for each, and below it why it would not train the job. In a narrow page each row is a block."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from trainer_core.prepare.engine_rows import HEADINGS
from trainer_core.text import printable
from trainer_ui.widgets import HTML

if TYPE_CHECKING:
    from trainer_core.prepare.engine_rows import EngineRow, EngineTable

LONGEST = 400
TONES = {
    "at hand": "ok",
    "fits": "ok",
    "tight": "warn",
    "to fetch": "warn",
    "missing": "danger",
    "does not fit": "danger",
}
"""The tone of a rating, which is the first word of its cell; others have none."""
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
    heads = "".join(f'<th scope="col" role="columnheader">{_text(each)}</th>' for each in HEADINGS)
    body = "".join(_row(row, row.standing.id == found.proposed) for row in found.rows)
    # The roles stay where a narrow page shows the cells as blocks.
    head = f'<thead role="rowgroup"><tr role="row">{heads}</tr></thead>'
    return f'<table class="easel-text" role="table" aria-label="{LABEL}">{head}<tbody role="rowgroup">{body}</tbody></table>'


def _row(row: EngineRow, is_proposed: bool) -> str:
    title, *texts = row.cells
    marks = [mark for mark, is_so in (("trains this", row.is_chosen), ("proposed", is_proposed)) if is_so]
    marked = "".join(f"<small>{mark}</small>" for mark in marks)
    name = f'<th scope="row" role="rowheader">{_text(title)}{marked}</th>'
    why = f"<p>{_text(row.why_not)}</p>" if row.why_not else ""
    chosen = ' class="easel-engines-chosen"' if row.is_chosen else ""
    if not row.standing.trains:
        return f'<tr role="row"{chosen}>{name}<td role="cell" colspan="{len(texts)}">{why}</td></tr>'
    ratings = ("", row.standing.files, row.standing.memory)
    tones = [TONES.get(rating, "") for rating in ratings] + [""] * len(texts)
    titles = {"Features lost": "; ".join(f"{one.title} {one.value}: {one.why}" for one in row.lost)}
    cells = "".join(
        f'<td role="cell" data-name="{_text(head)}"{_titled(titles.get(head, ""))}{_toned(tone)}>{_text(text)}</td>'
        for head, text, tone in zip(HEADINGS[1:], texts, tones[1:], strict=False)
    )
    below = f'<tr role="row" class="easel-engines-why"><td role="cell" colspan="{len(HEADINGS)}">{why}</td></tr>'
    return f'<tr role="row"{chosen}>{name}{cells}</tr>{below if why else ""}'


def _titled(text: str) -> str:
    return f' title="{_text(text)}"' if text else ""


def _toned(tone: str) -> str:
    return f' class="easel-{tone}"' if tone else ""


def _text(text: str) -> str:
    return escape(printable(text, LONGEST))
