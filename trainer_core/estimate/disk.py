"""The disk space a run takes: caches, checkpoints, samples and the result, all below its run folder.

Pictures and finished files are linked, not copied, where the file system can; that is counted as no space.
"""

from __future__ import annotations

from trainer_core.estimate.duration import files_saved, pictures_drawn
from trainer_core.estimate.job import GIB, Job

LATENT = {"vae_sd": (8, 4), "vae_flux": (8, 16), "vae_qwen": (8, 16), "vae_hunyuan": (32, 64)}
"""By VAE: how many pixels one side of a latent place covers, and how many numbers a place has."""
CAPTION_BYTES = {"clip_l": 77 * 768 * 4, "clip_h": 77 * 1024 * 4, "clip_g": 77 * 1280 * 4 + 5120}
"""What is kept of an encoded caption, in 32 bits."""
LONG_CAPTION_BYTES = 512 * 4096 * 4
"""The same for a large text encoder: 512 tokens of at most 4096 numbers."""
SAMPLE_BYTES = 1.6
"""Of a PNG, for a pixel."""
LOGS_BYTES = 20e6


def disk_gib(job: Job) -> float:
    """What the run's folder grows to, in GiB."""
    plan = job.plan
    pixels = plan.sampling.width * plan.sampling.height
    parts = job.images * (_latent_bytes(job) + _caption_bytes(job))
    files = files_saved(job) * _checkpoint_bytes(job) + (job.result_bytes if plan.output.copy_to else 0)
    return (parts + files + pictures_drawn(job) * pixels * SAMPLE_BYTES + LOGS_BYTES) / GIB


def _latent_bytes(job: Job) -> float:
    if not job.plan.memory.cache_latents:
        return 0.0
    pixels, numbers = LATENT[job.model.vae]
    turned = 2 if job.plan.dataset.flip else 1
    return turned * numbers * 4 * (job.plan.dataset.resolution / pixels) ** 2


def _caption_bytes(job: Job) -> float:
    if not job.caches_captions:
        return 0.0
    return sum(CAPTION_BYTES.get(name, LONG_CAPTION_BYTES) for name in job.model.encoders)


def _checkpoint_bytes(job: Job) -> float:
    state = job.trained_parameters * job.optimizer_bytes if job.habits.state_in_checkpoints else 0
    return job.result_bytes + state
