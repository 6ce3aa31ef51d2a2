"""How long a training takes: the operations of its steps divided by the speed of the device, plus caching and sampling.

Source: the operations in activations.toml, the speeds in cards.toml, and real runs on a CPU. No GPU was measured.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from trainer_core.estimate import models
from trainer_core.estimate.job import Workload, mean_area, seen_side, side_shares
from trainer_core.files import read_toml
from trainer_core.plan.sections import TrainingPlan

EFFICIENCY = {"unet": (0.15, 0.5), "transformer": (0.22, 0.6)}
"""(lowest, highest) share of a GPU's peak speed that a training reaches; convolutions and small matrices reach less."""
LAUNCH_S = (0.03, 0.35)
"""(least, most) seconds of a step in addition to its operations: launching thousands of kernels, the optimizer, data."""
PASS_LAUNCHES = 0.33
"""The part of the launches of a step that a forward pass needs."""
BUS_BYTES_S = (6e9, 25e9)
"""(lowest, highest) transfer rate between system RAM and VRAM."""
READ_BYTES_S = (0.2e9, 3e9)
"""(lowest, highest) read rate of a model file."""
SAVE_S = (1, 30)
"""(least, most) seconds to save a file."""
LAPTOP = re.compile(r"\b(?:laptop|mobile|max q)\b")
"""Matches the name of a laptop GPU in which punctuation is replaced by spaces."""


def rate(job: Workload) -> tuple[tuple[float, float], bool]:
    """((lowest, highest) operations per second, whether the speed of the device is known)."""
    table, name = _cards(), " ".join(re.findall(r"[a-z0-9]+", job.device.name.lower()))
    low, high = EFFICIENCY[job.model.kind]
    if not job.has_gpu:
        half = table["cpu"]["half"] if job.compute_bytes == 2 else 1.0
        least, most = (each * job.cpus * half for each in table["cpu"]["core"])
        return (least * 1e12, most * 1e12), True
    slower = 0.5 if job.compute_bytes == 4 else 1.0
    for words, tflops, *throttle in table["cards"]:
        if f" {words} " in f" {name} ":
            share = (throttle[0] if throttle else 1.0) * (table["laptop"] if LAPTOP.search(name) else 1.0)
            return (tflops * low * slower * share * 1e12, tflops * high * slower * 1e12), True
    least, most = table["classes"].get(job.device.kind, table["classes"]["cuda"])
    return (least * low * slower * 1e12, most * high * slower * 1e12), False


def _passes(job: Workload) -> int:
    """The operations of training an image in forward passes: the backward pass is 1 for a frozen weight and 2 for a trained one.

    Gradient checkpointing repeats the forward pass.
    """
    return (3 if job.trains_model else 2) + (1 if job.plan.memory.gradient_checkpointing else 0)


def step_operations(job: Workload) -> float:
    """The operations of one optimizer step."""
    plan = job.plan
    images = plan.schedule.batch_size * plan.schedule.gradient_accumulation
    forward = sum(share * job.model.forward_operations(seen_side(job, side)) for side, share in side_shares(job))
    passes = _passes(job)
    encoders = 0 if job.caches_captions else sum(models.parts()[name].parameters for name in job.model.encoders)
    encoders += 2 * sum(part.parameters for part in job.trained_encoders)
    vae = models.parts()[job.model.vae]
    encoding = 0 if plan.memory.cache_latents else vae.encode_operations * mean_area(job)
    return images * (forward * passes + (2 * encoders * 77 + encoding) * job.model.others_scale)


def step_s(job: Workload) -> tuple[float, float]:
    """The likely (least, most) seconds of an optimizer step."""
    (least, most), _ = rate(job)
    operations = step_operations(job)
    launch = [each * job.plan.schedule.gradient_accumulation for each in LAUNCH_S]
    moved = 2 * _moved_bytes(job) * job.plan.schedule.gradient_accumulation
    if not job.has_gpu:
        return operations / most, operations / least + launch[1]
    # Transfers run in parallel with the computation; at best most of their time is hidden.
    return (
        operations / most + launch[0] + 0.2 * moved / BUS_BYTES_S[1],
        operations / least + launch[1] + moved / BUS_BYTES_S[0],
    )


def seconds(job: Workload, step: tuple[float, float], sampled: tuple[float, float]) -> tuple[float, float]:
    """The likely (least, most) seconds of a whole run, from those of a step and those of all samples."""
    before, after = _around(job, sampled)
    # An image that is only validated takes a forward pass, which is a part of what a trained one takes.
    each = job.plan.schedule.batch_size * job.plan.schedule.gradient_accumulation * _passes(job)
    steps = job.plan.schedule.steps + job.validated / each
    return step[0] * steps + before[0] + after[0], step[1] * steps + before[1] + after[1]


def _around(job: Workload, sampled: tuple[float, float]) -> tuple[tuple[float, float], tuple[float, float]]:
    """(least, most) seconds before the first step, and for samples and saving."""
    (least, most), _ = rate(job)
    plan, vae = job.plan, models.parts()[job.model.vae]
    numbers = job.model.parameters + job.model.other_parameters
    encoded = job.images * vae.encode_operations * mean_area(job) if plan.memory.cache_latents else 0
    encoded += (
        job.images * 154 * sum(models.parts()[name].parameters for name in job.model.encoders)
        if job.caches_captions
        else 0
    )
    encoded *= job.model.others_scale
    start = [each + 2 * numbers / speed for each, speed in zip(job.costs.start_s, reversed(READ_BYTES_S), strict=True)]
    saves = files_saved(job)
    low, high = encoded / most, encoded / least + 0.1 * job.images
    return (start[0] + low, start[1] + high), (sampled[0] + saves * SAVE_S[0], sampled[1] + saves * SAVE_S[1])


def times_sampled(plan: TrainingPlan) -> int:
    """How often a run makes samples: one image of each prompt every time."""
    sampling, steps = plan.sampling, plan.schedule.steps
    return steps // sampling.every_steps + (1 if sampling.at_start else 0) if sampling.every_steps else 0


def sampling_operations(job: Workload) -> float:
    """The operations of all samples of the run."""
    vae = models.parts()[job.model.vae]
    each = (
        2 * prompt.inference_steps * job.model.forward_operations(round((prompt.width * prompt.height) ** 0.5))
        + vae.decode_operations * prompt.width * prompt.height * job.model.others_scale
        for prompt in job.plan.sample_prompts
    )
    return times_sampled(job.plan) * sum(each)


def samples_made(plan: TrainingPlan) -> int:
    """The number of sample images of a run."""
    return times_sampled(plan) * len(plan.sample_prompts)


def sampling_s(job: Workload, step: tuple[float, float]) -> tuple[float, float]:
    """The likely (least, most) seconds that the samples of the run take.

    `step` are those of a step: if they are measured, the device is as much faster or slower for samples, too. What of a step
    is computation and what is launching kernels is not measured, so both possible shares are calculated.
    """
    (least, most), _ = rate(job)
    operations, calculated = sampling_operations(job), step_s(job)
    if not operations:
        return 0.0, 0.0
    if step == calculated:
        return operations / most, operations / least
    accumulated, own = job.plan.schedule.gradient_accumulation, step_operations(job)
    passes = times_sampled(job.plan) * sum(prompt.inference_steps for prompt in job.plan.sample_prompts)
    found = []
    for taken in step:
        for launch in LAUNCH_S:
            launching = min(taken, launch * accumulated)
            # A step launches the kernels of a forward and a backward pass, and of the optimizer; a sample those of the first.
            launched = passes * launching / accumulated * PASS_LAUNCHES
            found.append((taken - launching) * operations / own + launched)
    return min(found), max(found)


def files_saved(job: Workload) -> int:
    """The number of times that the run saves a file."""
    every, steps = job.plan.output.save_every_steps, job.plan.schedule.steps
    return 1 + (steps // every if every else 0)


def files_kept(job: Workload) -> int:
    """The number of saved files that are there at a time: with `output.keep_last` also the next one, before the oldest goes."""
    kept = job.plan.output.keep_last
    output = job.plan.output
    if job.costs.checkpoint_beside_state and output.keep_states and not output.save_every_steps:
        return files_saved(job) + 2
    return min(files_saved(job), kept + 2) if kept else files_saved(job)


def _moved_bytes(job: Workload) -> float:
    """Bytes of swapped blocks that a step transfers in one direction between system RAM and VRAM."""
    number = 1 if job.plan.memory.fp8_base and job.is_network else job.compute_bytes
    swapped = job.model.swapped_parameters(job.plan.memory.blocks_to_swap, paired=job.costs.paired_swap)
    return swapped * number


@functools.cache
def _cards() -> dict[str, Any]:
    return read_toml(models.FOLDER / "cards.toml", hint="Install Easel again.")
