"""The models on this machine that fit a field of a tool, as a list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.text import printable
from trainer_ui.formatting import show
from trainer_ui.widgets import Dropdown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trainer_core.models.library import Entry, Library
    from trainer_ui.tool_session import ToolSession

OTHER = "Choose one, or enter a path"
MOST = 400
"""So many models are listed, the newest ones: each list is sent to the page as a whole."""


class Known:
    """A list of the models with these roles. It is hidden while there is none."""

    def __init__(self, session: ToolSession, title: str, roles: tuple[str, ...], take: Callable[[str], object]) -> None:
        self.session, self.roles = session, roles
        self.list = Dropdown(
            description=f"{title} on this machine", options=[(OTHER, "")], classes=("easel-tool-known",)
        )
        self.list.observe(session.handler(lambda path: take(path) if path else None), "value")
        self.widget = self.list
        self._library: Library | None = None
        self._path: str | None = None

    def show(self, path: str) -> None:
        """Lists what the last scan has found, and marks the one that is chosen."""
        library = self.session.shelf.library
        if library is not None and library is not self._library:
            self._library = library
            found = [entry for role in self.roles for entry in library.of(role=role)]
            found.sort(key=lambda entry: entry.modified_s, reverse=True)
            self.list.options = [(OTHER, ""), *options(found[:MOST])]
        elif path == self._path:
            # What the page has just sent stays: its handler has not been called yet.
            return
        self._path = path
        self.list.value = path if path in {value for _, value in self.list.options} else ""
        show(self.widget, len(self.list.options) > 1)


def options(entries: Iterable[Entry]) -> list[tuple[str, str]]:
    """The models as (words, path); the words differ, because a list finds its value by them."""
    from trainer_ui.panels.fetch import gigabytes
    from trainer_ui.panels.model import family_title

    seen: dict[str, int] = {}
    found = []
    for entry in entries:
        family = family_title(entry.family) if entry.family else ""
        words = printable(f"{entry.name}: {', '.join(filter(None, (family, gigabytes(entry.size_bytes))))}", 140)
        seen[words] = seen.get(words, 0) + 1
        found.append((words if seen[words] == 1 else f"{words} ({seen[words]})", str(entry.path)))
    return found
