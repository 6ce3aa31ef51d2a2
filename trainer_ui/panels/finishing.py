"""The steps that Easel fills in itself: samples, memory and output. Each folds to a sentence that says what is set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainer_core import places
from trainer_core.plan import fields
from trainer_core.prepare import saves
from trainer_core.providers import surviving
from trainer_ui.answers import is_begun, mark
from trainer_ui.formatting import Paragraph
from trainer_ui.panels.card import Step, fold
from trainer_ui.panels.length import Epochs
from trainer_ui.panels.memory import MemoryChoice
from trainer_ui.panels.settings import MEMORY, OUTPUT, SAMPLES, Settings
from trainer_ui.widgets import Widget

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainer_core.plan.sections import TrainingPlan
    from trainer_ui.panels.samples import SamplePrompts
    from trainer_ui.session import Session

LATER = "set for you once the model is known"
SAVING = {
    "memory.gradient_checkpointing": "gradient checkpointing",
    "memory.fp8_base": "base model in fp8",
    "memory.half_weights": "weights in half precision",
    "memory.offload_checkpointing": "activations in system RAM",
    "memory.fused_backward": "fused backward pass",
}
"""The switches that save memory, as the sentence of the step names them."""
PRECISIONS = {"no": "full precision"}


class OutputPanel:
    """The name of the result, where it is saved, and what Easel does if the run ends too early."""

    def __init__(self, session: Session, settings: Settings) -> None:
        self.session, self.settings = session, settings
        self.epochs: Epochs | None = None
        self.survives = Paragraph("", "small")
        self.step = Step(session, "Output", self._content, question="What is it called?", number="4", is_open=True)
        self.widget = self.step.widget

    def _content(self) -> list[Widget]:
        front = self.settings.front(OUTPUT)
        self.epochs = Epochs(self.session, self.settings.controls["output.save_every_steps"])
        return [front, self.survives, self.settings.groups["output"], self.settings.groups["guards"]]

    def show(self) -> None:
        """Shows the output in one sentence."""
        values = self.session.values
        if self.epochs is not None:
            self.epochs.show()
        self.survives.show_text(saved_where(values["output.folder"]))
        self.step.show(
            mark(self.session, "output", values["output.name"]),
            _output(values, self._states()) if values["output.name"] else "",
        )

    def _states(self) -> str:
        """The states that the run saves, in a few words."""
        session = self.session
        plan, seen = session.bench.state.draft.sketch(), session.forecast
        manifest = session.backend.manifest if session.backend else None
        return saves.in_short(plan, manifest, seen.estimate if seen else None)


class SamplesPanel:
    """The images that are made during the training."""

    def __init__(self, session: Session, settings: Settings) -> None:
        self.session, self.settings = session, settings
        self.epochs: Epochs | None = None
        self.prompts: SamplePrompts | None = None
        self.step = Step(session, "Samples", self._content)
        self.widget = self.step.widget

    def _content(self) -> list[Widget]:
        from trainer_ui.panels.samples import SamplePrompts

        front = self.settings.front(SAMPLES)
        self.epochs = Epochs(self.session, self.settings.controls["sampling.every_steps"])
        self.prompts = SamplePrompts(self.session)
        # The page must never have an empty list: a prompt that is added to one would move when the others arrive.
        self.prompts.show(self.session.bench.state.draft.sketch())
        return [front, self.prompts.widget, self.settings.groups["sampling"]]

    def show(self) -> None:
        """Shows the samples in one sentence, and the prompts once the step was opened."""
        plan = self.session.bench.state.draft.sketch()
        if self.epochs is not None and self.prompts is not None:
            self.epochs.show()
            self.prompts.show(plan)
        text = ", ".join(filter(None, (_samples(plan), self._share(plan)))) if is_begun(self.session) else LATER
        self.step.show(mark(self.session, "samples", self.session.values["model.path"]), text)

    def _share(self, plan: TrainingPlan) -> str:
        """How much of the time the samples take, if that is much."""
        seen = self.session.forecast
        if seen is None or not plan.sampling.every_steps:
            return ""
        from trainer_core.estimate import formatting

        return formatting.sample_share(seen.estimate)


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
        """Shows the memory settings in one sentence; the preset and the estimate, once they were opened."""
        seen, state = self.session.forecast, self.session.bench.state
        if self.choice is not None and self.fit is not None and self.basis is not None:
            self.choice.show()
            self.fit.show_text(seen.fit.sentence if seen else "", "warn" if seen and seen.fit.fits != "yes" else "")
            self.basis.show_text("\n".join(seen.estimate.basis) if seen else "")
        preset = state.preset.title if state.preset else ""
        text = ", ".join(filter(None, (preset, *_memory(self.session.values))))
        self.step.show(
            mark(self.session, "memory", self.session.values["model.path"]), text if is_begun(self.session) else LATER
        )


def saved_where(folder: str) -> str:
    """What happens to the results when the session of a rented or shared machine ends; "" on a machine of the user's own."""
    return surviving.sentence(places.typed(folder) if folder.strip() else places.outputs())


def _samples(plan: TrainingPlan) -> str:
    """The samples of a plan: "4 prompts at 1024 x 1024, every 240 steps and before the first"."""
    prompts, sampling = plan.sample_prompts, plan.sampling
    if not sampling.every_steps:
        return "none during the training"
    sizes = {f"{prompt.width} x {prompt.height}" for prompt in prompts}
    size = f"at {sizes.pop()}" if len(sizes) == 1 else f"in {len(sizes)} sizes"
    often = "every step" if sampling.every_steps == 1 else f"every {sampling.every_steps:,} steps"
    first = " and before the first" if sampling.at_start else ""
    return f"{_count(len(prompts), 'prompt')} {size}, {often}{first}"


def _memory(values: Mapping[str, Any]) -> list[str]:
    """What saves memory, in words: "bf16, gradient checkpointing, latents and captions cached"."""
    precision = str(values["memory.mixed_precision"])
    cached = [
        what
        for path, what in (("memory.cache_latents", "latents"), ("memory.cache_text_encoder", "captions"))
        if values[path]
    ]
    swapped, adds = values["memory.blocks_to_swap"], values["schedule.gradient_accumulation"]
    return [
        PRECISIONS.get(precision, precision),
        *(words for path, words in SAVING.items() if values[path]),
        *([f"{' and '.join(cached)} cached"] if cached else []),
        *([f"{_count(swapped, 'block')} in system RAM"] if swapped else []),
        *([f"{adds} batches for one step"] if isinstance(adds, int) and adds > 1 else []),
    ]


def _output(values: Mapping[str, Any], states: str) -> str:
    """The output: "elena_v3.safetensors in outputs, fp16, a checkpoint every 240 steps, all 8 kept, and a state ..."."""
    every, steps = values["output.save_every_steps"], values["schedule.steps"]
    precision = fields.all_fields()["output.save_precision"].about.titles.get(
        values["output.save_precision"], values["output.save_precision"]
    )
    saved = "only the last step is saved"
    if isinstance(every, int) and isinstance(steps, int) and 0 < every <= steps:
        saved = f"a checkpoint every {every:,} steps, {_kept(steps // every, values['output.keep_last'])}"
    saved = f"{saved}, and {states}" if states else saved
    copied = ", copied to your LoRA folder" if values["output.copy_to"] else ""
    name, folder = f"{values['output.prefix']}{values['output.name']}", values["output.folder"] or "outputs"
    return f"{name}.safetensors in {folder}, {precision}, {saved}{copied}"


def _kept(saved: int, last: Any) -> str:
    """What stays of so many saved checkpoints, if the last of them are kept; 0 for all."""
    if isinstance(last, int) and 0 < last < saved:
        return f"the last {last} kept" if last > 1 else "the last one kept"
    return f"all {saved} kept" if saved > 1 else "which is kept"


def _count(number: Any, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
