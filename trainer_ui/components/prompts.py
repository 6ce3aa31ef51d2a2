"""The list of sample prompts: texts that can be added, removed and put in another order, each with values of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from anywidget import AnyWidget
from traitlets import Dict, List, Unicode

from trainer_core.plan import fields
from trainer_core.plan.prompts import MOST_PROMPTS, OWN
from trainer_core.text import printable
from trainer_ui.components.places import asset

PATH = "sampling.prompts"
LONGEST = 4000
"""The length in characters of a text that is sent to the page."""


def _fields() -> list[dict[str, Any]]:
    """What a prompt can have of its own, for the page: name, label, help, bounds, and whether it is a number."""
    known = fields.all_fields()
    return [
        {
            "name": name,
            "title": f"{title} ({field.unit})" if field.unit else title,
            "help": field.doc,
            "low": field.minimum,
            "high": field.maximum,
            "kind": field.base_type.__name__,
        }
        for name in OWN
        for field in (known[f"sampling.{name}"],)
        for title in (field.title.removeprefix("Sample ").capitalize(),)
    ]


class Prompts(AnyWidget):
    """The list. `enter` is called with the prompts that the user has made, checked; `offer` with the id of an offer."""

    _esm = asset("prompts.js")

    fields = List().tag(sync=True)
    """What a prompt can have of its own."""
    most = List([MOST_PROMPTS]).tag(sync=True)
    """How many prompts there can be."""
    state = Dict({"rows": [], "shared": {}, "heard": 0}).tag(sync=True)
    """The prompts as {"prompt", "control"}, the values of those that have none of their own, and which message was heard last."""
    offers = List().tag(sync=True)
    """Prompts to add, each as {"id", "title", "help"}."""
    told = Unicode().tag(sync=True)
    """Why what was entered cannot be used; "" if it can."""

    def __init__(self, enter: Callable[[Any], object], offer: Callable[[str], object]) -> None:
        super().__init__(fields=_fields())
        self._enter, self._offer = enter, offer
        self._number = 0
        self.on_msg(self._heard)

    def show_prompts(
        self, prompts: Sequence[Mapping[str, Any]], controls: Sequence[bool], shared: Mapping[str, Any]
    ) -> None:
        """Shows these prompts; `controls` says of each whether it has no trigger word, where there is one."""
        rows = [
            {"prompt": {name: _shown(value) for name, value in prompt.items()}, "control": control}
            for prompt, control in zip(prompts, controls, strict=True)
        ]
        own = {name: _shown(value) for name, value in shared.items()}
        wanted = {"rows": rows, "shared": own, "heard": self._number}
        if wanted != self.state:
            self.state = wanted

    def show_offers(self, offers: Sequence[tuple[str, str, str]]) -> None:
        """Shows what can be added, each as (id, title, what it is for)."""
        shown = [
            {"id": id_, "title": printable(title, 80), "help": printable(text, 300)} for id_, title, text in offers
        ]
        if shown != self.offers:
            self.offers = shown

    def _heard(self, _: Any, message: Any, __: Any) -> None:
        if not isinstance(message, Mapping):
            return
        if type(number := message.get("number")) is int:
            self._number = number
        if message.get("kind") == "offer" and any(message.get("id") == one["id"] for one in self.offers):
            self._offer(message["id"])
        elif message.get("kind") == "prompts":
            found, sentence = fields.check(PATH, message.get("prompts"))
            self.told = printable(sentence, 300)
            if not sentence:
                self._enter(found)


def _shown(value: Any) -> Any:
    return printable(value, LONGEST, keep="\n") if isinstance(value, str) else value
