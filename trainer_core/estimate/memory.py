"""The memory that a training needs: VRAM in each phase of the run, and system RAM.

Permanent memory (weights, gradients, optimizer state) is counted. The working memory of a step was measured on models without
weights (activations.toml) and is multiplied by one factor for each kind of model, because engines use more than the model alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from trainer_core.estimate import models
from trainer_core.estimate.job import GIB, Workload, largest_side, seen_side
from trainer_core.estimate.models import Part

FACTORS = {"unet": 1.6, "transformer": 1.35}
"""The working memory of an engine's step divided by that of the model alone in 16 bits: norms and their results are in 32 bits,
and the allocator rounds up. Calibrated with two rows of docs/records/2026-11-21-estimates.md, which are marked there."""
SPREAD, WIDE = (0.7, 1.4), (0.55, 1.8)
"""(lowest, highest) factor of the working memory: for families with a published figure, and for others."""
CITED = frozenset({"sd15", "sd2", "sdxl", "flux", "chroma", "hunyuan_image", "lumina2"})
"""Families whose estimates agree with a figure in docs/records/2026-11-21-estimates.md."""
CAPTIONS_GIB = 0.3
"""Working memory for encoding one caption."""
TEXT_TOKENS = 77
SAMPLES = "making samples"
"""The name of the phase in which samples are made."""
OFFLOADED = 0.4
"""The share of the working memory that activation offload moves to system RAM."""


@dataclass(frozen=True)
class Phase:
    """One phase of a run: the bytes of permanent and of working memory."""

    name: str
    permanent: float
    working: float

    @property
    def bytes(self) -> float:
        """The middle of the estimate, without the memory that engine and driver hold in addition."""
        return self.permanent + self.working

    def range_gib(self, job: Workload) -> tuple[float, float]:
        """The likely (least, most) GiB, with the memory that the engine holds in addition."""
        spread, held = SPREAD if job.model.family in CITED else WIDE, job.costs.held_gib
        low, high = ((self.permanent + self.working * each) / GIB for each in spread)
        return low + held[0], high * 1.02 + held[1]


def phases(job: Workload) -> list[Phase]:
    """The phases of a run on a GPU, the largest first."""
    found = [_training(job), *_caching(job), *_sampling(job)]
    return sorted(found, key=lambda phase: phase.range_gib(job)[1], reverse=True)


def vram_gib(job: Workload) -> tuple[float, float]:
    """The likely (least, most) VRAM in GiB; (0, 0) on a CPU."""
    if not job.has_gpu:
        return 0.0, 0.0
    ranges = [phase.range_gib(job) for phase in phases(job)]
    return max(low for low, _ in ranges), max(high for _, high in ranges)


def ram_gib(job: Workload) -> float:
    """The peak system RAM of a run in GiB, including the mapped pages of the model file."""
    costs, model = job.costs, job.model
    numbers = model.parameters + sum(models.parts()[name].parameters for name in (*model.encoders, model.vae))
    is_unet = model.kind == "unet"
    mapped = 2 * numbers if is_unet else 0
    peak = mapped + numbers * (costs.ram_bytes_unet if is_unet else costs.ram_bytes_transformer)
    if not job.has_gpu:
        # The measured peak is in loading or in training, whichever needs more; the file stays mapped.
        peak = max(peak, mapped + _training(job).bytes)
    return peak / GIB + costs.ram_runtime_gib + _offloaded(job) / GIB


def _training(job: Workload) -> Phase:
    memory, parts = job.plan.memory, models.parts()
    permanent = _weights(job) + _training_state(job) + _encoders(job)
    working = _activations(job) + _text_activations(job)
    working += _lycoris_matrices(job) - _offloaded(job)
    if not memory.cache_latents:
        vae = parts[job.model.vae]
        permanent += vae.parameters * _vae_number_bytes(job)
        working = max(working, job.plan.schedule.batch_size * _encoding(job, vae))
    return Phase("training", permanent, working)


def _weights(job: Workload) -> float:
    """The bytes of the diffusion model in VRAM, without swapped blocks."""
    blocks = min(job.plan.memory.blocks_to_swap, sum(count for count, _ in job.model.blocks.values()))
    swapped = job.model.swapped_parameters(blocks, paired=job.costs.paired_swap)
    checkpointing = job.plan.memory.gradient_checkpointing
    if job.trains_model:
        # Without gradient checkpointing, autograd keeps the 16-bit copy of each layer's weight until the backward pass.
        copies = job.compute_bytes if job.trained_bytes > job.compute_bytes and not checkpointing else 0
        return (job.model.parameters - swapped) * job.trained_bytes + job.model.parameters * copies
    if not (job.plan.memory.fp8_base and job.is_network):
        return (job.model.parameters - swapped) * job.compute_bytes
    # The same applies to weights in 8 bits: autograd keeps their copies, so that nothing is saved without checkpointing.
    return (job.model.parameters - swapped) * 1.0 + (0 if checkpointing else job.model.parameters * job.compute_bytes)


def _training_state(job: Workload) -> float:
    """The bytes of network or embedding, gradients and optimizer state."""
    number = job.trained_bytes
    own = 0 if job.trains_model else job.trained_parameters * number
    if job.is_network:
        own += (job.network.parameters - job.network.trained) * number
    gradients = 0 if job.trains_model and job.plan.memory.fused_backward else number
    return own + job.trained_parameters * (gradients + job.optimizer_bytes)


def _encoders(job: Workload) -> float:
    """The bytes of the text encoders in VRAM during training."""
    trained = {part.id for part in job.trained_encoders}
    staying = [name for name in job.model.encoders if name in trained or not job.caches_captions]
    number = job.trained_bytes
    return sum(
        models.parts()[name].parameters * number if job.trains_model and name in trained else job.encoder_bytes(name)
        for name in staying
    )


def _activations(job: Workload) -> float:
    plan, scale = job.plan, FACTORS[job.model.kind] * job.compute_bytes / 2
    checkpointing = plan.memory.gradient_checkpointing
    side = seen_side(job, largest_side(job))
    image_bytes = job.model.step_bytes(side, trains_model=job.trains_model, checkpointing=checkpointing)
    return plan.schedule.batch_size * image_bytes * scale


def _text_activations(job: Workload) -> float:
    """The activations of trained text encoders: inputs and outputs of their layers, and half as much between them."""
    token_bytes = job.plan.schedule.batch_size * TEXT_TOKENS * job.compute_bytes
    return sum(1.5 * token_bytes * _widths(part) for part in job.trained_encoders)


def _widths(part: Part) -> int:
    """The sum of the input and output widths of all layers."""
    return sum(count * sum(int(each) for each in size.split("x")) for size, count in part.layers.items())


def _lycoris_matrices(job: Workload) -> float:
    """LyCORIS builds a full matrix for each change and adds it to the weight; both are kept for the backward pass.

    This matches the peaks of real runs on a CPU with SD1.5 in 32 bits: LoCon 12.2, LoHa 12.6, LoKr on attention 8.7 GiB, compared
    with 6.6 GiB of a LoRA.
    """
    if not job.is_lycoris:
        return 0.0
    share = 0.1 if job.plan.memory.gradient_checkpointing else 1.0
    return 2 * job.network.weights * job.compute_bytes * share


def _offloaded(job: Workload) -> float:
    memory = job.plan.memory
    return OFFLOADED * _activations(job) if memory.offload_checkpointing and memory.gradient_checkpointing else 0.0


def _caching(job: Workload) -> Iterator[Phase]:
    """The phases before the model is moved to VRAM, in which images and captions are encoded."""
    parts = models.parts()
    if job.plan.memory.cache_latents:
        vae = parts[job.model.vae]
        yield Phase("encoding images", vae.parameters * _vae_number_bytes(job), _encoding(job, vae))
    if job.caches_captions and not job.captions_on_cpu:
        permanent = sum(job.encoder_bytes(name) for name in job.model.encoders)
        yield Phase("encoding captions", permanent, CAPTIONS_GIB * GIB)


def _encoding(job: Workload, vae: Part) -> float:
    return vae.encode * largest_side(job) ** 2 * _vae_number_bytes(job) / 2


def _sampling(job: Workload) -> Iterator[Phase]:
    vae = models.parts()[job.model.vae]
    if not job.plan.sampling.every_steps:
        return
    permanent = _weights(job) + _encoders(job) + vae.parameters * _vae_number_bytes(job)
    gradients = 0 if job.trains_model and job.plan.memory.fused_backward else job.trained_parameters * job.trained_bytes
    permanent += _training_state(job) - gradients
    pixels = max(prompt.width * prompt.height for prompt in job.plan.sample_prompts)
    decoding = vae.decode * pixels * _vae_number_bytes(job) / 2
    denoising = (
        2 * job.model.step_bytes(round(pixels**0.5), trains_model=False, checkpointing=True) * job.compute_bytes / 2
    )
    yield Phase(SAMPLES, permanent, max(decoding, denoising))


def _vae_number_bytes(job: Workload) -> int:
    """Bytes per parameter of the VAE."""
    return 4 if job.model.family in job.costs.vae_in_32_bits else job.compute_bytes
