"""The files and commands that a start would write and run, read only, compared with those of another run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from anywidget import AnyWidget
from traitlets import Dict, Int

from trainer_core.text import printable
from trainer_ui.components.places import asset

if TYPE_CHECKING:
    from trainer_core.prepare.preview import Line, Preview

MOST_LINES = 4000
LONGEST_LINE = 4000
"""Characters of a line that are sent."""
_ELSEWHERE = (
    "The files and the command are made on {trainer}, with its own paths; here they are with the paths of this computer. "
    "Nothing of this runs on this computer. Tokens are never written."
)


class FilesView(AnyWidget):
    """The view. `choose` gets the id of the run that the user wants to compare with, "" for none."""

    _esm = asset("files_view.js")
    _css = asset("files_view.css")

    content = Dict().tag(sync=True)
    """Files, commands, folder, what is missing, and the runs to compare with."""
    opened = Int().tag(sync=True)
    """How often the user has opened it: the page then puts the keyboard into it."""

    def __init__(self, choose: Callable[[str], None], close: Callable[[None], None]) -> None:
        super().__init__()
        self._choose, self._close = choose, close
        self._runs: set[str] = set()
        self.on_msg(self._heard)

    def show_preview(
        self,
        seen: Preview,
        files: Mapping[str, Sequence[Line]],
        states: Mapping[str, str],
        runs: Sequence[tuple[str, str]],
        against: str,
        elsewhere: str = "",
        sent: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Shows a preview.

        `files` are its lines, and those of the other run; `states` says of each file how it differs; `runs` are the runs that
        can be compared with, as (id, title), and `against` is the id of the chosen one, "" for none. `elsewhere` is the name of the
        other machine that a start uses, "" for this one, and `sent` what goes there, as (what, sentence).
        """
        self._runs = {"", *(name for name, _ in runs)}
        self.content = {
            "files": [_file(name, lines, states.get(name, ""), bool(against)) for name, lines in files.items()],
            "commands": [
                {
                    "name": one.name,
                    "text": printable(one.text, 100_000, keep="\n"),
                    "environment": [
                        [printable(key, 200), printable(value, 2000)] for key, value in one.environment.items()
                    ],
                }
                for one in seen.commands
            ],
            "folder": printable(seen.folder),
            "missing": [printable(sentence) for sentence in seen.missing],
            "saves": [printable(sentence) for sentence in seen.saves],
            "runs": [[name, printable(title, 80)] for name, title in runs],
            "against": against,
            "trainer": printable(elsewhere, 80),
            "sent": [[printable(what, 40), printable(sentence, 400)] for what, sentence in sent],
            "elsewhere": _ELSEWHERE.format(trainer=printable(elsewhere, 80)) if elsewhere else "",
        }

    def _heard(self, _: Any, message: Any, __: Any) -> None:
        if not isinstance(message, Mapping):
            return
        if message.get("kind") == "close":
            self._close(None)
        elif message.get("kind") == "against" and (name := message.get("run")) in self._runs:
            self._choose(str(name))


def _file(name: str, lines: Sequence[Line], state: str, compared: bool) -> dict[str, Any]:
    shown = [[line.sign, printable(line.text, LONGEST_LINE, keep="\t")] for line in lines[:MOST_LINES]]
    cut = len(lines) - len(shown)
    note = f"{name}: the first {MOST_LINES:,} lines; {cut:,} more are not shown." if cut > 0 else ""
    return {"name": printable(name, 200), "lines": shown, "state": state, "compared": compared, "note": note}
