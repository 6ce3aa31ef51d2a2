"""The sample prompts of a job: the list, what can be added to it, where it comes from and what its samples cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainer_core.draft.layers import Source
from trainer_core.plan.prompts import OWN, has_trigger, with_options
from trainer_core.prepare import prompt_ideas, provenance
from trainer_ui.components.prompts import PATH, Prompts
from trainer_ui.formatting import Paragraph, show
from trainer_ui.panels.card import row
from trainer_ui.widgets import Button, VBox

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainer_core.plan.sections import TrainingPlan
    from trainer_ui.session import Session

SINGLE = "sampling.prompt"
CAPTIONS = "captions"
CAPTIONS_HELP = "Adds the captions of your images that differ most from each other."


class SamplePrompts:
    """The list of prompts, and a line below it."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.list = Prompts(session.handler(self._enter), session.handler(self._offer))
        self.source = Paragraph("", "muted", "small", "grow")
        self.reset = Button(description="Remove my prompts", classes=("easel-small", "easel-quiet"))
        self.reset.on_click(session.handler(lambda _: session.bench.reset(PATH, SINGLE)))
        self.cost = Paragraph("", "small", "cost", role="status")
        self.widget = VBox([self.list, row(self.source, self.reset), self.cost], classes=("easel-sample-prompts",))

    def _enter(self, prompts: Sequence[Mapping[str, Any]]) -> None:
        values = self.session.values
        read = [with_options(prompt) for prompt in prompts]
        prompts = [prompt for prompt, _ in read]
        if sentence := next((sentence for _, sentence in read if sentence), ""):
            self.session.note(sentence)
        is_single = not values[PATH] and len(prompts) == 1 and prompts[0].keys() == {"text"}
        self.session.bench.reset(PATH if is_single else SINGLE)
        self.session.change({SINGLE: prompts[0]["text"]} if is_single else {PATH: tuple(prompts)})

    def _offer(self, wanted: str) -> None:
        state, present = self.session.bench.state, _prompts(self.session.values)
        if wanted == CAPTIONS:
            trigger = state.draft.text("dataset.trigger").strip()
            texts = prompt_ideas.from_captions(state.facts.dataset, trigger)
        else:
            texts = (prompt_ideas.templates()[wanted].text,)
        known = {prompt["text"] for prompt in present}
        added = tuple({"text": text} for text in texts if text not in known)
        if not added:
            self.session.note("These prompts are in the list already.")
            return
        self.list.told = ""
        self._enter((*present, *added))

    def show(self, plan: TrainingPlan) -> None:
        """Shows the prompts of the job."""
        session, values = self.session, self.session.values
        state, prompts = session.bench.state, _prompts(session.values)
        trigger = state.draft.text("dataset.trigger").strip()
        controls = [bool(trigger) and not has_trigger(prompt["text"], trigger) for prompt in prompts]
        self.list.show_prompts(prompts, controls, {name: values[f"sampling.{name}"] for name in OWN})
        self.list.show_offers(self._offers())
        path = PATH if values[PATH] else SINGLE
        is_mine = state.draft.source_of(path) is Source.USER
        self.source.show_text("" if is_mine else f"They come from {provenance.of(state, path)}.".replace("..", "."))
        show(self.reset, is_mine)
        self.cost.show_text(self._cost(plan), "")

    def _offers(self) -> list[tuple[str, str, str]]:
        state = self.session.bench.state
        images = state.facts.dataset.images if state.facts.dataset else ()
        has_captions = any(image.caption for image in images)
        captions = [(CAPTIONS, "From captions", CAPTIONS_HELP)] if has_captions else []
        return [*captions, *((one.id, one.title, one.doc) for one in prompt_ideas.of_job(state))]

    def _cost(self, plan: TrainingPlan) -> str:
        """What the samples cost; why there are none."""
        if not plan.sampling.every_steps:
            return "No samples are made: set “Sample every” to a number of steps."
        if self.session.forecast is None:
            return ""
        from trainer_core.estimate import formatting

        return formatting.samples(self.session.forecast.estimate, plan)


def _prompts(values: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """The prompts of a job as tables; if a value is not a list, which the draft refuses, the single one."""
    found = values[PATH]
    if isinstance(found, tuple) and found and all(isinstance(each, dict) and "text" in each for each in found):
        return found
    return ({"text": str(values[SINGLE])},)
