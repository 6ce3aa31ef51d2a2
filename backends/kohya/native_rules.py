"""What is wrong with native settings by their values: what sd-scripts would refuse after loading, or ignore without a word."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from backends.kohya import network_arguments
from trainer_core import catalog
from trainer_core.backend import BackendManifest
from trainer_core.hardware import Machine
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Problem

PATH = "native.kohya"
GGPO = {"ggpo_beta", "ggpo_sigma"}
"""Source: networks/lora_flux.py, LoRAModule: of the two, one alone is not looked at."""
OTHER_RANKS = frozenset({"block_dims", "block_alphas", "conv_block_dims", "conv_block_alphas"})
"""Source: networks/lora.py, create_network. A network made with them could not be checked when it is finished."""


def check(
    plan: TrainingPlan, native: Mapping[str, Any], machine: Machine, manifest: BackendManifest
) -> Iterator[Problem]:
    """The Problems of native settings whose names and types are right."""
    cell = manifest.families[plan.model.family].cell(plan.model.method)
    for name in native.keys() & cell.get("always", {}).keys():
        yield Problem(f"{PATH}.{name}", "error", f"{name} follows from the model and cannot be another.")
    yield from _parts(native, machine, manifest)
    yield from _arguments(plan, native.get("network_args", ()), cell, manifest)
    yield from _curve(plan, native.get("lr_scheduler_args", ()), manifest)
    yield from _prediction(plan, native)
    yield from _together(plan, native)
    yield from _alone(plan, native, cell, manifest)
    yield from _values(plan, native)
    if native.get("adaptive_noise_scale") and not plan.schedule.noise_offset:
        # Source: library/train_util.py, verify_training_args.
        message = "adaptive_noise_scale changes the noise offset, so schedule.noise_offset must be more than 0."
        yield Problem(f"{PATH}.adaptive_noise_scale", "error", message)
    flows = cell["predictions"] == ["flow"]
    if flows and native.get("loss_type") in ("huber", "smooth_l1") and native.get("huber_schedule", "snr") == "snr":
        # Source: library/train_util.py, get_huber_threshold_if_needed: flow models have no signal-to-noise ratio there.
        message = (
            "This loss follows the signal-to-noise ratio, which a flow model lacks: set huber_schedule to constant."
        )
        yield Problem(f"{PATH}.loss_type", "error", message)
    for name, wrong in (("min_bucket_reso", _is_more), ("max_bucket_reso", _is_less)):
        if name in native and wrong(native[name], plan.dataset.resolution):
            # Source: the same file, adjust_min_max_bucket_reso_by_steps.
            message = (
                f"{name} of {native[name]} px and a resolution of {plan.dataset.resolution} px exclude each other."
            )
            yield Problem(f"{PATH}.{name}", "error", message)


def _parts(native: Mapping[str, Any], machine: Machine, manifest: BackendManifest) -> Iterator[Problem]:
    """Packages that an option needs: there when a trial in the engine's environment has shown that they work."""
    trials = machine.probes.get("parts", {}).get(manifest.id, {})
    for name, part in manifest.tables["options"]["parts"].items():
        if native.get(name) and not trials.get(part, {}).get("ok"):
            message = f"{name} needs {part}, which does not work in the engine's environment or was not tried there."
            hint = f"Put it in, then run: easel backends trial {manifest.id}"
            yield Problem(f"{PATH}.{name}", "error", f"{message} {hint}")


def _arguments(
    plan: TrainingPlan, entries: Any, cell: Mapping[str, Any], manifest: BackendManifest
) -> Iterator[Problem]:
    """Arguments of the network: `key=value`, with a key that its module reads and no setting stands for."""
    path = f"{PATH}.network_args"
    kind = manifest.tables["algorithms"].get(plan.network.algorithm, {})
    module = kind.get("module", cell.get("network", ""))
    known = manifest.tables["network_arguments"].get(module, {})
    settings = manifest.tables["network_settings"]
    for entry in entries:
        key, separator, value = (part.strip() for part in entry.partition("="))
        setting = next((name for name, spelled in settings.items() if spelled == key), None)
        reads = catalog.algorithms()[plan.network.algorithm].settings
        if key in OTHER_RANKS:
            message = (
                "This gives a network of more than one rank or alpha, which could not be checked when it is finished."
            )
            yield Problem(path, "error", message)
        elif setting and setting in reads:
            yield Problem(path, "error", f"{key} follows from a setting of the plan: change network.{setting}.")
        elif setting:
            fitting = [name for name in manifest.families[plan.model.family].algorithms if setting in _reads(name)]
            hint = f"choose {' or '.join(fitting[:2])} and set network.{setting}" if fitting else "this model has none"
            yield Problem(path, "error", f"{key} is no part of {plan.network.algorithm}: {hint}.")
        elif key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            yield Problem(path, "error", f"{module} does not read {key!r:.60} and would ignore it.{hint}")
        elif not separator or not value:
            yield Problem(path, "error", f"{entry!r:.80} is not of the form key=value.")
        elif said := network_arguments.complaint(
            key, value, known[key], plan.model.family, plan.network.algorithm
        ) or _encoders(key, value, plan):
            yield Problem(path, "error", said)
    named = {entry.partition("=")[0].strip() for entry in entries}
    if len(named & GGPO) == 1:
        yield Problem(path, "error", f"{' and '.join(sorted(GGPO))} do something together only.")


def _encoders(key: str, value: str, plan: TrainingPlan) -> str | None:
    """The sentence why an argument about text encoders does nothing, or stops the engine; else None."""
    is_about_t5 = key == "train_t5xxl" and value.lower() == "true"
    if not is_about_t5 and key != "loraplus_text_encoder_lr_ratio":
        return None
    if is_about_t5 and plan.memory.cache_text_encoder:
        # Source: flux_train_network.py and sd3_train_network.py, post_process_network.
        return "A T5 that is trained cannot be cached: turn memory.cache_text_encoder off."
    # Source: the same files, is_train_text_encoder: without it no text encoder gets a network.
    return None if plan.network.train_text_encoder else f"{key} does nothing without network.train_text_encoder."


def _reads(algorithm: str) -> tuple[str, ...]:
    return catalog.algorithms()[algorithm].settings


def _together(plan: TrainingPlan, native: Mapping[str, Any]) -> Iterator[Problem]:
    """Native settings against settings of the plan that exclude them, or that they need: each a name, when, and why."""
    memory, optimizer = plan.memory, catalog.optimizers()[plan.optimizer.name]
    workers = native.get("max_data_loader_n_workers", 0 if memory.cache_latents else 4)
    moved = memory.blocks_to_swap or memory.offload_checkpointing
    captions = "it changes captions, which are cached: turn memory.cache_text_encoder off."
    # Source: the scripts' own checks, and what they were seen to do: is_text_encoder_output_cacheable, assert_extra_args,
    # apply_masked_loss, patch_adafactor_fused (which would step the first of split optimizers alone), DataLoader.
    pairs = (
        ("token_warmup_step", memory.cache_text_encoder, captions),
        ("weighted_captions", memory.cache_text_encoder, captions),
        ("caption_dropout_every_n_epochs", memory.cache_text_encoder, captions),
        ("enable_wildcard", memory.cache_text_encoder, captions),
        ("unsloth_offload_checkpointing", moved, "it excludes swapped blocks and offloaded checkpoints."),
        ("masked_loss", not native.get("alpha_mask"), "it does nothing without alpha_mask."),
        ("blockwise_fused_optimizers", memory.fused_backward, "it excludes memory.fused_backward."),
        ("blockwise_fused_optimizers", optimizer.schedule_free, "it does not work with a schedule-free optimizer."),
        ("fused_optimizer_groups", memory.fused_backward, "it excludes memory.fused_backward."),
        ("train_t5xxl", memory.cache_text_encoder, captions),
        ("train_t5xxl", not plan.network.train_text_encoder, "it needs network.train_text_encoder."),
        ("fp8_base_unet", memory.mixed_precision == "no", "it needs bf16 or fp16 to compute in."),
        ("persistent_data_loader_workers", not workers, "there are none: give max_data_loader_n_workers."),
        ("use_style_template", native.get("use_object_template"), "of two templates the engine takes the other."),
    )
    for name, excluded, why in pairs:
        if native.get(name) and excluded:
            yield Problem(f"{PATH}.{name}", "error", f"{name} cannot be set here: {why}")


def _alone(
    plan: TrainingPlan, native: Mapping[str, Any], cell: Mapping[str, Any], manifest: BackendManifest
) -> Iterator[Problem]:
    """Native settings without the one beside which alone they are read."""
    own = plan.native.get(PATH.partition(".")[2], {})
    for name, (other, *choices) in manifest.tables["options"]["needs"].items():
        if not native.get(name):
            continue
        section, _, setting = other.rpartition(".")
        given = (
            getattr(getattr(plan, section), setting) if section else own.get(other, cell.get("fixed", {}).get(other))
        )
        if not given or (choices and given not in choices[0]):
            wanted = f"{other} as {' or '.join(choices[0])}" if choices else other
            yield Problem(f"{PATH}.{name}", "error", f"{name} is not read without {wanted}.")


def _curve(plan: TrainingPlan, entries: Any, manifest: BackendManifest) -> Iterator[Problem]:
    """Arguments of the schedule: `key=value` in Python's notation, with a key that its function takes."""
    path, name = f"{PATH}.lr_scheduler_args", plan.schedule.scheduler
    known = manifest.tables["scheduler_arguments"].get(name, ())
    if entries and catalog.optimizers()[plan.optimizer.name].schedule_free:
        yield Problem(path, "error", "A schedule-free optimizer takes no schedule, so this is not read.")
        return
    for entry in entries:
        key, separator, value = (part.strip() for part in entry.partition("="))
        if key not in known:
            takes = f"takes only {', '.join(known)}" if known else "takes none"
            yield Problem(
                path, "error", f"The schedule {name} does not take {key!r:.60}: beside its settings it {takes}."
            )
        elif not separator or not _is_literal(value):
            yield Problem(path, "error", f"{entry!r:.80} is not of the form key=value, with texts in quotes.")


def _is_literal(text: str) -> bool:
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False
    return "=" not in text  # the engine cuts at each


def _values(plan: TrainingPlan, native: Mapping[str, Any]) -> Iterator[Problem]:
    """Values of the right type that the engine would stop at, or not read."""
    sampling = native.get("timestep_sampling")
    if plan.schedule.flow_shift and sampling not in (None, "shift", "sigma"):
        # Source: library/flux_train_utils.py, get_noisy_model_input_and_timesteps.
        message = f"With timestep_sampling {sampling} the flow shift is not read: set schedule.flow_shift to 0, or shift here."
        yield Problem(f"{PATH}.timestep_sampling", "error", message)
    if native.get("min_timestep", 0) > native.get("max_timestep", 1000):
        # Source: library/train_util.py, get_timesteps: every step would then be at max_timestep.
        yield Problem(f"{PATH}.min_timestep", "error", "min_timestep must not be more than max_timestep.")
    if native.get("attn_mode") == "sageattn":
        # Source: library/attention.py: it computes no gradients.
        yield Problem(f"{PATH}.attn_mode", "error", "SageAttention is for drawing pictures and cannot train.")
    for name, count in (("block_lr", 23), ("face_crop_aug_range", 2)):
        # Source: sdxl_train.py, "block_lr must have 23 values"; library/train_util.py, verify_training_args.
        if name in native and [_is_number(part) for part in str(native[name]).split(",")] != [True] * count:
            yield Problem(f"{PATH}.{name}", "error", f"{name} must be {count} numbers with commas between them.")


def _prediction(plan: TrainingPlan, native: Mapping[str, Any]) -> Iterator[Problem]:
    """Source: library/train_util.py, verify_training_args."""
    predicts_v = plan.model.prediction == "v_prediction"
    if native.get("scale_v_pred_loss_like_noise_pred") and not predicts_v:
        message = "scale_v_pred_loss_like_noise_pred is for models that predict v; this one does not."
        yield Problem(f"{PATH}.scale_v_pred_loss_like_noise_pred", "error", message)
    if native.get("v_pred_like_loss") and predicts_v:
        message = "v_pred_like_loss is for models that predict noise; this one predicts v."
        yield Problem(f"{PATH}.v_pred_like_loss", "error", message)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_more(value: Any, limit: int) -> bool:
    return value > limit


def _is_less(value: Any, limit: int) -> bool:
    return value < limit
