"""A list of things with buttons, such as the waiting runs of the queue. The kernel decides which buttons there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from anywidget import AnyWidget
from traitlets import List, Unicode

from trainer_core.text import printable
from trainer_ui.components.places import asset


@dataclass(frozen=True)
class Act:
    """A button: its id, the words on it, what it does in full (for screen readers), and whether it can be used now.

    With `question`, the click asks in place first; `sure` are the words of the button that agrees.
    """

    id: str
    words: str
    label: str
    is_usable: bool = True
    question: str = ""
    sure: str = ""


@dataclass(frozen=True)
class Item:
    """A thing: its id, title, a line below it, a text at the right, the group that it belongs to, and its buttons."""

    id: str
    title: str
    text: str = ""
    aside: str = ""
    group: str = ""
    share: float | None = None
    acts: tuple[Act, ...] = ()


class ActionList(AnyWidget):
    """Items with buttons. `heard` is called with (item, button) by their ids."""

    _esm = asset("action_list.js")

    title = Unicode().tag(sync=True)
    """What the items are, for screen readers."""
    items = List().tag(sync=True)
    """The items as JSON data."""

    def __init__(self, title: str, heard: Callable[[tuple[str, str]], object]) -> None:
        super().__init__(title=title)
        self._tell = heard
        self.on_msg(self._heard)

    def show_items(self, items: Iterable[Item]) -> None:
        """Shows these items; sends nothing if they are shown already."""
        wanted = [_as_data(item) for item in items]
        if self.items != wanted:
            self.items = wanted

    def _heard(self, _: Any, message: Any, __: Any) -> None:
        if not isinstance(message, Mapping) or message.get("kind") != "act":
            return
        pair = message.get("item"), message.get("act")
        known = [(item["id"], act["id"]) for item in self.items for act in item["acts"] if act["usable"]]
        found = next((each for each in known if each == pair), None)
        if found is not None:
            self._tell(found)


def _as_data(item: Item) -> dict[str, Any]:
    acts = [
        {
            "id": act.id,
            "words": printable(act.words, 60),
            "label": printable(act.label, 200),
            "usable": act.is_usable,
            "question": printable(act.question, 400),
            "sure": printable(act.sure, 60),
        }
        for act in item.acts
    ]
    texts = {name: printable(getattr(item, name), 300) for name in ("title", "aside", "group")}
    return {"id": item.id, **texts, "text": printable(item.text, 1000), "share": item.share, "acts": acts}
