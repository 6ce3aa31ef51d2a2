"""The disk space that a run needs: caches, checkpoints, samples and the result, all in its run folder.

Images and finished files are linked where the file system supports it; links count as no space.
"""

from __future__ import annotations

from trainer_core.estimate import models
from trainer_core.estimate.duration import files_kept, times_sampled
from trainer_core.estimate.job import GIB, Workload, mean_area

LATENT = {
    "vae_sd": (8, 4), "vae_flux": (8, 16), "vae_qwen": (8, 16), "vae_qwen21": (16, 64), "vae_hunyuan": (32, 64), "vae_flux2": (8, 32),
}  # fmt: skip
"""By VAE: the pixels along one side of a latent position, and the number of channels."""
CAPTION_BYTES = {
    "clip_l": 77 * 768 * 4,
    "clip_h": 77 * 1024 * 4,
    "clip_g": 77 * 1280 * 4 + 5120,
    "qwen3_4b": 512 * 3 * 2560 * 4,
    "qwen3_8b": 512 * 3 * 4096 * 4,
    "mistral3_24b": 512 * 3 * 5120 * 4,
    "qwen3_vl_4b": 512 * 12 * 2560 * 4,
}
"""Bytes of a cached caption in 32 bits, by text encoder. FLUX.2 reads three of its layers, Krea 2 twelve."""
LONG_CAPTION_BYTES = 512 * 4096 * 4
"""The same for a large text encoder: at most 512 tokens of 4096 numbers."""
SAMPLE_BYTES = 1.6
"""Bytes per pixel of a PNG."""
LOGS_BYTES = 20e6


def disk_gib(job: Workload) -> float:
    """The largest size of the run folder in GiB, which is its final one if all checkpoints are kept."""
    plan = job.plan
    pixels = times_sampled(plan) * sum(prompt.width * prompt.height for prompt in plan.sample_prompts)
    caches = job.images * (_latent_bytes(job) + _caption_bytes(job))
    files = files_kept(job) * result_bytes(job) + (result_bytes(job) if plan.output.copy_to else 0)
    return states_gib(job) + (caches + files + pixels * SAMPLE_BYTES + LOGS_BYTES) / GIB


def result_bytes(job: Workload) -> int:
    """The size in bytes of the trained file or folder."""
    number_bytes = _file_number_bytes(job)
    if job.is_network:
        return job.network.file_bytes(number_bytes)
    if not job.trains_model:
        widths = [1280 if name == "clip_g" else 768 for name in job.model.encoders if name.startswith("clip")]
        return job.plan.embedding.vectors * sum(widths) * number_bytes + 500
    numbers = job.model.parameters
    if job.model.kind in job.costs.whole_checkpoints:
        numbers += job.model.other_parameters
    return numbers * number_bytes


def _file_number_bytes(job: Workload) -> int:
    """Bytes per number in the saved file."""
    if job.costs.follows_precision:
        return job.compute_bytes
    return 4 if job.plan.output.save_precision == "float" else 2


def _latent_bytes(job: Workload) -> float:
    if not job.plan.memory.cache_latents:
        return 0.0
    pixels, channels = LATENT[job.model.vae]
    copies = 2 if job.plan.dataset.flip else 1
    return copies * channels * 4 * mean_area(job) / pixels**2


def _caption_bytes(job: Workload) -> float:
    if not job.caches_captions:
        return 0.0
    return sum(CAPTION_BYTES.get(name, LONG_CAPTION_BYTES) for name in job.model.encoders)


def states_gib(job: Workload) -> float:
    """The size of the states in GiB. The oldest one is removed only when a new one is complete.

    The guard that goes back after NaN keeps one more: the newest of which it is known that it is good.
    """
    kept = job.plan.output.keep_states
    kept += 1 if kept and job.plan.guards.back_after_nan else 0
    return (kept + 1 if kept or job.costs.state_in_checkpoints else 0) * state_bytes(job) / GIB


def state_bytes(job: Workload) -> float:
    """The size in bytes of one state: what is trained, in the precision of the training, and the optimizer.

    The state of a textual inversion contains the whole text encoders, and the optimizer of all their embeddings.
    """
    if job.is_network or job.trains_model:
        return job.trained_parameters * (job.trained_bytes + job.optimizer_bytes)
    encoders = sum(models.parts()[name].parameters for name in job.model.encoders if name.startswith("clip"))
    return encoders * job.trained_bytes + job.trained_parameters * job.optimizer_bytes
