"""What a job has made: the file, what is known about it, and what can be done with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer_core.errors import JobError
from trainer_core.jobs import own_program
from trainer_core.jobs.state import JobState
from trainer_ui.components.copy_line import CopyLine
from trainer_ui.components.download import Download
from trainer_ui.formatting import Pairs, Paragraph, file_size, notebook_link, show
from trainer_ui.panels.card import row
from trainer_ui.widgets import HTML, Box, Button, VBox

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainer_ui.tool_session import ToolSession

MOST_NOTES = 6
MOST_LAYERS = 400
"""So many layers are listed, the ones with the largest error first."""


class Made:
    """The file of the job that is shown: a new one, or the one that the job has looked into."""

    def __init__(self, session: ToolSession, elsewhere: Sequence[tuple[str, str]] = ()) -> None:
        self.session = session
        self.title = Paragraph("What was made", "heading")
        self.path = CopyLine()
        self.facts = Pairs()
        self.notes = [Paragraph("", "small") for _ in range(MOST_NOTES)]
        self.layers = HTML(classes=("easel-table", "easel-tool-layers"))
        self.download = Download(self._file)
        self.saving = row(self.download)
        takers = [each for each in session.utilities.values() if each.takes]
        self.next = {each.id: Button(description=each.title, classes=("easel-small",)) for each in takers}
        for name, button in self.next.items():
            button.on_click(session.handler(lambda _, name=name: session.hand_over(self._path, name)))
        self.uses = VBox(
            [
                Paragraph("Use it in", "small", "muted"),
                Box(tuple(self.next.values()), classes=("easel-row",)),
                *([HTML(_links(elsewhere), classes=("easel-tool-elsewhere", "easel-small"))] if elsewhere else []),
            ],
            classes=("easel-tool-next",),
        )
        left = VBox([Box([self.path, self.saving], classes=("easel-tool-path",)), self.facts])
        right = VBox([*self.notes, self.uses])
        halves = Box([left, right], classes=("easel-tool-halves",))
        self.widget = VBox([self.title, halves, self.layers], classes=("easel-card", "easel-tool-made"))
        # The place is shown before it is filled for the first time.
        show(self.widget, False)
        self._shown: object = None
        self._path = ""

    def show(self) -> None:
        """Shows the file, once there is one."""
        job = self.session.jobs.job
        done = job is not None and job.state is JobState.COMPLETED
        made = (job.folder.read(own_program.MADE) if job is not None and done else None) or {}
        show(self.widget, bool(made))
        shown = (job.folder.path, job.state) if job is not None else None
        if job is None or not made or shown == self._shown:
            return
        self._shown = shown
        kind = job.spec.kind
        is_new = all(one.makes for one in self.session.utilities.values() if kind in one.kinds)
        self._fill(made, is_new)

    def _fill(self, made: Mapping[str, Any], is_new: bool) -> None:
        self._path = str(made.get("path", ""))
        path = Path(self._path)
        is_file = path.is_file()
        self.title.show_text("What was made" if is_new else "The file")
        self.path.label = "Folder" if path.is_dir() else "File"
        self.path.show_text(self._path)
        self.facts.show_pairs(_facts(made, path))
        notes = [note for note in made.get("notes") or () if isinstance(note, str)] if is_new else []
        for paragraph, text in zip(self.notes, [*notes, *[""] * MOST_NOTES], strict=False):
            paragraph.show_text(text)
        self.layers.value = _layers(made.get("layers")) if is_new else ""
        show(self.layers, bool(self.layers.value))
        show(self.saving, is_new and is_file)
        self.download.disabled = not is_file
        show(self.uses, bool(self.next) and path.exists())

    def _file(self) -> tuple[Path, str]:
        path = Path(self._path)
        if not path.is_file():
            raise JobError(f"{path} is not there any more.")
        return path, path.name


def _links(notebooks: Sequence[tuple[str, str]]) -> str:
    """The other notebooks that take the file, as links beside this notebook: names and words are Easel's own."""
    items = "".join(f"<li>{notebook_link(name)}: {tools}</li>" for name, tools in notebooks)
    return f'<div class="easel-text">In another notebook, copy the path and enter it there:<ul>{items}</ul></div>'


def _facts(made: Mapping[str, Any], path: Path) -> list[tuple[str, str]]:
    """What the program has noted about the file, and its size."""
    size = made.get("bytes")
    size = path.stat().st_size if path.is_file() else size if isinstance(size, int) else None
    facts = made.get("facts")
    told = [one for one in facts if isinstance(one, list) and len(one) == 2] if isinstance(facts, list) else []
    missing = [("Now", "It is not there any more.")] if not path.exists() else []
    return [
        *missing,
        *([("Size", file_size(size / 1024**2))] if size is not None else []),
        *((str(name), str(value)) for name, value in told),
    ]


def _layers(rows: Any) -> str:
    """The layers as a table, those with the largest error first; names come from a file, and are shown as text."""
    from html import escape

    from trainer_core.text import printable

    if not isinstance(rows, list):
        return ""
    good = [each for each in rows if isinstance(each, dict) and isinstance(each.get("error"), (int, float))]
    good.sort(key=lambda each: float(each["error"]), reverse=True)
    if not good or float(good[0]["error"]) <= 0:
        return ""
    lines = [
        f"<tr><th scope=row>{escape(printable(str(each.get('layer', '')), 200))}</th>"
        f"<td>{escape(str(each.get('rank_before', '')))}</td><td>{escape(str(each.get('rank', '')))}</td>"
        f"<td>{float(each['error']):.2%}</td></tr>"
        for each in good[:MOST_LAYERS]
    ]
    head = (
        "<tr><th scope=col>Layer</th><th scope=col>Rank before</th><th scope=col>Rank</th><th scope=col>Error</th></tr>"
    )
    table = f"<table><thead>{head}</thead><tbody>{''.join(lines)}</tbody></table>"
    return f"<details><summary>The error of {len(good):,} layers</summary><div class=easel-tool-scroll tabindex=0 role=group aria-label=Layers>{table}</div></details>"
