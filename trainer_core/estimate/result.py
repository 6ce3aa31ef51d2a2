"""The estimate of a plan, as ranges, with the facts and assumptions that it is based on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from trainer_core.draft.facts import Facts
from trainer_core.engines import batches
from trainer_core.estimate import disk, duration, memory
from trainer_core.estimate.job import GIB, Workload
from trainer_core.estimate.past import Past, alike
from trainer_core.models.families import load_families
from trainer_core.plan.sections import TrainingPlan
from trainer_core.text import plain_number, printable

if TYPE_CHECKING:
    from trainer_core.engines.manifest import BackendManifest

Range = tuple[float, float]
UNKNOWN: Range = (0.0, 0.0)
KNOWN_SPREAD = 3.0
"""A time whose greatest value is more than this many times the least is not known."""
TIMED_SPREAD = 5.0
"""As KNOWN_SPREAD, for a time that is based on the speed of a run: its samples may not be measured."""
PAST_SPREAD = 0.1
"""The relative error if a finished run had the same settings; it grows with the difference of the settings."""


@dataclass(frozen=True)
class Estimate:
    """What a plan will need. Ranges are the likely (least, most).

    `epochs` is None without a dataset. `seconds` is (0, 0) if the engine only simulates a training. `vram_gib` is (0, 0) on a CPU.
    If the family is unknown, `seconds` and `vram_gib` are (0, 0) and the other values 0. `ram_gib` is system RAM, `disk_gib` the
    size of the run folder, of which `states_gib` are states, `lora_mib` the size of the trained file, `samples` the number of
    sample images, which take `sampling_s` of the `seconds`. `is_size_usual`: the model's
    file has the size of the family's model. `is_time_known`: a run was measured here, or the range of
    `seconds` is narrow. `basis` are sentences about facts and assumptions behind it.
    """

    steps: int
    epochs: float | None
    seconds: Range
    vram_gib: Range
    ram_gib: float
    disk_gib: float
    lora_mib: float
    basis: tuple[str, ...]
    states_gib: float = 0.0
    samples: int = 0
    sampling_s: Range = UNKNOWN
    is_time_known: bool = False
    is_size_usual: bool = True

    def as_dict(self) -> dict[str, Any]:
        """The estimate as JSON data, with ranges as lists and rounded values."""
        return {
            "steps": self.steps,
            "epochs": None if self.epochs is None else round(self.epochs, 2),
            "seconds": [round(each) for each in self.seconds],
            "is_time_known": self.is_time_known,
            "is_size_usual": self.is_size_usual,
            "vram_gib": [round(each, 1) for each in self.vram_gib],
            "ram_gib": round(self.ram_gib, 1),
            "disk_gib": round(self.disk_gib, 2),
            "states_gib": round(self.states_gib, 2),
            "samples": self.samples,
            "sampling_s": [round(each) for each in self.sampling_s],
            "lora_mib": round(self.lora_mib, 2),
            "basis": list(self.basis),
        }


def estimate(
    plan: TrainingPlan, facts: Facts, past: Sequence[Past] = (), manifest: BackendManifest | None = None
) -> Estimate:
    """What a plan will need on this machine with an engine.

    `past` are finished runs (`past_runs`); the measurements of the one most similar to the plan are used. Without `manifest`,
    the default costs are used.
    """
    steps, job = plan.schedule.steps, Workload.of(plan, facts, manifest)
    there = facts.dataset
    epochs = batches.epochs(plan, there.sizes, manifest, there.class_sizes, there.more_sizes) if there else None
    if job is None:
        family = printable(plan.model.family, 40) or "an unknown family"
        unknown = (f"Easel has no data about {family}.",)
        return Estimate(steps, epochs, UNKNOWN, UNKNOWN, 0.0, 0.0, 0.0, unknown, samples=duration.samples_made(plan))
    similar = alike(past, job.engine, plan, job.model.family, job.device.name)
    step, timed = _from_past(job, duration.step_s(job), similar, lambda one: one.step_s, duration.step_s)
    timed = "" if job.costs.rehearses else timed
    vram, seen = memory.vram_gib(job), ""
    if job.has_gpu:
        vram, seen = _from_past(job, vram, similar, lambda one: one.vram_bytes / GIB, memory.vram_gib)
    sampled, measured = _from_past(job, _sampling(job), similar, lambda one: one.sampling_s, _sampling)
    sampled = sampled if measured else duration.sampling_s(job, step)
    seconds = UNKNOWN if job.costs.rehearses else duration.seconds(job, step, sampled)
    is_time_known = 0 < seconds[1] <= (TIMED_SPREAD if timed else KNOWN_SPREAD) * seconds[0]
    ram, _ = _from_past(job, _ram(job), similar, lambda one: one.ram_bytes / GIB, _ram)
    return Estimate(
        steps,
        epochs,
        seconds,
        vram,
        _middle(ram),
        disk.disk_gib(job),
        disk.result_bytes(job) / 2**20,
        tuple(sentence for sentence in _basis(job, facts, timed, seen, has_time=is_time_known) if sentence),
        states_gib=disk.states_gib(job),
        samples=duration.samples_made(plan),
        sampling_s=UNKNOWN if job.costs.rehearses else sampled,
        is_size_usual=job.model.scale[0] == 1,
        is_time_known=is_time_known,
    )


def _from_past(
    job: Workload,
    calculated: Range,
    past: list[Past],
    measured: Callable[[Past], float],
    calculate: Callable[[Workload], Range],
) -> tuple[Range, str]:
    """A range from the measurement of the most similar run, and its name; the calculated range if there is no run."""
    known = [(_middle(calculate(_workload_of(job, one))), measured(one), one.name) for one in past if measured(one)]
    known = [entry for entry in known if entry[0] > 0]
    if not known or _middle(calculated) <= 0:
        return calculated, ""
    middle = _middle(calculated)
    middle_of_run, value, name = min(known, key=lambda entry: abs(math.log(middle / entry[0])))
    ratio = middle / middle_of_run
    spread = 1 + PAST_SPREAD + abs(math.log(ratio)) / 4
    return (value * ratio / spread, value * ratio * spread), name


def _workload_of(job: Workload, past: Past) -> Workload:
    """The workload of a past run, as far as its files record it."""
    return replace(job, plan=past.plan, device=past.machine.accelerator, cpus=past.machine.cpus)


def _ram(job: Workload) -> Range:
    """System RAM in GiB, as a range of one value."""
    return memory.ram_gib(job), memory.ram_gib(job)


def _sampling(job: Workload) -> Range:
    """The calculated seconds of the samples of a run."""
    return duration.sampling_s(job, duration.step_s(job))


def _middle(span: Range) -> float:
    """The geometric mean of a range."""
    return math.sqrt(max(span[0], 0) * max(span[1], 0))


def parameters_text(count: int) -> str:
    """A number of parameters for people: "2.57 billion", "1.2 million"."""
    return f"{count / 1e9:.2f} billion" if count >= 1e8 else f"{plain_number(count / 1e6, 2)} million"


def _other_variant(job: Workload, facts: Facts) -> str:
    """That the estimate is for another variant than the model's, with the reason; "" if it is not, or if the two have the same layers."""
    used, told = job.model.variant, job.plan.model.variant or (facts.detection and facts.detection.variant) or ""
    if not used or told in load_families()[job.model.family].alike(used):
        return ""
    why = f"There is no data about the variant {printable(told, 40)}" if told else "The variant is unknown"
    return f"{why}, so the estimate is for {used}, the largest of the family."


def _basis(job: Workload, facts: Facts, timed: str, seen: str, *, has_time: bool) -> list[str]:
    model, (_, is_card_known) = job.model, duration.rate(job)
    simulated = job.costs.rehearses
    largest = memory.phases(job)[0].name if job.has_gpu else ""
    counted = "its header" if facts.detection and facts.detection.size else "the real model classes"
    return [
        f"{parameters_text(model.parameters)} parameters in the diffusion model, counted in {counted}.",
        "Its size is not that of the family's model, so what was measured with that model is scaled."
        if model.scale[0] != 1
        else "",
        _other_variant(job, facts),
        f"Memory is highest while {largest}." if largest else "There is no GPU, so all memory is system RAM.",
        f"Memory is based on the peak of your run {printable(seen, 80)}." if seen else "",
        "Memory is calculated and was not measured on a GPU." if job.has_gpu and not seen else "",
        ""
        if seen or not job.has_gpu or model.family in memory.CITED
        else "There is no published figure for this family, so the range is wider.",
        f"Time is based on the speed of your run {printable(timed, 80)}." if timed else "",
        "This engine only simulates a training, so there is no estimate of the time." if simulated else "",
        ""
        if timed or is_card_known or simulated
        else f"The speed of {printable(job.device.name, 60)} is unknown, so the typical speed of its kind is used.",
        "Time is calculated from the operations and the published peak speed of the GPU."
        if has_time and job.has_gpu and is_card_known and not timed
        else "",
        "Time is calculated from runs on two cores of another CPU." if has_time and not (job.has_gpu or timed) else "",
        "The engine declares no costs, so the defaults are used." if job.declared is None else "",
        "LyCORIS keeps a full changed weight for each layer in addition." if job.is_lycoris else "",
        "" if facts.dataset else "Without a dataset, epochs and caches are not estimated.",
    ]
