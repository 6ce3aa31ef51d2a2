"""The estimate: what a plan will take, as ranges, with what they stand on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from trainer_core.estimate import disk, duration, memory
from trainer_core.estimate.job import GIB, Job
from trainer_core.estimate.past import Past, alike
from trainer_core.plan.facts import Facts
from trainer_core.plan.sections import TrainingPlan
from trainer_core.text import printable

if TYPE_CHECKING:
    from trainer_core.backend import BackendManifest

Range = tuple[float, float]
UNKNOWN: Range = (0.0, 0.0)
PAST_SPREAD = 0.1
"""How far a run of the same settings may lie off; more is added the further the settings are away."""


@dataclass(frozen=True)
class Estimate:
    """What a plan will take. Ranges are (least, most) likely.

    `epochs` is None without a dataset; where the family is unknown, `seconds` and `vram_gib` are (0, 0) and the others 0; so are
    the `seconds` of an engine that only plays a training.
    `vram_gib` is of the GPU, (0, 0) on a CPU; `ram_gib` of the computer, `disk_gib` of the run folder, `lora_mib` the size of
    the file that is trained. `basis` are the sentences on what it stands on.
    """

    steps: int
    epochs: float | None
    seconds: Range
    vram_gib: Range
    ram_gib: float
    disk_gib: float
    lora_mib: float
    basis: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The estimate as JSON data, ranges as lists, rounded to what can be meant."""
        return {
            "steps": self.steps,
            "epochs": None if self.epochs is None else round(self.epochs, 2),
            "seconds": [round(each) for each in self.seconds],
            "vram_gib": [round(each, 1) for each in self.vram_gib],
            "ram_gib": round(self.ram_gib, 1),
            "disk_gib": round(self.disk_gib, 2),
            "lora_mib": round(self.lora_mib, 2),
            "basis": list(self.basis),
        }


def estimate(
    plan: TrainingPlan, facts: Facts, past: Sequence[Past] = (), manifest: BackendManifest | None = None
) -> Estimate:
    """What a plan will take on this machine with an engine.

    `past` are finished runs (`past_runs`); the one nearest to the plan is taken as a measurement. Without `manifest`
    nothing is supposed of the engine.
    """
    steps, job = plan.schedule.steps, Job.of(plan, facts, manifest)
    images = len(facts.dataset.pictures) if facts.dataset else 0
    if job is None:
        family = printable(plan.model.family, 40) or "an unknown family"
        return Estimate(
            steps, epochs(plan, images), UNKNOWN, UNKNOWN, 0.0, 0.0, 0.0, (f"Nothing is known of {family}.",)
        )
    own = alike(past, job.habits.id, plan, job.model.family, job.device.name)
    step, timed = _from_past(job, duration.step_s(job), own, lambda one: one.step_s, duration.step_s)
    timed = "" if job.habits.rehearses else timed
    vram, seen = memory.vram_gib(job), ""
    if job.has_gpu:
        vram, seen = _from_past(job, vram, own, lambda one: one.vram_bytes / GIB, memory.vram_gib)
    ram, _ = _from_past(job, _about(job), own, lambda one: one.ram_bytes / GIB, _about)
    return Estimate(
        steps,
        epochs(plan, images),
        UNKNOWN if job.habits.rehearses else duration.seconds(job, step),
        vram,
        _middle(ram),
        disk.disk_gib(job),
        job.result_bytes / 2**20,
        tuple(sentence for sentence in _basis(job, facts, timed, seen) if sentence),
    )


def epochs(plan: TrainingPlan, images: int) -> float | None:
    """How often each picture is shown, repeats apart; None without pictures. The last batch of an epoch may be smaller."""
    if not images:
        return None
    batches = math.ceil(images * plan.dataset.repeats / plan.schedule.batch_size)
    return plan.schedule.steps * plan.schedule.gradient_accumulation / batches


def _from_past(
    job: Job, own: Range, past: list[Past], measured: Callable[[Past], float], modelled: Callable[[Job], Range]
) -> tuple[Range, str]:
    """A range from the measurement of the nearest run, and the run's name; the estimate's own range without one."""
    known = [(_middle(modelled(_job_of(job, one))), measured(one), one.name) for one in past if measured(one)]
    known = [entry for entry in known if entry[0] > 0]
    if not known or _middle(own) <= 0:
        return own, ""
    middle = _middle(own)
    modelled_then, value, name = min(known, key=lambda entry: abs(math.log(middle / entry[0])))
    ratio = middle / modelled_then
    spread = 1 + PAST_SPREAD + abs(math.log(ratio)) / 4
    return (value * ratio / spread, value * ratio * spread), name


def _job_of(job: Job, past: Past) -> Job:
    """The job of a past run, as far as its record tells."""
    return replace(job, plan=past.plan, device=past.machine.accelerator, cpus=past.machine.cpus)


def _about(job: Job) -> Range:
    """The computer's own memory, as a range that is no wider than its figure."""
    return memory.ram_gib(job), memory.ram_gib(job)


def _middle(span: Range) -> float:
    """The geometric middle of a range."""
    return math.sqrt(max(span[0], 0) * max(span[1], 0))


def _basis(job: Job, facts: Facts, timed: str, seen: str) -> list[str]:
    model, (_, is_card_known) = job.model, duration.rate(job)
    plays = job.habits.rehearses
    largest = memory.phases(job)[0].name if job.has_gpu else ""
    named = facts.detection.variant if facts.detection else ""
    return [
        f"{model.parameters / 1e9:.2f} billion parameters in the diffusion model, counted from the real classes.",
        f"It is taken as {model.variant}, the largest of its family."
        if model.variant and model.variant != named
        else "",
        f"Memory is highest while {largest}." if largest else "No GPU: all memory is the computer's own.",
        f"Memory follows the peak of your run {printable(seen, 80)}." if seen else "",
        "Memory is calculated and was not measured on a GPU." if job.has_gpu and not seen else "",
        ""
        if seen or not job.has_gpu or model.family in memory.CITED
        else "Nobody cites a figure for this family: the range is wider.",
        f"Time follows the speed of your run {printable(timed, 80)}." if timed else "",
        "This engine plays a training and makes none, so no time is told." if plays else "",
        ""
        if timed or is_card_known or plays
        else f"{printable(job.device.name, 60)} is in no table: its speed is that of its class.",
        "Time is calculated from operations and what such a card is said to compute at most."
        if job.has_gpu and is_card_known and not timed and not plays
        else "",
        "Time is calculated from runs on two cores of another CPU." if not (job.has_gpu or timed or plays) else "",
        "The engine says nothing of its habits; usual ones are supposed." if not job.habits.is_known else "",
        "LyCORIS keeps a whole changed weight beside each layer." if job.is_lycoris else "",
        "" if facts.dataset else "Without a dataset, epochs and caches are left out.",
    ]
