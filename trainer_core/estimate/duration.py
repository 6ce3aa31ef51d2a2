"""How long a training takes: operations of a step over what the device computes, what is encoded before, and samples.

Source: the operations in activations.toml, cards.toml, and real runs on a CPU. No GPU was measured.
"""

from __future__ import annotations

import functools
import re
import tomllib
from typing import Any

from trainer_core.errors import EaselError
from trainer_core.estimate import models
from trainer_core.estimate.job import Job

EFFICIENCY = {"unet": (0.15, 0.5), "transformer": (0.22, 0.6)}
"""The share of what a card computes at most that a training reaches; convolutions and small matrices reach less."""
LAUNCH_S = (0.03, 0.35)
"""What a step takes beside its operations: starting some thousand small ones, the optimizer, data."""
BUS_BYTES_S = (6e9, 25e9)
"""What moves between computer and card in a second."""
READ_BYTES_S = (0.2e9, 3e9)
"""What is read of a model's file in a second."""
SAVE_S = (1, 30)
LAPTOP = re.compile(r"\b(?:laptop|mobile|max q)\b")
"""Of a laptop's card, with the marks in its name taken as spaces."""


def rate(job: Job) -> tuple[tuple[float, float], bool]:
    """(least and most operations a second that are reached, whether the device is known)."""
    table, name = _cards(), " ".join(re.findall(r"[a-z0-9]+", job.device.name.lower()))
    low, high = EFFICIENCY[job.model.kind]
    if not job.has_gpu:
        half = table["cpu"]["half"] if job.compute_bytes == 2 else 1.0
        least, most = (each * job.cpus * half for each in table["cpu"]["core"])
        return (least * 1e12, most * 1e12), True
    slower = 0.5 if job.compute_bytes == 4 else 1.0
    for words, tflops, *held_back in table["cards"]:
        if f" {words} " in f" {name} ":
            share = (held_back[0] if held_back else 1.0) * (table["laptop"] if LAPTOP.search(name) else 1.0)
            return (tflops * low * slower * share * 1e12, tflops * high * slower * 1e12), True
    least, most = table["classes"].get(job.device.kind, table["classes"]["cuda"])
    return (least * low * slower * 1e12, most * high * slower * 1e12), False


def step_operations(job: Job) -> float:
    """The operations of one optimizer step."""
    plan = job.plan
    pictures = plan.schedule.batch_size * plan.schedule.gradient_accumulation
    forward = job.model.forward_operations(plan.dataset.resolution)
    # Backwards a frozen weight is passed once, a trained one twice; checkpointing goes forward once more.
    passes = (3 if job.trains_model else 2) + (1 if plan.memory.gradient_checkpointing else 0)
    words = 0 if job.caches_captions else sum(models.parts()[name].parameters for name in job.model.encoders)
    words += 2 * sum(part.parameters for part in job.trained_encoders)
    vae = models.parts()[job.model.vae]
    seeing = 0 if plan.memory.cache_latents else vae.encode_operations * plan.dataset.resolution**2
    return pictures * (forward * passes + 2 * words * 77 + seeing)


def step_s(job: Job) -> tuple[float, float]:
    """The least and the most seconds an optimizer step is likely to take."""
    (least, most), _ = rate(job)
    operations = step_operations(job)
    beside = [each * job.plan.schedule.gradient_accumulation for each in LAUNCH_S]
    moved = 2 * _moved_bytes(job) * job.plan.schedule.gradient_accumulation
    if not job.has_gpu:
        return operations / most, operations / least + beside[1]
    # Swapping runs beside the calculation, at best so that nobody waits for it.
    return operations / most + beside[0] + 0.2 * moved / BUS_BYTES_S[1], operations / least + beside[
        1
    ] + moved / BUS_BYTES_S[0]


def seconds(job: Job, step: tuple[float, float]) -> tuple[float, float]:
    """The least and the most seconds of a whole run whose steps take so long."""
    before, after = _around(job)
    steps = job.plan.schedule.steps
    return step[0] * steps + before[0] + after[0], step[1] * steps + before[1] + after[1]


def _around(job: Job) -> tuple[tuple[float, float], tuple[float, float]]:
    """Seconds before the first step, and of samples and files."""
    (least, most), _ = rate(job)
    plan, vae = job.plan, models.parts()[job.model.vae]
    numbers = job.model.parameters + sum(
        models.parts()[name].parameters for name in (*job.model.encoders, job.model.vae)
    )
    encoded = job.images * vae.encode_operations * plan.dataset.resolution**2 if plan.memory.cache_latents else 0
    encoded += (
        job.images * 154 * sum(models.parts()[name].parameters for name in job.model.encoders)
        if job.caches_captions
        else 0
    )
    start = [each + 2 * numbers / speed for each, speed in zip(job.habits.start_s, reversed(READ_BYTES_S), strict=True)]
    sampling = plan.sampling
    drawn = pictures_drawn(job) * (
        2 * sampling.inference_steps * job.model.forward_operations(round((sampling.width * sampling.height) ** 0.5))
        + vae.decode_operations * sampling.width * sampling.height
    )
    saves = files_saved(job)
    low, high = encoded / most, encoded / least + 0.1 * job.images
    return (start[0] + low, start[1] + high), (drawn / most + saves * SAVE_S[0], drawn / least + saves * SAVE_S[1])


def pictures_drawn(job: Job) -> int:
    """How many sample pictures the run makes."""
    sampling, steps = job.plan.sampling, job.plan.schedule.steps
    return steps // sampling.every_steps + (1 if sampling.at_start else 0) if sampling.every_steps else 0


def files_saved(job: Job) -> int:
    """How many times the run saves what it trains."""
    every, steps = job.plan.output.save_every_steps, job.plan.schedule.steps
    return 1 + (steps // every if every else 0)


def _moved_bytes(job: Job) -> float:
    """What moves between computer and card in one direction in a step: swapped blocks and offloaded checkpoints."""
    number = 1 if job.plan.memory.fp8_base and job.is_network else job.compute_bytes
    waiting = job.model.swapped_parameters(job.plan.memory.blocks_to_swap, paired=job.habits.paired_swap)
    return waiting * number


@functools.cache
def _cards() -> dict[str, Any]:
    path = models.FOLDER / "cards.toml"
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EaselError(f"{path.name} of the estimate cannot be used: {error}", "Install Easel again.") from error
