"""Which base model: one of those that lie here or a path, what it is, and how Easel knows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ipywidgets import Box, Button, Dropdown, Layout, Text

from trainer_core import places
from trainer_core.families import load_families
from trainer_core.plan import fields
from trainer_core.text import printable
from trainer_core.workbench import known_models
from trainer_ui.controls import SettingControl, show_settings
from trainer_ui.panels.card import card, fold
from trainer_ui.words import Words, hint, show

if TYPE_CHECKING:
    from trainer_core.detection import Detection
    from trainer_ui.session import Session

ELSEWHERE = "Another one, by its path"
PREDICTIONS = {"epsilon": "epsilon prediction", "v_prediction": "v-prediction", "flow": "flow matching"}


class ModelPanel:
    """The model's dropdown, its path, and what its file says."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.known = Dropdown(description="Models in Easel's folder")
        self.path = Text(
            description="Path of a checkpoint file or a diffusers folder",
            placeholder="/path/to/model.safetensors",
            continuous_update=False,
        )
        hint(self.known, f"Checkpoints below {places.models()}, newest first")
        self.says = Words()
        self.reasons = Words("", "small", "lines")
        self.parts: dict[str, SettingControl] = {}
        self.beside = Box()
        self.beside.add_class("easel-settings")
        self.fold = fold(session, "How Easel knows", lambda: [self.reasons])
        self.again = Button(description="Look again")
        self.again.on_click(session.handler(lambda _: self.look()))
        self.known.observe(session.handler(self.choose), "value")
        self.path.observe(session.handler(lambda path: session.change({"model.path": path.strip()})), "value")
        self.look()
        pair = Box([self.known, self.again])
        pair.add_class("easel-pair")
        self.widget = card("Model", pair, self.path, self.says, self.beside, self.fold)

    def look(self) -> None:
        """Lists the models that lie in Easel's folder."""
        root = places.models()
        found = [(printable(str(path.relative_to(root)), 120), str(path)) for path in known_models(root)]
        self.known.options = [(ELSEWHERE if found else "None here yet: give a path below", ""), *_distinct(found)]

    def choose(self, path: str) -> None:
        """Takes the model that was picked; picking none of them leaves the path as it is."""
        if path:
            self.session.change({"model.path": path})

    def show(self) -> None:
        """Shows the chosen model and what it was recognised as."""
        path = self.session.values["model.path"]
        if self.path.value != path:
            self.path.value = path
        listed = {value for _, value in self.known.options}
        self.known.value = path if path in listed else ""
        facts = self.session.bench.facts
        if facts.detection is not None:
            self.says.say(sentence(facts.detection, Path(path)), "ok")
            self.reasons.say("\n".join(reasons(facts.detection)))
        else:
            self.says.say(facts.detection_error if path else "", "danger")
            self.reasons.say("")
        show(self.fold, facts.detection is not None)
        self._show_parts()

    def _show_parts(self) -> None:
        """Shows a control for each file that must lie beside the model."""
        needed = self.session.scope.needed_parts()
        for path in needed:
            if path not in self.parts:
                self.parts[path] = SettingControl(self.session, fields.all_fields()[path], Layout())
        self.beside.children = tuple(one.widget for one in self.parts.values())
        for path, one in self.parts.items():
            one.away(path not in needed)
        show_settings(self.session, self.parts.values())
        show(self.beside, bool(needed))


def _distinct(options: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Options whose labels differ: a Dropdown finds its value by its label."""
    seen: dict[str, int] = {}
    found = []
    for label, value in options:
        seen[label] = seen.get(label, 0) + 1
        found.append((label if seen[label] == 1 else f"{label} ({seen[label]})", value))
    return found


def sentence(found: Detection, path: Path) -> str:
    """What a model is, in a sentence."""
    prediction = PREDICTIONS.get(found.prediction or "", "")
    parts = [family_title(found.family), found.variant, prediction, found.dtype]
    role = "diffusers folder" if path.is_dir() else found.role.replace("_", " ")
    return f"{path.name} is a {role}: " + ", ".join(part for part in parts if part) + "."


def reasons(found: Detection) -> list[str]:
    """Why a model is taken for what it is, and why not for another."""
    refused = [f"Not {family_title(family)}: {reason}." for family, reason in found.rejected.items()]
    return [f"{_capital(reason)}." for reason in found.evidence] + refused


def _capital(reason: str) -> str:
    """A reason with a capital letter, unless it begins with the name of a tensor."""
    return reason[:1].upper() + reason[1:] if reason.partition(" ")[0].isalpha() else reason


def family_title(family: str | None) -> str:
    """A family as people call it."""
    known = load_families().get(family or "")
    return known.title if known else family or "an unknown family"
