"""A plan in the words of SimpleTuner: a configuration, a list of data backends and a command.

Source: SimpleTuner 4.10.1 and 3.1.6, both run; simpletuner/helpers/configuration and documentation/OPTIONS.md.
"""

from __future__ import annotations

import json
import re
from pathlib import Path, PurePosixPath
from typing import Any

from trainer_core import places
from trainer_core.backend import ArtefactPattern, Artefacts, BackendManifest, JobSpec, Metrics, Place
from trainer_core.plan.sections import TrainingPlan

ID = "simpletuner"
FILES = PurePosixPath("engine")
CONFIG, DATA = FILES / "config.json", FILES / "multidatabackend.json"
CACHE_FOLDER = "cache"
SHIM = Path(__file__).parent / "shim"
LORA_FILE = "pytorch_lora_weights.safetensors"
NEGATIVE_PROMPT = "blurry, cropped, ugly"
"""The engine's own default, said aloud."""


def render(plan: TrainingPlan, place: Place, manifest: BackendManifest) -> JobSpec:
    """The files and the command for a plan without blocking problems."""
    files = {
        CONFIG: _json(config(plan, place, manifest)),
        DATA: _json(data_backends(plan, place)),
    }
    return JobSpec(
        backend=manifest.id,
        files=files,
        # Its own command line starts two more processes and outlives a signal to the first.
        command=(str(place.python), "-m", "simpletuner.train"),
        environment=environment(place),
        working_directory=place.run,
        total_steps=plan.schedule.steps,
        metrics=Metrics("log"),
        artefacts=artefacts(plan),
    )


def config(plan: TrainingPlan, place: Place, manifest: BackendManifest) -> dict[str, Any]:
    """The flat options of the configuration file."""
    family = manifest.families[plan.model.family].options
    return {
        "model_family": family["model_family"],
        "model_flavour": family["model_flavour"],
        **_model(plan),
        **_network(plan, place),
        **_optimizer(plan, manifest),
        **_schedule(plan),
        **_memory(plan),
        **_output(plan, place),
        **_sampling(plan),
        **plan.native.get(ID, {}),
    }


def _model(plan: TrainingPlan) -> dict[str, Any]:
    path = _absolute(plan.model.path)
    options: dict[str, Any] = {"pretrained_model_name_or_path": path}
    if plan.model.vae:
        options["pretrained_vae_model_name_or_path"] = _absolute(plan.model.vae)
    elif not path.endswith(".safetensors"):
        # Left out, the engine downloads another VAE than the one in the folder.
        options["pretrained_vae_model_name_or_path"] = path
    if plan.model.prediction:
        options["prediction_type"] = plan.model.prediction
    if plan.model.prediction == "v_prediction":
        # Models of this kind were trained with noise up to pure noise.
        options |= {
            "rescale_betas_zero_snr": True,
            "training_scheduler_timestep_spacing": "trailing",
            "inference_scheduler_timestep_spacing": "trailing",
        }
    return options


def _network(plan: TrainingPlan, place: Place) -> dict[str, Any]:
    return {
        "model_type": "lora",
        "lora_type": "standard",
        "lora_rank": plan.network.rank,
        "lora_alpha": float(plan.network.alpha),
        # Its default drops a tenth of the signal, which no other trainer does unasked.
        "lora_dropout": 0.0,
        # Alpha beside each matrix, under names other programs load. 3.1.6 makes names of this format that none loads;
        # there alpha is in the file's metadata.
        "lora_format": "diffusers" if place.version.startswith("3.") else "comfyui",
    }


def _optimizer(plan: TrainingPlan, manifest: BackendManifest) -> dict[str, Any]:
    optimizer = plan.optimizer
    return {
        "optimizer": manifest.optimizers[optimizer.name],
        # Read as a number only with a point in it.
        "optimizer_config": f"weight_decay={optimizer.weight_decay:.10f}",
        "learning_rate": float(optimizer.learning_rate),
        "max_grad_norm": float(optimizer.max_grad_norm),
        # Its default cuts each value by itself, which means something else by the same number.
        "grad_clip_method": "norm",
    }


def _schedule(plan: TrainingPlan) -> dict[str, Any]:
    schedule = plan.schedule
    options = {
        "max_train_steps": schedule.steps,
        "num_train_epochs": 0,
        "train_batch_size": schedule.batch_size,
        "gradient_accumulation_steps": schedule.gradient_accumulation,
        "lr_scheduler": schedule.scheduler,
        # Its cosine takes the length of the curve from here and knows no warm-up.
        "lr_warmup_steps": schedule.steps if schedule.scheduler == "cosine" else schedule.warmup_steps,
        "lr_num_cycles": schedule.restarts,
        "lr_end": 0.0,
        "lr_power": 1.0,
        "seed": schedule.seed,
        "caption_dropout_probability": float(plan.dataset.caption_dropout),
    }
    if schedule.min_snr_gamma:
        options["snr_gamma"] = int(schedule.min_snr_gamma)
    if schedule.noise_offset:
        options |= {"offset_noise": True, "noise_offset": float(schedule.noise_offset), "noise_offset_probability": 1.0}
    return options


def _memory(plan: TrainingPlan) -> dict[str, Any]:
    precise = plan.memory.mixed_precision == "no"
    return {
        "mixed_precision": plan.memory.mixed_precision,
        "base_model_default_dtype": "fp32" if precise else "bf16",
        "vae_dtype": "fp32" if precise else "bf16",
        "gradient_checkpointing": plan.memory.gradient_checkpointing,
        "vae_batch_size": 1,
        "vae_cache_ondemand": not plan.memory.cache_latents,
    }


def _output(plan: TrainingPlan, place: Place) -> dict[str, Any]:
    return {
        "output_dir": str(place.output),
        "cache_dir": str(place.run / CACHE_FOLDER),
        "data_backend_config": str(place.run / DATA),
        "checkpoint_step_interval": checkpoint_interval(plan),
        "checkpoints_total_limit": 1000,
        "disable_benchmark": True,
        "report_to": "none",
        "push_to_hub": False,
        "push_checkpoints_to_hub": False,
    }


def _sampling(plan: TrainingPlan) -> dict[str, Any]:
    sampling = plan.sampling
    if not sampling.every_steps:
        return {"validation_disable": True}
    return {
        "validation_step_interval": sampling.every_steps,
        "validation_on_startup": sampling.at_start,
        "validation_prompt": sampling.prompt.replace("{trigger}", plan.dataset.trigger).strip(" ,"),
        # Without one the engine looks for an encoding of "" that it never made, and draws nothing.
        "validation_negative_prompt": sampling.negative_prompt or NEGATIVE_PROMPT,
        "validation_disable_unconditional": True,
        "validation_resolution": f"{sampling.width}x{sampling.height}",
        "validation_num_inference_steps": sampling.inference_steps,
        "validation_guidance": float(sampling.guidance),
        "validation_seed": sampling.seed,
    }


def data_backends(plan: TrainingPlan, place: Place) -> list[dict[str, Any]]:
    """The pictures and the caption cache, as entries of multidatabackend.json."""
    settings = plan.dataset
    shape = {"crop": False} if settings.bucketing else {"crop": True, "crop_style": "center", "crop_aspect": "square"}
    pictures = {
        "id": "pictures",
        "type": "local",
        "dataset_type": "image",
        "instance_data_dir": str(place.dataset),
        "caption_strategy": "textfile",
        "metadata_backend": "discovery",
        "resolution": settings.resolution,
        # The side of a square of the same area, as with the other engines.
        "resolution_type": "pixel_area",
        "minimum_image_size": 0,
        # It counts how often a picture is shown again after the first time.
        "repeats": settings.repeats - 1,
        "cache_dir_vae": str(place.run / CACHE_FOLDER / "vae"),
        **shape,
    }
    captions = {
        "id": "captions",
        "type": "local",
        "dataset_type": "text_embeds",
        "default": True,
        "cache_dir": str(place.run / CACHE_FOLDER / "text"),
    }
    return [pictures, captions]


def environment(place: Place) -> dict[str, str]:
    """What the engine's process needs beyond the user's environment."""
    variables = {
        "CONFIG_BACKEND": "json",
        # Read first; somebody who uses the engine by itself may have another one in their environment.
        "SIMPLETUNER_CONFIG_BACKEND": "json",
        "CONFIG_PATH": str(place.run / CONFIG),
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
        "COLUMNS": "300",
        "TOKENIZERS_PARALLELISM": "false",
        "WANDB_MODE": "disabled",
    }
    if place.options.get("offline"):
        variables |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    if place.options.get("accelerator") == "cpu":
        variables |= {"PYTHONPATH": str(SHIM), "ACCELERATE_USE_CPU": "true"}
    return variables


def checkpoint_interval(plan: TrainingPlan) -> int:
    """Every how many steps a checkpoint is written: as asked, else once, at the end."""
    return min(plan.output.save_every_steps or plan.schedule.steps, plan.schedule.steps)


def ends_in_checkpoint(plan: TrainingPlan) -> bool:
    """Whether the last step is one of those a checkpoint is written at."""
    return plan.schedule.steps % checkpoint_interval(plan) == 0


def artefacts(plan: TrainingPlan) -> Artefacts:
    """Where the results lie. The last checkpoint is the finished LoRA when there is one at the last step.

    The file the engine writes at its very end holds the same weights, but says alpha = rank (4.10.1) or nothing at all
    (3.1.6), whatever was asked. Source: runs of both versions; trainer.py passes no adapter metadata to that last save.
    """
    last = f"checkpoint-{plan.schedule.steps}/{LORA_FILE}" if ends_in_checkpoint(plan) else LORA_FILE
    return Artefacts(
        final=ArtefactPattern(last, f"^{re.escape(last)}$"),
        checkpoints=ArtefactPattern(f"checkpoint-*/{LORA_FILE}", rf"^checkpoint-(?P<step>\d+)/{re.escape(LORA_FILE)}$"),
        samples=ArtefactPattern(
            "validation_images/step_*.png",
            r"^validation_images/step_(?P<step>\d+)_.*?(?:_(?P<prompt>\d+))?_\d+x\d+\.png$",
        ),
    )


def _absolute(path: str) -> str:
    """The path as the engine needs it: it runs in the run folder, not where the user stood."""
    return str(places.typed(path).absolute())


def _json(data: Any) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
