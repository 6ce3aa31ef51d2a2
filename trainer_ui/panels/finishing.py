"""The steps that Easel fills in itself: samples, memory and output. Each folds to a line that says what is set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.plan import fields
from trainer_ui.answers import is_begun, mark
from trainer_ui.formatting import Paragraph
from trainer_ui.panels.card import Step, fold
from trainer_ui.panels.memory import MemoryChoice
from trainer_ui.panels.settings import MEMORY, OUTPUT, SAMPLES, Settings
from trainer_ui.widgets import Widget

if TYPE_CHECKING:
    from trainer_ui.session import Session

LATER = "set for you once the model is known"


class OutputPanel:
    """The name of the result, where it is saved, and what Easel does if the run ends too early."""

    def __init__(self, session: Session, settings: Settings) -> None:
        self.session = session
        self.step = Step(
            session,
            "Output",
            lambda: [settings.front(OUTPUT), settings.groups["output"], settings.groups["guards"]],
            question="What is it called?",
            number="4",
            is_open=True,
        )
        self.widget = self.step.widget

    def show(self) -> None:
        """Shows the output in one line."""
        values = self.session.values
        name, every = f"{values['output.prefix']}{values['output.name']}", values["output.save_every_steps"]
        saved = f"a checkpoint every {every:,} steps" if every else "only the last step is saved"
        folder = values["output.folder"] or "Easel's outputs"
        self.step.show(
            mark(self.session, "output", values["output.name"]),
            f"{name}.safetensors in {folder}, {saved}" if name else "",
        )


class SamplesPanel:
    """The images that are made during the training."""

    def __init__(self, session: Session, settings: Settings) -> None:
        self.session = session
        self.step = Step(session, "Samples", lambda: [settings.front(SAMPLES), settings.groups["sampling"]])
        self.widget = self.step.widget

    def show(self) -> None:
        """Shows the samples in one line."""
        values = self.session.values
        every, size = values["sampling.every_steps"], f"{values['sampling.width']} x {values['sampling.height']}"
        first = " and before the first" if values["sampling.at_start"] else ""
        text = f"one every {every:,} steps{first}, {size} px" if every else "none during the training"
        self.step.show(
            mark(self.session, "samples", self.session.values["model.path"]), text if is_begun(self.session) else LATER
        )


class MemoryPanel:
    """How the training is made to fit into the memory, and what the estimate is based on."""

    def __init__(self, session: Session, settings: Settings) -> None:
        self.session, self.settings = session, settings
        self.choice: MemoryChoice | None = None
        self.fit = self.basis = None
        self.step = Step(session, "Memory", self._content)
        self.widget = self.step.widget

    def _content(self) -> list[Widget]:
        self.choice = MemoryChoice(self.session)
        self.fit, self.basis = Paragraph("", "small"), Paragraph("", "muted", "small", "lines")
        basis = self.basis
        why = fold(self.session, "What this estimate is based on", lambda: [basis])
        front, more = self.settings.front(MEMORY), self.settings.groups["memory"]
        return [self.choice.widget, self.fit, front, why, more]

    def show(self) -> None:
        """Shows the memory settings in one line; the preset and the estimate, once they were opened."""
        seen, state = self.session.forecast, self.session.bench.state
        if self.choice is not None and self.fit is not None and self.basis is not None:
            self.choice.show()
            self.fit.show_text(seen.fit.sentence if seen else "", "warn" if seen and seen.fit.fits != "yes" else "")
            self.basis.show_text("\n".join(seen.estimate.basis) if seen else "")
        preset = state.preset.title if state.preset else ""
        text = ", ".join(filter(None, (preset, *self._what())))
        self.step.show(
            mark(self.session, "memory", self.session.values["model.path"]), text if is_begun(self.session) else LATER
        )

    def _what(self) -> list[str]:
        """The settings that save memory, in words."""
        values, known = self.session.values, fields.all_fields()
        on = [
            known[path].title.lower()
            for path in ("memory.gradient_checkpointing", "memory.cache_latents", "memory.fp8_base")
            if values[path]
        ]
        precision = values["memory.mixed_precision"]
        return [precision if precision not in ("", "no") else "full precision", *on]
