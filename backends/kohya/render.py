"""A plan in the words of sd-scripts: a configuration, a dataset description, prompts and a command.

Source: sd-scripts at the pinned commit: library/train_util.py (arguments), library/config_util.py (dataset).
"""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import tomli_w

from trainer_core import places
from trainer_core.backend import ArtefactPattern, Artefacts, BackendManifest, JobSpec, Metrics, Place
from trainer_core.plan.sections import TrainingPlan

ID = "kohya"
FILES = PurePosixPath("engine")
CONFIG, DATASET, PROMPTS = FILES / "config.toml", FILES / "dataset.toml", FILES / "prompts.json"
METRICS_FOLDER = "metrics"
LOSS_TAG = "loss/current"
LEARNING_RATE_TAGS = ("lr/d*lr/unet", "lr/unet", "lr/d*lr/group0", "lr/group0", "lr/group1")
"""Source: train_network.py, generate_step_logs. Prodigy's real rate is d*lr; its lr stays 1."""
SAMPLER = "euler"
"""Deterministic, so that samples of one seed are comparable over the run."""


def render(plan: TrainingPlan, place: Place, manifest: BackendManifest) -> JobSpec:
    """The files and the command for a plan without blocking problems."""
    claim = manifest.families[plan.model.family]
    checkout = place.checkout or place.run
    files = {
        CONFIG: tomli_w.dumps(config(plan, place, manifest)),
        DATASET: tomli_w.dumps(dataset(plan, place)),
    }
    if plan.sampling.every_steps:
        files[PROMPTS] = json.dumps(prompts(plan), indent=2, ensure_ascii=False) + "\n"
    return JobSpec(
        backend=manifest.id,
        files=files,
        # Run directly: stopping accelerate's launcher alone would leave the trainer running.
        command=(str(place.python), str(checkout / claim.options["script"]), "--config_file", str(place.run / CONFIG)),
        environment=environment(place),
        working_directory=place.run,
        total_steps=plan.schedule.steps,
        metrics=Metrics("tensorboard", place.run / METRICS_FOLDER, LOSS_TAG, LEARNING_RATE_TAGS),
        artefacts=artefacts(plan.output_stem),
    )


def config(plan: TrainingPlan, place: Place, manifest: BackendManifest) -> dict[str, dict[str, Any]]:
    """The tables of the configuration file; the engine ignores their names and merges them."""
    family = manifest.families[plan.model.family].options
    tables = {
        "model": _model(plan, place, family),
        "dataset": _caches(plan, place, family),
        "network": _network(plan),
        "optimizer": _optimizer(plan, manifest),
        "training": _training(plan),
        "output": _output(plan, place),
        "sampling": _sampling(plan, place),
        "native": dict(plan.native.get(ID, {})),
    }
    return {name: table for name, table in tables.items() if table}


def _model(plan: TrainingPlan, place: Place, family: Mapping[str, Any]) -> dict[str, Any]:
    table: dict[str, Any] = {"pretrained_model_name_or_path": _absolute(plan.model.path)}
    if plan.model.vae:
        table["vae"] = _absolute(plan.model.vae)
    if plan.model.prediction == "v_prediction":
        # Models of this kind were trained with noise up to pure noise; the engine warns about one without the other.
        table |= {"v_parameterization": True, "zero_terminal_snr": True}
    if family["clip_skip"] and plan.model.clip_skip > 1:
        # Left out for 1, which means the same: the engine's way to it does not work in bf16 on a CPU.
        table["clip_skip"] = plan.model.clip_skip
    if family["no_half_vae"]:
        table["no_half_vae"] = True
    if tokenizers := place.options.get("tokenizers"):
        table["tokenizer_cache_dir"] = str(tokenizers)
    return table


def _caches(plan: TrainingPlan, place: Place, family: Mapping[str, Any]) -> dict[str, Any]:
    cached = plan.memory.cache_latents
    table = {
        "dataset_config": str(place.run / DATASET),
        "cache_latents": cached,
        # Caches land beside the staged pictures, which belong to this run alone, so they are never stale.
        "cache_latents_to_disk": cached,
        # Reading cached latents is no work; each worker would cost memory and time to start.
        "max_data_loader_n_workers": 0 if cached else 4,
        "persistent_data_loader_workers": not cached,
    }
    if family["cache_text_encoder"]:
        cached = plan.memory.cache_text_encoder
        table |= {"cache_text_encoder_outputs": cached, "cache_text_encoder_outputs_to_disk": cached}
    return table


def _network(plan: TrainingPlan) -> dict[str, Any]:
    return {
        "network_module": "networks.lora",
        "network_dim": plan.network.rank,
        "network_alpha": float(plan.network.alpha),
        "network_train_unet_only": not plan.network.train_text_encoder,
    }


def _optimizer(plan: TrainingPlan, manifest: BackendManifest) -> dict[str, Any]:
    optimizer, schedule = plan.optimizer, plan.schedule
    fixed = manifest.tables.get("optimizer_arguments", {}).get(optimizer.name, [])
    return {
        "optimizer_type": manifest.optimizers[optimizer.name],
        "optimizer_args": [*fixed, f"weight_decay={float(optimizer.weight_decay)!r}"],
        "learning_rate": float(optimizer.learning_rate),
        "unet_lr": float(optimizer.learning_rate),
        "text_encoder_lr": [float(optimizer.text_encoder_learning_rate)],
        "max_grad_norm": float(optimizer.max_grad_norm),
        "lr_scheduler": schedule.scheduler,
        "lr_scheduler_num_cycles": schedule.restarts,
        # A whole number means steps; 0.1 would mean a tenth of the run.
        "lr_warmup_steps": int(schedule.warmup_steps),
    }


def _training(plan: TrainingPlan) -> dict[str, Any]:
    schedule, memory = plan.schedule, plan.memory
    table: dict[str, Any] = {
        "max_train_steps": schedule.steps,
        "gradient_accumulation_steps": schedule.gradient_accumulation,
        "seed": schedule.seed,
        "mixed_precision": memory.mixed_precision,
        "gradient_checkpointing": memory.gradient_checkpointing,
        "sdpa": True,
    }
    if schedule.min_snr_gamma:
        table["min_snr_gamma"] = float(schedule.min_snr_gamma)
    if schedule.noise_offset:
        table["noise_offset"] = float(schedule.noise_offset)
    return table


def _output(plan: TrainingPlan, place: Place) -> dict[str, Any]:
    table: dict[str, Any] = {
        "output_dir": str(place.output),
        "output_name": plan.output_stem,
        "save_model_as": "safetensors",
        "save_precision": plan.output.save_precision,
        # Written out after each step. Source: accelerate 1.6.0, TensorBoardTracker.log flushes.
        "logging_dir": str(place.run / METRICS_FOLDER),
        "log_with": "tensorboard",
    }
    if plan.output.save_every_steps:
        table["save_every_n_steps"] = plan.output.save_every_steps
    return table


def _sampling(plan: TrainingPlan, place: Place) -> dict[str, Any]:
    if not plan.sampling.every_steps:
        return {}
    return {
        "sample_every_n_steps": plan.sampling.every_steps,
        "sample_at_first": plan.sampling.at_start,
        "sample_prompts": str(place.run / PROMPTS),
        "sample_sampler": SAMPLER,
    }


def dataset(plan: TrainingPlan, place: Place) -> dict[str, Any]:
    """The dataset description. Its types are exact: the engine refuses 0 where it wants 0.0."""
    settings, native = plan.dataset, plan.native.get(ID, {})
    step, side = settings.bucket_step, settings.resolution
    subset: dict[str, Any] = {
        "image_dir": str(place.dataset),
        "num_repeats": settings.repeats,
        "caption_extension": settings.caption_extension,
        "shuffle_caption": settings.shuffle_captions,
        "keep_tokens": settings.keep_tokens,
        "caption_dropout_rate": float(settings.caption_dropout),
        "flip_aug": settings.flip,
    }
    if settings.trigger:
        subset["class_tokens"] = settings.trigger
    table = {
        "resolution": side,
        "batch_size": plan.schedule.batch_size,
        "enable_bucket": settings.bucketing,
        "bucket_reso_steps": step,
        # Half and double the side: shapes up to 4:1. The engine's own bounds would stop a run below 256 px.
        # What stands in this file covers what stands in the configuration, where native settings go.
        "min_bucket_reso": native.get("min_bucket_reso", min(side, max(step, side // 2 // step * step))),
        "max_bucket_reso": native.get("max_bucket_reso", max(step, -(-side * 2 // step) * step)),
        "subsets": [subset],
    }
    return {"datasets": [table]}


def prompts(plan: TrainingPlan) -> list[dict[str, Any]]:
    """The sample prompts as data: in the engine's text form, " --w" inside a prompt would be read as an option."""
    sampling = plan.sampling
    prompt = {
        "prompt": sampling.prompt.replace("{trigger}", plan.dataset.trigger).strip(" ,"),
        "width": sampling.width,
        "height": sampling.height,
        "sample_steps": sampling.inference_steps,
        "scale": float(sampling.guidance),
        "seed": sampling.seed,
    }
    if sampling.negative_prompt:
        prompt["negative_prompt"] = sampling.negative_prompt
    return [prompt]


def environment(place: Place) -> dict[str, str]:
    """What the engine's process needs beyond the user's environment."""
    variables = {
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
        # Its log is wrapped at 80 columns otherwise, which breaks sentences over lines.
        "COLUMNS": "300",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if place.checkout:
        # The engine asks git for its commit; in a plain folder git would answer with the commit of a folder above.
        variables["GIT_CEILING_DIRECTORIES"] = str(place.checkout.parent)
    if place.options.get("offline"):
        variables |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    return variables


def artefacts(stem: str) -> Artefacts:
    """What the engine calls its files; a sample before training is e000000.

    Source: library/train_util.py, STEP_FILE_NAME and sample_image_inference.
    """
    name, shown = re.escape(stem), glob.escape(stem)
    return Artefacts(
        final=ArtefactPattern(f"{shown}.safetensors", rf"^{name}\.safetensors$"),
        checkpoints=ArtefactPattern(f"{shown}-step*.safetensors", rf"^{name}-step(?P<step>\d{{8}})\.safetensors$"),
        samples=ArtefactPattern(
            f"sample/{shown}_*.png",
            rf"^sample/{name}_e?(?P<step>\d{{6,}})_(?P<prompt>\d{{2}})_\d{{14}}(?:_-?\d+)?\.png$",
        ),
    )


def _absolute(path: str) -> str:
    """The path as the engine needs it: it runs in the run folder, not where the user stood."""
    return str(places.typed(path).absolute())
