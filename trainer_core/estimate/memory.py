"""The memory a training takes: on the device by phases of the run, and of the computer's own.

What is kept (weights, gradients, the optimizer's memory) is counted; what a step works with was measured on models without
weights (activations.toml) and is multiplied by one factor for each kind of model, because engines do more than the bare model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from trainer_core.estimate import models
from trainer_core.estimate.job import GIB, Job
from trainer_core.estimate.models import Part

FACTORS = {"unet": 1.6, "transformer": 1.35}
"""How much more a step of an engine works with than the bare model in 16 bits: norms and their results are kept in 32 bits, the
allocator rounds. Calibrated on two rows of docs/records/2026-11-21-estimates.md; those are marked there."""
SPREAD, WIDE = (0.7, 1.4), (0.55, 1.8)
"""How far what is worked with may lie off: of families that somebody cites a figure for, and of others."""
CITED = frozenset({"sd15", "sd2", "sdxl", "flux", "chroma", "hunyuan_image", "lumina2"})
"""Families whose estimates agree with a figure in docs/records/2026-11-21-estimates.md."""
CAPTIONS_GIB = 0.3
"""What encoding one caption works with."""
TEXT_TOKENS = 77
OFFLOADED = 0.4
"""The share of what is worked with that moves to the computer when checkpoints are offloaded."""


@dataclass(frozen=True)
class Phase:
    """One phase of a run: the bytes that are kept, and those that are worked with."""

    name: str
    kept: float
    worked: float

    @property
    def bytes(self) -> float:
        """The middle of the estimate, without what the driver holds."""
        return self.kept + self.worked

    def range_gib(self, job: Job) -> tuple[float, float]:
        """The least and the most it is likely to take in GiB, with what the engine holds beside."""
        spread, held = SPREAD if job.model.family in CITED else WIDE, job.habits.held_gib
        low, high = ((self.kept + self.worked * each) / GIB for each in spread)
        return low + held[0], high * 1.02 + held[1]


def phases(job: Job) -> list[Phase]:
    """The phases of a run on a GPU, the largest first."""
    found = [_training(job), *_caching(job), *_sampling(job)]
    return sorted(found, key=lambda phase: phase.range_gib(job)[1], reverse=True)


def vram_gib(job: Job) -> tuple[float, float]:
    """The least and the most memory of the GPU it is likely to take; (0, 0) on a CPU."""
    if not job.has_gpu:
        return 0.0, 0.0
    ranges = [phase.range_gib(job) for phase in phases(job)]
    return max(low for low, _ in ranges), max(high for _, high in ranges)


def ram_gib(job: Job) -> float:
    """The most of the computer's own memory a run takes, the mapped pages of the model's file included."""
    habits, model = job.habits, job.model
    numbers = model.parameters + sum(models.parts()[name].parameters for name in (*model.encoders, model.vae))
    is_unet = model.kind == "unet"
    mapped = 2 * numbers if is_unet else 0
    loading = mapped + numbers * (habits.ram_bytes_unet if is_unet else habits.ram_bytes_transformer)
    if not job.has_gpu:
        # Measured peaks are those of loading or of training, whichever is larger; the file stays mapped.
        loading = max(loading, mapped + _training(job).bytes)
    return loading / GIB + habits.ram_runtime_gib + _offloaded(job) / GIB


def _training(job: Job) -> Phase:
    memory, parts = job.plan.memory, models.parts()
    kept = _weights(job) + _learning(job) + _encoders(job)
    worked = _activations(job) + _text_activations(job)
    worked += _whole_changes(job) - _offloaded(job)
    if not memory.cache_latents:
        vae = parts[job.model.vae]
        kept += vae.parameters * job.vae_number_bytes
        worked = max(worked, job.plan.schedule.batch_size * _encoding(job, vae))
    return Phase("training", kept, worked)


def _weights(job: Job) -> float:
    """The diffusion model on the device, less what is swapped."""
    swapped = min(job.plan.memory.blocks_to_swap, sum(count for count, _ in job.model.blocks.values()))
    waiting = job.model.swapped_parameters(swapped, paired=job.habits.paired_swap)
    checkpointing = job.plan.memory.gradient_checkpointing
    if job.trains_model:
        # Without checkpointing autograd keeps the copy in 16 bits that each layer computed with.
        copies = job.compute_bytes if job.trained_bytes > job.compute_bytes and not checkpointing else 0
        return (job.model.parameters - waiting) * job.trained_bytes + job.model.parameters * copies
    if not (job.plan.memory.fp8_base and job.is_network):
        return (job.model.parameters - waiting) * job.compute_bytes
    # The same goes for weights in 8 bits: their copies are kept, so that nothing is saved without checkpointing.
    return (job.model.parameters - waiting) * 1.0 + (0 if checkpointing else job.model.parameters * job.compute_bytes)


def _learning(job: Job) -> float:
    """What is trained beside the model's own weights, gradients, and the optimizer's memory."""
    number = job.trained_bytes
    own = 0 if job.trains_model else job.trained_parameters * number
    if job.is_network:
        own += (job.network.parameters - job.network.trained) * number
    gradients = 0 if job.trains_model and job.plan.memory.fused_backward else number
    return own + job.trained_parameters * (gradients + job.optimizer_bytes)


def _encoders(job: Job) -> float:
    """The text encoders on the device while it trains."""
    trained = {part.id for part in job.trained_encoders}
    staying = [name for name in job.model.encoders if name in trained or not job.caches_captions]
    number = job.trained_bytes
    return sum(
        models.parts()[name].parameters * number if job.trains_model and name in trained else job.encoder_bytes(name)
        for name in staying
    )


def _activations(job: Job) -> float:
    plan, scale = job.plan, FACTORS[job.model.kind] * job.compute_bytes / 2
    checkpointing = plan.memory.gradient_checkpointing
    side = plan.dataset.resolution
    one = job.model.step_bytes(side, trains_model=job.trains_model, checkpointing=checkpointing)
    return plan.schedule.batch_size * one * scale


def _text_activations(job: Job) -> float:
    """What the trained text encoders keep of a caption: inputs and outputs of their layers, and half as much between them."""
    places = job.plan.schedule.batch_size * TEXT_TOKENS * job.compute_bytes
    return sum(1.5 * places * _widths(part) for part in job.trained_encoders)


def _widths(part: Part) -> int:
    return sum(count * sum(int(each) for each in size.split("x")) for size, count in part.layers.items())


def _whole_changes(job: Job) -> float:
    """LyCORIS makes a whole matrix of each change and adds it to the weight: both are kept for the backward pass.

    Fits peaks of real runs on a CPU: LoCon 12.2, LoHa 12.6, LoKr on attention 8.7 GiB beside 6.6 of a LoRA, SD1.5 in 32 bits.
    """
    if not job.is_lycoris:
        return 0.0
    share = 0.1 if job.plan.memory.gradient_checkpointing else 1.0
    return 2 * job.network.weights * job.compute_bytes * share


def _offloaded(job: Job) -> float:
    memory = job.plan.memory
    return OFFLOADED * _activations(job) if memory.offload_checkpointing and memory.gradient_checkpointing else 0.0


def _caching(job: Job) -> Iterator[Phase]:
    """Pictures and captions are encoded before the model comes to the device."""
    parts = models.parts()
    if job.plan.memory.cache_latents:
        vae = parts[job.model.vae]
        yield Phase("encoding pictures", vae.parameters * job.vae_number_bytes, _encoding(job, vae))
    if job.caches_captions and not job.captions_on_cpu:
        kept = sum(job.encoder_bytes(name) for name in job.model.encoders)
        yield Phase("encoding captions", kept, CAPTIONS_GIB * GIB)


def _encoding(job: Job, vae: Part) -> float:
    return vae.encode * job.plan.dataset.resolution**2 * job.vae_number_bytes / 2


def _sampling(job: Job) -> Iterator[Phase]:
    sampling, vae = job.plan.sampling, models.parts()[job.model.vae]
    if not sampling.every_steps:
        return
    kept = _weights(job) + _encoders(job) + vae.parameters * job.vae_number_bytes
    gradients = 0 if job.trains_model and job.plan.memory.fused_backward else job.trained_parameters * job.trained_bytes
    kept += _learning(job) - gradients
    pixels = sampling.width * sampling.height
    decoding = vae.decode * pixels * job.vae_number_bytes / 2
    drawing = (
        2 * job.model.step_bytes(round(pixels**0.5), trains_model=False, checkpointing=True) * job.compute_bytes / 2
    )
    yield Phase("drawing samples", kept, max(decoding, drawing))
