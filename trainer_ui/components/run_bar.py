"""The bar of the run that is shown, and the card that says how a run stands: both get `content` and tell what the user does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from anywidget import AnyWidget
from traitlets import Dict

from trainer_ui.components.places import asset

Act = Callable[[str, Mapping[str, Any]], object]
"""Called with the id of an action, and with what the user chose for it."""


class Acting(AnyWidget):
    """A component that shows `content`; `act` is called when the user does something, `hello` when a view opens."""

    content = Dict().tag(sync=True)
    """What is shown, as JSON data; every text in it is shown as text."""

    def __init__(self, act: Act, hello: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self._act, self._hello = act, hello
        self.on_msg(self._heard)

    def _heard(self, _: Any, message: Any, __: Any) -> None:
        if not isinstance(message, Mapping):
            return
        if message.get("kind") == "hello":
            self._hello()
        elif message.get("kind") == "act" and isinstance(message.get("id"), str):
            self._act(message["id"], message)


class RunBar(Acting):
    """State, time left, progress, stages and actions of one run."""

    _esm = asset("dom.js", "run_bar.js")


class EndCard(Acting):
    """Why a run does not train, and what can be done about it."""

    _esm = asset("dom.js", "end_card.js")
