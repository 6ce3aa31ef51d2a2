"""Base models to begin with: a list, where the chosen one is saved, what it needs, and the download."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.engines import registry
from trainer_core.models import starters, tokens
from trainer_ui.components.starters import StarterList
from trainer_ui.formatting import show
from trainer_ui.panels.fetch import gigabytes
from trainer_ui.widgets import VBox

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer_core.models.starters import Starter
    from trainer_ui.session import Session

UNKNOWN = "size unknown"


class StarterPanel:
    """The list of models; `get` is called with the one that is to be downloaded."""

    def __init__(self, session: Session, get: Callable[[Starter], object]) -> None:
        self.session, self.get = session, get
        self.known = {one.id: one for one in starters.shipped().values() if _is_trained(one.family)}
        self.list = StarterList([_row(one) for one in self.known.values()])
        self.list.observe(session.handler(lambda _: None), "chosen")
        self.list.asked = session.handler(self._get)
        # A box, because the page does not follow a change of the classes of the list itself.
        self.widget = VBox([self.list])

    def _get(self, name: str) -> None:
        self.get(self.known[name])

    def fold(self, is_folded: bool) -> None:
        """Shows only the heading, if there are models on this machine; the user can open the list."""
        self.list.is_open = not is_folded

    def show(self, is_needed: bool) -> None:
        """Shows the list as long as a model `is_needed`, and what is known of the chosen one."""
        show(self.widget, is_needed)
        one = self.known.get(self.list.chosen)
        if one is None or not is_needed:
            return
        sentence, enough = starters.room(one)
        text = f"{one.how_to_get_access} {sentence}" if one.gated and tokens.find(starters.SITE) is None else sentence
        size = f" {gigabytes(one.size_bytes)}" if one.size_bytes else ""
        told = {"text": text, "tone": "" if enough else "warn", "button": f"Download{size}" if enough else ""}
        if self.list.told != told:
            self.list.told = told


def _row(one: Starter) -> dict[str, object]:
    size = gigabytes(one.size_bytes) if one.size_bytes else UNKNOWN
    texts = {name: getattr(one, name) for name in ("id", "title", "use", "about", "licence_url", "gated")}
    return {**texts, "licence": one.licence_title, "size": size}


def _is_trained(family: str) -> bool:
    """Whether an engine of Easel trains models of this family."""
    return any(family in engine.manifest.families for engine in registry.available())
