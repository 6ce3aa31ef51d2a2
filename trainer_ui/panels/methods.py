"""What the training makes, as cards: each chooses a method, and says what it needs and how large its result is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.prepare import methods
from trainer_ui.formatting import file_size
from trainer_ui.widgets import Box, ToggleButton

if TYPE_CHECKING:
    from trainer_core.prepare.methods import Offer
    from trainer_ui.session import Session


MOST_NAMED = 3
"""How many families of models a card names."""


class Methods:
    """A card for each method of the app. A method that no engine has for the model is disabled, with the reason."""

    question = "What do you want to make?"

    def __init__(self, session: Session) -> None:
        self.session = session
        self.buttons = {method: self._button(method) for method in session.methods}
        cards = [Box([button], classes=("easel-method-card",)) for button in self.buttons.values()]
        self.widget = Box(cards, classes=("easel-methods",))
        self._seen: object = None

    def _button(self, method: str) -> ToggleButton:
        button = ToggleButton(classes=("easel-method",))
        button.observe(self.session.handler(lambda _: self.session.choose_method(method)), "value")
        return button

    def show(self) -> None:
        """Marks the chosen method; says what each takes when another model or engine was chosen."""
        state = self.session.bench.state
        chosen = state.draft.values["model.method"] if self.session.has_method else ""
        seen = (state.family, state.facts.detection, state.engine, state.facts.machine.accelerator.vram_bytes)
        if self._seen != seen:
            self._seen = seen
            for offer in methods.offers(state, self.buttons):
                button = self.buttons[offer.method.id]
                button.description, button.disabled = text(offer), bool(offer.why_not)
        for method, button in self.buttons.items():
            button.value = method == chosen


def text(offer: Offer) -> str:
    """What a card says: title, what it makes, the images, the file and the memory; or the reason why it is not possible."""
    method = offer.method
    if offer.why_not:
        return f"{method.title}\n{offer.why_not}"
    lines = [method.title, method.makes, f"Images: {method.images}", f"File: {_file(offer)}"]
    only = [f"Only for {methods.listed(offer.families, MOST_NAMED)}"] if offer.families else []
    return "\n".join([*lines, *_memory(offer), *only])


def _file(offer: Offer) -> str:
    return file_size(offer.estimate.lora_mib) if offer.estimate else offer.method.size


def _memory(offer: Offer) -> list[str]:
    if offer.estimate is None:
        return []
    least, most = offer.estimate.vram_gib
    if most > 0:
        return [f"GPU memory: {least:.0f} to {most:.0f} GiB"]
    return [f"System RAM: about {offer.estimate.ram_gib:.0f} GiB"]
