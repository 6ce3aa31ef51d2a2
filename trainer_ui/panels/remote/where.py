"""Where it trains: the trainers as cards, the price of an hour, and what a start will send."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_ui.components.cards import Card, Cards
from trainer_ui.controls import plain_number
from trainer_ui.explaining import helped
from trainer_ui.formatting import Pairs, Paragraph, show
from trainer_ui.panels.card import card, fold
from trainer_ui.remote_desk import check_of
from trainer_ui.widgets import Box, Button, Text, VBox

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer_ui.remote_desk import RemoteDesk

ICONS = {"here": "spark", "ssh": "server", "runpod": "cube"}
HERE = "here"
NAME_GPU = "Name the GPU of the endpoint under Accounts, and Easel estimates time and cost for it."


class WherePanel:
    """Cards of the trainers; another one by its name; what it has; and the price."""

    def __init__(self, desk: RemoteDesk, go_to_accounts: Callable[[], object]) -> None:
        self.desk, handler = desk, desk.session.handler
        self.cards = Cards("Where to train", handler(lambda on: desk.choose("" if on == HERE else on)))
        self.setup = Button(description="Add an endpoint or a machine", classes=("easel-small",))
        self.setup.on_click(handler(lambda _: go_to_accounts()))
        self.other = Text(description="Another trainer", placeholder="KIND:NAME", continuous_update=False)
        self.other.observe(handler(self._other), "value")
        more = fold(
            desk.session,
            "Another trainer",
            lambda: [helped(self.other, "Its name, as easel train --on takes it, such as ssh:me@gpu-box.")],
        )
        self.price = Text(description="Price per hour", placeholder="such as 0.69", continuous_update=False)
        self.price.observe(handler(desk.set_price), "value")
        self.gpu = Paragraph("", "small", "muted", role="status")
        self.ask = Button(description="Ask again", classes=("easel-small",))
        self.ask.on_click(handler(lambda _: desk.prepare()))
        self.asked = Box([self.gpu, self.ask], classes=("easel-row",))
        self.cost = Paragraph("", "small", "muted")
        self.widget = VBox(
            [
                Paragraph("Where to train", "heading"),
                self.cards,
                Box([self.setup], classes=("easel-row",)),
                more,
                self.asked,
                Box(
                    [helped(self.price, "What the provider asks for an hour. It is kept for this trainer.")],
                    classes=("easel-remote-fields",),
                ),
                self.cost,
            ],
            classes=("easel-card", "easel-remote-cards"),
        )

    def _other(self, text: str) -> None:
        if text.strip():
            self.desk.choose(text.strip())

    def show(self) -> None:
        """Shows the trainers, the chosen one, and what it costs and gets."""
        desk = self.desk
        trainer = desk.trainer
        listed = desk.trainers if trainer in desk.trainers else (trainer, *desk.trainers)
        self.cards.show_cards(
            (Card(one.on or HERE, one.title, one.what, ICONS.get(one.kind, "star")) for one in listed), desk.on or HERE
        )
        doing, said = desk.doing.get(check_of(desk.on)), desk.said.get(check_of(desk.on))
        self.gpu.show_text(*((f"{doing}…", "accent") if doing else said or ("", "")))
        show(self.asked, bool(desk.on and (doing or said)))
        show(self.ask, doing is None)
        wanted = "" if desk.price is None else plain_number(desk.price)
        if self.price.value != wanted:
            self.price.value = wanted
        is_nameless = trainer.kind == "runpod" and desk.price is not None and not (desk.kept and desk.kept.gpu)
        self.cost.show_text(NAME_GPU if is_nameless else desk.cost().sentence)


class OutlookPanel:
    """What happens at the start, before it happens."""

    def __init__(self, desk: RemoteDesk) -> None:
        self.desk, self.told = desk, Pairs()
        self.widget = card("What happens at the start", self.told)

    def show(self) -> None:
        """Says what is sent where."""
        self.told.show_pairs(self.desk.outlook().told)
