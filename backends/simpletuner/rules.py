"""What SimpleTuner would stumble over in model, pictures, and the way weights are moved; and what it cannot do.

Each rule names where the engine stops, or does nothing without a word. `cell` are the words of `backend.toml` for the
plan's family and method.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from backends.simpletuner import pictures, render
from trainer_core import catalog
from trainer_core.backend import BackendManifest
from trainer_core.plan import fields
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Fix, Problem

SAMPLE_STEP = 16
"""Sides of samples of a transformer: patches of two latent pixels. Source: check_inputs of the families' pipelines."""


def check(plan: TrainingPlan, installed: str, cell: Mapping[str, Any], manifest: BackendManifest) -> Iterator[Problem]:
    """The Problems of everything but the network, memory and native settings."""
    yield from _model(plan, cell)
    yield from _vae(plan, cell)
    yield from _shapes(plan, cell)
    yield from _augmentation(plan, installed)
    yield from _optimizer(plan, installed, manifest)
    yield from _warm_up(plan)
    yield from _noise(plan, cell)
    yield from _seeds(plan)
    yield from _samples(plan, cell)
    yield from _output(plan, cell)


def no_effect(path: str, why: str) -> Problem:
    """The Problem of a setting that does nothing here; `why` is the rest of the sentence."""
    field = fields.all_fields()[path]
    return Problem(
        path, "warning", f"{field.title} has no effect here: {why}", Fix("Leave it out", {path: field.default})
    )


def _model(plan: TrainingPlan, cell: Mapping[str, Any]) -> Iterator[Problem]:
    model = plan.model
    if model.prediction and model.prediction not in cell["predictions"]:
        fix = Fix("Use what the file says", {"model.prediction": ""})
        message = f"This engine trains no model of this family that predicts {model.prediction}."
        yield Problem("model.prediction", "error", message, fix)
    if model.clip_skip != 1:
        message = "Clip skip has no effect here: this model always uses the layer before the last."
        yield Problem("model.clip_skip", "warning", message, Fix("Set it to 1", {"model.clip_skip": 1}))
    if model.path.lower().endswith(".safetensors"):
        yield _single_file(plan, cell)


def _single_file(plan: TrainingPlan, cell: Mapping[str, Any]) -> Problem:
    if not cell.get("single_file"):
        # Source: helpers/models/common.py, get_model_config_path: for some families it stops, for others it takes text
        # encoders, VAE and scheduler from a folder on the Hub that wants a login.
        message = "SimpleTuner takes text encoders, VAE and scheduler of this family from a diffusers folder: a single"
        return Problem("model.path", "error", f"{message} file is not enough. Choose the folder.")
    if plan.model.method == "full":
        # Source: the same file, load_model forgets the file, and unload_text_encoder leaves its text encoders empty.
        message = "From a single file SimpleTuner cannot write a whole model at the end: text encoders and VAE are gone"
        return Problem("model.path", "error", f"{message} by then. Choose a diffusers folder.")
    message = "For a single file SimpleTuner fetches small configuration files from the Hugging Face Hub"
    more = ", and the VAE it draws samples with" if plan.sampling.every_steps else ""
    return Problem("model.path", "info", f"{message}{more}.")


def _vae(plan: TrainingPlan, cell: Mapping[str, Any]) -> Iterator[Problem]:
    vae, fix = plan.model.vae, Fix("Use the VAE inside the model", {"model.vae": ""})
    if vae.lower().endswith((".safetensors", ".ckpt", ".pt")):
        # Source: helpers/models/common.py, load_vae: a file is read as a configuration, and the run ends.
        message = "SimpleTuner takes a VAE as a diffusers folder only, not as a file."
        yield Problem("model.vae", "error", message, fix)
    elif "sdxl" in vae and cell["model_family"] != "sdxl":
        # Source: helpers/configuration/cmd_args.py: it then takes the VAE of the model without stopping.
        message = 'SimpleTuner takes no VAE with "sdxl" in its path for this family. Rename the folder.'
        yield Problem("model.vae", "error", message, fix)


def _shapes(plan: TrainingPlan, cell: Mapping[str, Any]) -> Iterator[Problem]:
    settings, step = plan.dataset, cell["bucket_step"]
    if settings.bucket_step != step:
        message = f"SimpleTuner always uses a bucket step of {step} for this model."
        severity = "warning" if settings.bucket_step != type(settings)().bucket_step else "info"
        yield Problem("dataset.bucket_step", severity, message, Fix(f"Use {step}", {"dataset.bucket_step": step}))
    if settings.resolution % step:
        nearest = max(step, round(settings.resolution / step) * step)
        message = f"The resolution must be a multiple of {step} here."
        yield Problem("dataset.resolution", "error", message, Fix(f"Use {nearest}", {"dataset.resolution": nearest}))


def _augmentation(plan: TrainingPlan, installed: str) -> Iterator[Problem]:
    settings = plan.dataset
    if settings.shuffle_captions and installed.startswith("3."):
        # Source: helpers/prompts.py of 3.1.6 knows no caption_shuffle.
        yield _cannot("dataset.shuffle_captions", "SimpleTuner 3 cannot shuffle tags: they stay in order.")
    elif settings.shuffle_captions:
        message = f"SimpleTuner encodes each caption in {pictures.ORDERS} orders before training, and draws from these."
        yield Problem("dataset.shuffle_captions", "info", message)
    elif settings.keep_tokens:
        fix = Fix("Set it to 0", {"dataset.keep_tokens": 0})
        yield Problem("dataset.keep_tokens", "info", "No tags are shuffled, so none need to be kept in place.", fix)
    if settings.flip:
        yield _cannot("dataset.flip", "SimpleTuner cannot mirror pictures at random.")
    if settings.random_crop:
        # Source: helpers/multiaspect: a place is drawn once, when the pictures are first looked at.
        yield _cannot("dataset.random_crop", "SimpleTuner cuts a picture at one place for the whole run.")
    if settings.color_augmentation:
        yield _cannot("dataset.color_augmentation", "SimpleTuner cannot vary colours.")
    if settings.tag_dropout:
        yield _cannot("dataset.tag_dropout", "SimpleTuner leaves out whole captions only, not tags.")


def _cannot(path: str, message: str) -> Problem:
    return Problem(path, "warning", message, Fix("Leave it out", {path: fields.all_fields()[path].default}))


def _optimizer(plan: TrainingPlan, installed: str, manifest: BackendManifest) -> Iterator[Problem]:
    optimizer = plan.optimizer
    without = manifest.tables["optimizer_without"].get(optimizer.name, ())
    if installed.startswith("3."):
        # Source: convert_arg_to_parameters of 3.1.6 returns before it comes to the betas.
        without = (*without, "beta1", "beta2")
    known = catalog.optimizers()[optimizer.name]
    for name in known.settings:
        path = f"optimizer.{name}"
        if name in without and getattr(optimizer, name) is not None:
            message = f"SimpleTuner has no way to set {fields.all_fields()[path].title} of {known.title}."
            yield Problem(path, "error", message, Fix("Leave it to the optimizer", {path: None}))


def _warm_up(plan: TrainingPlan) -> Iterator[Problem]:
    schedule, path = plan.schedule, "schedule.warmup_steps"
    optimizer = catalog.optimizers()[plan.optimizer.name]
    if optimizer.schedule_free:
        # Source: optimizer_param.py, can_warmup.
        if schedule.warmup_steps:
            yield no_effect(path, f"{optimizer.title} takes none.")
    elif schedule.scheduler == "sine" and not schedule.warmup_steps:
        # Source: custom_schedule.py, Sine: "expects positive integer T_0".
        wave = max(1, plan.schedule.steps // 4)
        message = "The warm-up is the length of half a wave of this schedule, and none is given."
        yield Problem(path, "error", message, Fix(f"Use {wave}", {path: wave}))
    elif schedule.warmup_steps and schedule.scheduler in ("cosine", "cosine_with_min_lr", "constant"):
        fix = Fix("Use constant_with_warmup", {"schedule.scheduler": "constant_with_warmup"})
        message = f"SimpleTuner's {schedule.scheduler} schedule has no warm-up."
        yield Problem(path, "warning", message, fix)


def _noise(plan: TrainingPlan, cell: Mapping[str, Any]) -> Iterator[Problem]:
    """Source: helpers/models/common.py, prepare_batch and loss: both are for models that predict noise or velocity."""
    schedule = plan.schedule
    if "flow_shift" in cell:
        for name in ("min_snr_gamma", "noise_offset"):
            if getattr(schedule, name):
                yield no_effect(f"schedule.{name}", "a flow model is trained without it.")
        return
    if schedule.flow_shift:
        yield no_effect("schedule.flow_shift", "this is no flow model.")
    if schedule.min_snr_gamma % 1:
        # Source: its parser reads --snr_gamma as a whole number, and stops at 4.5.
        whole = float(max(1, round(schedule.min_snr_gamma)))
        fix = Fix(f"Use {whole:g}", {"schedule.min_snr_gamma": whole})
        yield Problem("schedule.min_snr_gamma", "error", "SimpleTuner takes whole numbers only here.", fix)


def _seeds(plan: TrainingPlan) -> Iterator[Problem]:
    if plan.schedule.seed == 0:
        # Source: helpers/configuration/cmd_args.py: "the current time should be used if value is zero".
        message = "For SimpleTuner a seed of 0 means the time of day, so the run could not be repeated."
        yield Problem("schedule.seed", "error", message, Fix("Use 1", {"schedule.seed": 1}))
    if plan.sampling.every_steps and plan.sampling.seed == 0:
        # Source: helpers/training/validation.py: validation_seed or seed.
        message = "For SimpleTuner a sample seed of 0 means that of the training."
        yield Problem("sampling.seed", "warning", message, Fix("Use 1", {"sampling.seed": 1}))


def _samples(plan: TrainingPlan, cell: Mapping[str, Any]) -> Iterator[Problem]:
    sampling = plan.sampling
    if not sampling.every_steps:
        return
    if not sampling.negative_prompt:
        fix = Fix("Show it", {"sampling.negative_prompt": render.NEGATIVE_PROMPT})
        message = f'SimpleTuner draws no samples without a negative prompt, so "{render.NEGATIVE_PROMPT}" is used.'
        yield Problem("sampling.negative_prompt", "info", message, fix)
    if cell["component"] == "unet":
        return
    for path, side in (("sampling.width", sampling.width), ("sampling.height", sampling.height)):
        if side % SAMPLE_STEP:
            nearest = max(64, round(side / SAMPLE_STEP) * SAMPLE_STEP)
            message = f"The sides of a sample must be multiples of {SAMPLE_STEP} with this model."
            yield Problem(path, "error", message, Fix(f"Use {nearest}", {path: nearest}))


def _output(plan: TrainingPlan, cell: Mapping[str, Any]) -> Iterator[Problem]:
    if plan.output.save_precision != "float":
        fix = Fix("Show it as float", {"output.save_precision": "float"})
        message = "SimpleTuner writes the numbers as it trained them: 32 bits, or bf16 with a bf16 base."
        yield Problem("output.save_precision", "info", message, fix)
    if plan.output.copy_to and cell.get("not_in_comfyui") and plan.model.method == "lora":
        message = "ComfyUI does not know the layers of this family by the names that SimpleTuner writes."
        yield Problem("output.copy_to", "warning", message)
    elif plan.output.copy_to and plan.model.method == "lora" and plan.network.algorithm == "tlora":
        # Source: lycoris, modules/tlora.py: its layers are corrections of ones that are made anew from the base model.
        yield Problem("output.copy_to", "warning", "Only LyCORIS itself reads the file of a T-LoRA.")
