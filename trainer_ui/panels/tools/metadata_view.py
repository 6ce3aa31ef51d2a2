"""What the metadata of a file says now, and what an edit would change of it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from trainer_core.jobs.state import JobState
from trainer_core.text import amount, printable
from trainer_ui.formatting import Paragraph, show
from trainer_ui.widgets import HTML, VBox

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trainer_core.tools.metadata_edits import Change
    from trainer_ui.tool_session import ToolSession, Utility

LONGEST = 160
"""So many characters of a value are shown."""
MOST = 200
"""So many keys are listed."""
NOTHING = "Nothing yet. Fill in a field, and this shows the old and the new value of each key."


class MetadataView:
    """Two lists: the keys that would change, and all keys of the file as they are."""

    def __init__(self, session: ToolSession, utility: Utility) -> None:
        self.session, self.utility = session, utility
        self.nothing = Paragraph(NOTHING, "muted", "small")
        self.changes, self.all = HTML(classes=("easel-tool-keys",)), HTML(classes=("easel-tool-keys",))
        self.changing, self.counted = Paragraph("", "heading"), Paragraph("", "heading")
        self.none = Paragraph("The file has no metadata.", "muted", "small")
        self.edit = VBox([self.changing, self.nothing, self.changes], classes=("easel-card",))
        self.file = VBox([self.counted, self.none, self.all], classes=("easel-card",))
        self.widget = VBox([self.edit, self.file], classes=("easel-tool-form",))
        self._ended: object = None
        self._shown: object = None

    def show(self) -> None:
        """Shows what was read of the file; after a job that may have changed the file, it is read again."""
        job = self.session.jobs.job
        if job is not None and job.state is JobState.COMPLETED and job.folder.path != self._ended:
            self._ended = job.folder.path
            self.session.look(self.utility.id)
        found: Sequence[Change] | None = self.session.desks[self.utility.id].read
        show(self.widget, found is not None)
        if found is None or found is self._shown:
            return
        self._shown = found
        edited = [each for each in found if each.action != "kept"]
        old = [each for each in found if each.action != "set"]
        self.changing.show_text(f"What would change: {amount(len(edited), 'key')}" if edited else "What would change")
        show(self.nothing, not edited)
        show(self.changes, bool(edited))
        self.changes.value = _list("What would change", map(_changed, edited[:MOST]))
        self.counted.show_text(
            f"What the file says now: {amount(len(old), 'key')}" if old else "What the file says now"
        )
        show(self.none, not old)
        more = [f"<li>and {amount(len(old) - MOST, 'more key')}</li>"] if len(old) > MOST else []
        show(self.all, bool(old))
        self.all.value = _list(
            "What the file says now", [*(_row(each, _value(each.before)) for each in old[:MOST]), *more]
        )


def now(key: str, found: Sequence[Change] | None) -> str:
    """What the file has now for a key; "" if it has nothing."""
    value = next((each.before for each in found or () if each.key == key), "")
    return printable(" ".join(value.split()), LONGEST)


def _list(label: str, rows: Iterable[str]) -> str:
    """The rows as a list that scrolls, by keyboard too. Every text in them comes from a file, and is shown as text."""
    made = "".join(rows)
    return f'<div tabindex="0" role="group" aria-label="{escape(label)}"><ul>{made}</ul></div>' if made else ""


def _row(each: Change, content: str) -> str:
    return f"<li><b>{escape(printable(each.key, LONGEST))}</b>{content}</li>"


def _value(text: str) -> str:
    return f"<span>{escape(printable(text, LONGEST + 1)) or '<i>empty</i>'}</span>"


def _changed(each: Change) -> str:
    """The old and the new value of a key."""
    parts = []
    if each.action != "set":
        parts.append(f"<div><small>now</small>{_value(each.before)}</div>")
    if each.action == "removed":
        reason = f": {escape(printable(each.reason, 200))}" if each.reason else ""
        parts.append(f"<div><small>then</small><span><i>removed{reason}</i></span></div>")
    elif each.action == "changed" and each.before == each.after:
        told = f"<i>the same start; what comes later differs{': ' + escape(each.reason) if each.reason else ''}</i>"
        parts.append(f"<div><small>then</small><span>{told}</span></div>")
    else:
        parts.append(f"<div><small>{'new' if each.action == 'set' else 'then'}</small>{_value(each.after)}</div>")
    return _row(each, "".join(parts))
