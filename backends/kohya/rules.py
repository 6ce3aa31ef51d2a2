"""What sd-scripts would stumble over in model, pictures, captions, and the way weights are moved.

Each rule names where the engine stops, or does nothing without a word. `cell` are the words of `backend.toml` for the
plan's family and method.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trainer_core import catalog
from trainer_core.backend import BackendManifest
from trainer_core.hardware import Machine
from trainer_core.plan import fields
from trainer_core.plan.rules.data import GENERIC_TRIGGERS
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Fix, Problem

KNOWN_WORDS = GENERIC_TRIGGERS - {"1girl", "1boy"}  # CLIP's vocabulary has no words with digits
CONVOLUTION_SETTINGS = ("conv_rank", "conv_alpha", "tucker")


def check(
    plan: TrainingPlan, machine: Machine, cell: Mapping[str, Any], manifest: BackendManifest
) -> Iterator[Problem]:
    """The Problems of everything but memory and native settings."""
    yield from _model(plan, cell, machine)
    yield from _buckets(plan, cell)
    yield from _pictures(plan, cell)
    yield from _cached_captions(plan, cell)
    yield from _trained(plan, cell)
    yield from _network(plan, cell)
    yield from _optimizer(plan, manifest)
    yield from _flow(plan, cell)


def has_gpu(machine: Machine) -> bool:
    """Whether the machine has any accelerator but its processor."""
    return any(accelerator.kind != "cpu" for accelerator in machine.accelerators)


def no_effect(path: str, why: str) -> Problem:
    """A setting that was changed and that this cell does not read."""
    field = fields.all_fields()[path]
    return Problem(path, "warning", f"{field.title} has no effect: {why}", Fix("Leave it out", {path: field.default}))


def _model(plan: TrainingPlan, cell: Mapping[str, Any], machine: Machine) -> Iterator[Problem]:
    model = plan.model
    if model.prediction and model.prediction not in cell["predictions"]:
        fix = Fix("Use what the file says", {"model.prediction": ""})
        message = f"This engine does not train {model.prediction} on this model family."
        yield Problem("model.prediction", "error", message, fix)
    if model.clip_skip != 1 and not cell.get("clip_skip"):
        yield no_effect("model.clip_skip", "this model always uses the layer it was made with.")
    elif model.clip_skip != 1 and plan.memory.mixed_precision == "bf16" and not has_gpu(machine):
        # Source: a run: "mixed dtype (CPU): expect parameter to have scalar type of Float" in strategy_sd.py.
        message = "Clip skip does not work in bf16 on a CPU, and no GPU was found."
        yield Problem("model.clip_skip", "error", message, Fix("Use precision no", {"memory.mixed_precision": "no"}))


def _buckets(plan: TrainingPlan, cell: Mapping[str, Any]) -> Iterator[Problem]:
    """Source: library/train_util.py, verify_bucket_reso_steps, as each script calls it."""
    settings, wanted = plan.dataset, cell["bucket_step"]
    if settings.bucketing and settings.bucket_step % wanted:
        message = f"The engine stops unless the bucket step is a multiple of {wanted}."
        fix = Fix(f"Use {wanted}", {"dataset.bucket_step": wanted})
        yield Problem("dataset.bucket_step", "error", message, fix)
    if settings.bucketing and settings.bucket_step > settings.resolution:
        message = (
            f"The bucket step of {settings.bucket_step} px is larger than the resolution of {settings.resolution} px."
        )
        fix = Fix(f"Use {wanted}", {"dataset.bucket_step": wanted}) if wanted <= settings.resolution else None
        yield Problem("dataset.bucket_step", "error", message, fix)
    if not settings.bucketing:
        if settings.resolution % wanted:
            nearest = max(wanted, round(settings.resolution / wanted) * wanted)
            message = f"Without aspect buckets the resolution must be a multiple of {wanted}."
            fix = Fix(f"Use {nearest}", {"dataset.resolution": nearest})
            yield Problem("dataset.resolution", "error", message, fix)
        if settings.bucket_step != type(settings)().bucket_step:
            message = "The bucket step has no effect while aspect buckets are off."
            yield Problem("dataset.bucket_step", "info", message)


def _pictures(plan: TrainingPlan, cell: Mapping[str, Any]) -> Iterator[Problem]:
    settings, from_one_file = plan.dataset, cell.get("captions") == "metadata"
    if from_one_file and not plan.memory.cache_latents:
        # Source: fine_tune.py: its dataset asks the caching strategy, which is set only when latents are cached.
        message = "The script for this needs cached latents: without them it stops."
        yield Problem("memory.cache_latents", "error", message, Fix("Cache latents", {"memory.cache_latents": True}))
    for name in ("random_crop", "color_augmentation"):
        # Source: library/train_util.py, is_latent_cacheable.
        if getattr(settings, name) and plan.memory.cache_latents:
            title = fields.all_fields()[f"dataset.{name}"].title
            message = f"{title} changes the picture at each step, so its latents cannot be cached."
            leave = Fix("Leave it out", {f"dataset.{name}": False})
            fix = leave if from_one_file else Fix("Do not cache latents", {"memory.cache_latents": False})
            yield Problem(f"dataset.{name}", "error", message, fix)
    if settings.keep_tokens and not settings.shuffle_captions and not settings.tag_dropout:
        fix = Fix("Set it to 0", {"dataset.keep_tokens": 0})
        message = "No tags are shuffled or left out, so none need to be kept."
        yield Problem("dataset.keep_tokens", "info", message, fix)
    if plan.model.method == "textual_inversion":
        # Source: train_textual_inversion.py, ConfigSanitizer(..., support_dropout=False).
        for name in ("caption_dropout", "tag_dropout"):
            if getattr(settings, name):
                yield no_effect(f"dataset.{name}", "the captions of a new word are never left out.")
        if settings.trigger.strip() in KNOWN_WORDS:
            # Source: the same file: "tokenizer has same word to token string". The whole vocabulary is not at hand here.
            message = "The engine stops when the new word is one the model knows already."
            yield Problem("dataset.trigger", "error", message)


def _cached_captions(plan: TrainingPlan, cell: Mapping[str, Any]) -> Iterator[Problem]:
    """Source: is_text_encoder_output_cacheable, and assert_extra_args of each script."""
    path, off = "memory.cache_text_encoder", Fix("Do not cache", {"memory.cache_text_encoder": False})
    if not plan.memory.cache_text_encoder:
        return
    how = cell.get("cache_text_encoder")
    if how is None:
        message = "This engine cannot cache the text encoder for this model family and method."
        yield Problem(path, "error", message, off)
        return
    if plan.network.train_text_encoder and how != "partly":
        yield Problem(path, "error", "A text encoder that is trained cannot be cached.", off)
    if plan.dataset.shuffle_captions:
        yield Problem(path, "error", "Cached captions stay as they are, so tags cannot be shuffled.", off)
    if plan.dataset.tag_dropout:
        yield Problem(path, "error", "Cached captions stay as they are, so tags cannot be left out.", off)
    if plan.dataset.caption_dropout and how != "dropout":
        yield Problem(path, "error", "Cached captions are always there, so caption dropout cannot work.", off)


def _trained(plan: TrainingPlan, cell: Mapping[str, Any]) -> Iterator[Problem]:
    trains, optimizer = plan.network.train_text_encoder, plan.optimizer
    possible = cell.get("text_encoders", 0) or "text_encoder_switch" in cell
    if trains and not possible:
        message = "This engine cannot train the text encoder of this model family by this method."
        fix = Fix("Leave it as it is", {"network.train_text_encoder": False})
        yield Problem("network.train_text_encoder", "error", message, fix)
    default = type(optimizer)().text_encoder_learning_rate
    if not trains and optimizer.text_encoder_learning_rate != default:
        fix = Fix("Leave it out", {"optimizer.text_encoder_learning_rate": default})
        message = "The text encoder is not trained, so its learning rate has no effect."
        yield Problem("optimizer.text_encoder_learning_rate", "info", message, fix)
    elif trains and possible and not optimizer.text_encoder_learning_rate:
        # Source: prepare_optimizer_params and sdxl_train.py leave out what has a rate of 0.
        message = "With a learning rate of 0 the text encoder is not trained."
        fix = Fix("Do not train it", {"network.train_text_encoder": False})
        yield Problem("optimizer.text_encoder_learning_rate", "error", message, fix)
    if plan.model.method == "dreambooth" and trains and plan.schedule.gradient_accumulation > 1:
        # Source: train_db.py warns that accelerate does not support it when two models are trained.
        message = "The engine cannot add up gradients when it trains the text encoder too."
        fix = Fix("Add up none", {"schedule.gradient_accumulation": 1})
        yield Problem("schedule.gradient_accumulation", "error", message, fix)


def _network(plan: TrainingPlan, cell: Mapping[str, Any]) -> Iterator[Problem]:
    network = plan.network
    if plan.model.method != "lora":
        return
    if network.algorithm == "dylora" and network.block_size and network.rank % network.block_size:
        # Source: networks/dylora.py, DyLoRAModule: "rank must be a multiple of unit".
        divisor = next(size for size in range(network.block_size, 0, -1) if network.rank % size == 0)
        fix = Fix(f"Use {divisor}", {"network.block_size": divisor})
        yield Problem("network.block_size", "error", "The rank must be a multiple of the block size.", fix)
    read = catalog.algorithms()[network.algorithm].settings
    # Source: lycoris/config.py: the choices of attention layers turn convolutions off.
    attention = network.targets.startswith("attention") and "targets" in read
    if attention or not cell.get("convolutions"):
        why = "only attention layers are trained." if attention else "this model has no convolutions that are trained."
        for name in CONVOLUTION_SETTINGS:
            if name in read and getattr(network, name) not in (None, False):
                yield no_effect(f"network.{name}", why)
    if network.algorithm == "boft" and network.rank < cell["boft_rank"]:
        # Source: lycoris/functional/general.py, power2factorization: "It is impossible to decompose ...".
        least = cell["boft_rank"]
        message = f"BOFT cuts the layers of this model only from rank {least} on."
        yield Problem("network.rank", "error", message, Fix(f"Use {least}", {"network.rank": least}))
    if network.targets == "attention" and "targets" in read and not cell.get("attention_layers"):
        # Source: lycoris/config.py, "attn-only": it names layers that this model does not have, and nothing would be trained.
        message = "The engine does not find the attention layers of this model by themselves."
        fix = Fix("Use attention_mlp", {"network.targets": "attention_mlp"})
        yield Problem("network.targets", "error", message, fix)


def _optimizer(plan: TrainingPlan, manifest: BackendManifest) -> Iterator[Problem]:
    optimizer, schedule = plan.optimizer, plan.schedule
    entry = catalog.optimizers()[optimizer.name]
    if entry.schedule_free:
        # Source: get_scheduler_fix gives these optimizers an empty schedule; two of them warm up by themselves.
        if schedule.warmup_steps and optimizer.name not in manifest.tables["warms_up_itself"]["optimizers"]:
            yield no_effect("schedule.warmup_steps", f"{entry.title} takes none.")
    elif schedule.scheduler == "constant" and schedule.warmup_steps:
        fix = Fix("Use constant_with_warmup", {"schedule.scheduler": "constant_with_warmup"})
        message = "The engine stops when a constant schedule is given a warm-up."
        yield Problem("schedule.warmup_steps", "error", message, fix)
    if schedule.scheduler == "polynomial" and optimizer.learning_rate <= 1e-7:
        # Source: transformers, get_polynomial_decay_schedule_with_warmup: "lr_end must be smaller than initial lr".
        fix = Fix("Use linear", {"schedule.scheduler": "linear"})
        yield Problem("schedule.scheduler", "error", "This schedule ends at 1e-7, which is no smaller rate.", fix)
    rates = (optimizer.learning_rate, optimizer.text_encoder_learning_rate)
    if entry.adapts and plan.network.train_text_encoder and rates[0] != rates[1]:
        message = f"{entry.title} finds one learning rate for everything, so the text encoder needs the same."
        fix = Fix("Use the same", {"optimizer.text_encoder_learning_rate": rates[0]})
        yield Problem("optimizer.text_encoder_learning_rate", "error", message, fix)


def _flow(plan: TrainingPlan, cell: Mapping[str, Any]) -> Iterator[Problem]:
    """Source: get_noise_pred_and_target of the flow families, which draw noise and weigh losses by themselves."""
    schedule, flows = plan.schedule, cell["predictions"] == ["flow"]
    for name in ("min_snr_gamma", "noise_offset"):
        if flows and getattr(schedule, name):
            yield no_effect(f"schedule.{name}", "a flow model is trained without it.")
    if schedule.flow_shift and "flow_shift" not in cell:
        why = "with this model it is not read." if flows else "this is no flow model."
        yield no_effect("schedule.flow_shift", why)
    if plan.sampling.every_steps and not plan.sampling.seed and cell.get("seed_above_zero"):
        message = "The engine stops at the first sample when its seed is 0."
        yield Problem("sampling.seed", "error", message, Fix("Use 1", {"sampling.seed": 1}))
    if plan.sampling.every_steps and plan.sampling.negative_prompt and cell.get("guidance"):
        message = "FLUX.1 draws its samples without a negative prompt."
        fix = Fix("Leave it out", {"sampling.negative_prompt": ""})
        yield Problem("sampling.negative_prompt", "info", message, fix)
