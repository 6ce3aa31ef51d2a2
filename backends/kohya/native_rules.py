"""Checks of the values of native settings, which sd-scripts would refuse only after loading, or silently ignore."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from backends.kohya import arguments, memory_rules, network_arguments, rates, target
from backends.kohya.cell import KohyaCell, cell_of
from backends.kohya.translation import TRANSLATION
from trainer_core import catalog
from trainer_core.engines import needs, optimizer_arguments, python_literal
from trainer_core.engines.manifest import BackendManifest
from trainer_core.engines.status import EngineStatus
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Fix, Problem
from trainer_core.text import nearest

ID = "kohya"
PATH = f"native.{ID}"
GGPO = {"ggpo_beta", "ggpo_sigma"}
"""Source: networks/lora_flux.py, LoRAModule: each is read only if the other is set, too."""


def check(
    plan: TrainingPlan, native: Mapping[str, Any], status: EngineStatus, manifest: BackendManifest
) -> Iterator[Problem]:
    """The Problems of native settings whose names and types are valid."""
    cell, claim = cell_of(plan, manifest), manifest.families[plan.model.family]
    for name in native.keys() & cell.always.keys():
        yield Problem(f"{PATH}.{name}", "error", f"The model determines {name}, so it cannot be set.")
    yield from _parts(native, status, manifest)
    entries = [*_arguments(plan, native.get("network_args", ()), cell, manifest)]
    yield from entries
    yield from _of_optimizer(plan, native.get(arguments.OPTIMIZER, ()), status, manifest)
    yield from _curve(plan, native.get("lr_scheduler_args", ()))
    yield from _prediction(plan, native)
    yield from _together(plan, native, cell)
    for name in native.keys() & set(cell.caption_options if plan.dataset.caption_tokens else ()):
        message = f"{name} and dataset.caption_tokens set the same thing: remove one of them."
        yield Problem(f"{PATH}.{name}", "error", message)
    yield from needs.unmet(manifest.id, plan, native, manifest.options, cell.fixed)
    wrong = list(_values(plan, native))
    yield from wrong
    if not wrong and not entries:
        yield from _one_rate(plan, native)
        for name, key, rate in rates.destroying(plan, native):
            message = f"{key} makes a learning rate of {rate:g}, and a step of that size destroys the weights: use far less than 1."
            yield Problem(f"{PATH}.{name}", "error", message)
    if native.get("adaptive_noise_scale") and not plan.schedule.noise_offset:
        # Source: library/train_util.py, verify_training_args.
        message = "adaptive_noise_scale changes the noise offset, so schedule.noise_offset must be more than 0."
        yield Problem(f"{PATH}.adaptive_noise_scale", "error", message)
    flows = claim.predictions == ("flow",)
    if flows and native.get("loss_type") in ("huber", "smooth_l1") and native.get("huber_schedule", "snr") == "snr":
        # Source: library/train_util.py, get_huber_threshold_if_needed: flow models have no signal-to-noise ratio there.
        message = (
            "This loss uses the signal-to-noise ratio, which flow models do not have: set huber_schedule to constant."
        )
        yield Problem(f"{PATH}.loss_type", "error", message)
    has_list = plan.dataset.bucketing and not native.get("bucket_no_upscale")
    if native.get("min_bucket_reso", plan.dataset.bucket_step) < plan.dataset.bucket_step and has_list:
        # Source: the same function rounds it down to 0; make_bucket_resolutions: "integer division or modulo by zero".
        message = f"min_bucket_reso must not be less than the bucket step of {plan.dataset.bucket_step} px."
        yield Problem(f"{PATH}.min_bucket_reso", "error", message)
    for name, wrong in (("min_bucket_reso", _is_more), ("max_bucket_reso", _is_less)):
        sides = [side for side in dict.fromkeys(folder.resolution for folder in plan.folders) if name in native]
        for side in (side for side in sides if wrong(native[name], side)):
            # Source: the same file, adjust_min_max_bucket_reso_by_steps.
            message = f"{name} of {native[name]} px does not fit the resolution of {side} px."
            yield Problem(f"{PATH}.{name}", "error", message)


def _parts(native: Mapping[str, Any], status: EngineStatus, manifest: BackendManifest) -> Iterator[Problem]:
    """The Problems of options whose package did not work in a trial in the engine's environment, or was not tried."""
    for name, part in manifest.options.parts.items():
        trial = status.trials.packages.get(part)
        if native.get(name) and not (trial and trial.works):
            why = (
                "does not work in the engine's environment. Install it there, then"
                if trial
                else "has not been tried here yet. To try it,"
            )
            message = f"{name} needs {part}, which {why} run: easel backends trial {manifest.id}"
            yield Problem(f"{PATH}.{name}", "error", message)


def _arguments(plan: TrainingPlan, entries: Any, cell: KohyaCell, manifest: BackendManifest) -> Iterator[Problem]:
    """The Problems of `network_args`: each must be `key=value`, with a key that the module reads and no setting covers."""
    path = f"{PATH}.network_args"
    module = target.module(plan, cell)
    known = TRANSLATION.network_arguments.get(module, {})
    settings = TRANSLATION.network_settings
    for entry in entries:
        key, separator, value = (part.strip() for part in entry.partition("="))
        setting = next((name for name, spelled in settings.items() if spelled == key), None)
        reads = catalog.algorithms()[plan.network.algorithm].settings
        if key in arguments.OTHER_RANKS:
            said = arguments.several_ranks(key)
        elif setting and setting in reads:
            said = f"{key} is set by the plan: change network.{setting} instead."
        elif setting:
            fitting = [name for name in manifest.families[plan.model.family].algorithms if setting in _reads(name)]
            hint = (
                f"choose {' or '.join(fitting[:2])} and set network.{setting}"
                if fitting
                else "no algorithm for this model has it"
            )
            said = f"{plan.network.algorithm} has no {key}: {hint}."
        elif key not in known:
            near = nearest(key, known)
            hint = f" Did you mean {near}?" if near else ""
            said = f"{module} does not read {key!r:.60} and would ignore it.{hint}"
        elif not separator or not value:
            said = f"{entry!r:.80} must have the form key=value."
        else:
            said = (
                network_arguments.complaint(key, value, known[key], plan.model.family, plan.network.algorithm)
                or _encoders(key, value, plan)
                or _decomposition(key, value, plan)
            )
        if said:
            yield Problem(path, "error", said, needs.remove_entry(plan, ID, arguments.NETWORK, key))
    named = {entry.partition("=")[0].strip() for entry in entries}
    if len(named & GGPO) == 1:
        yield Problem(path, "error", f"{' and '.join(sorted(GGPO))} have an effect only together.")


def _of_optimizer(
    plan: TrainingPlan, entries: Any, status: EngineStatus, manifest: BackendManifest
) -> Iterator[Problem]:
    """The Problems of `optimizer_args`: each must be one that the constructor of the optimizer takes and no setting covers."""
    return optimizer_arguments.problems(
        plan,
        f"{PATH}.{arguments.OPTIMIZER}",
        entries,
        tuple(arguments.of_optimizer(plan, status, manifest)),
        arguments.defaults(plan, status, manifest),
        arguments.NOTATION,
    )


def _encoders(key: str, value: str, plan: TrainingPlan) -> str | None:
    """The sentence that says why an argument about text encoders does nothing or stops the engine; None if it is valid."""
    is_about_t5 = key == "train_t5xxl" and value.lower() == "true"
    if not is_about_t5 and key != "loraplus_text_encoder_lr_ratio":
        return None
    if is_about_t5 and plan.memory.cache_text_encoder:
        # Source: flux_train_network.py and sd3_train_network.py, post_process_network.
        return "The outputs of a T5 that is trained cannot be cached: turn memory.cache_text_encoder off."
    # Source: the same files, is_train_text_encoder: without it no text encoder gets a network.
    return None if plan.network.train_text_encoder else f"{key} has no effect without network.train_text_encoder."


def _decomposition(key: str, value: str, plan: TrainingPlan) -> str | None:
    """The sentence that says why an argument conflicts with the decomposition of weights, or needs it; None if it is valid.

    Source: lycoris, modules/full.py: "bypass mode is not supported in Full algo"; locon.py, loha.py and lokr.py, forward.
    """
    algorithm = plan.network.algorithm
    decomposes = algorithm == "dora" or ("weight_decompose" in _reads(algorithm) and plan.network.weight_decompose)
    if key == "wd_on_output" and not decomposes:
        return "wd_on_output has no effect without network.weight_decompose."
    if key != "bypass_mode" or value.lower() != "true":
        return None
    if algorithm == "full":
        return "bypass_mode does not work with the algorithm full: the engine stops."
    return "With bypass_mode the weights are not decomposed, so the result would not be a DoRA." if decomposes else None


def _reads(algorithm: str) -> tuple[str, ...]:
    return catalog.algorithms()[algorithm].settings


def _together(plan: TrainingPlan, native: Mapping[str, Any], cell: KohyaCell) -> Iterator[Problem]:
    """The Problems of native settings that conflict with other settings, or lack one that they need."""
    eight_bits = memory_rules.not_in_eight_bits(plan, cell)
    joined = {"".join(entry.split()) for entry in native.get("network_args", ())}
    memory, optimizer = plan.memory, catalog.optimizers()[plan.optimizer.name]
    workers = native.get("max_data_loader_n_workers", 0 if memory.cache_latents else 4)
    moved = memory.blocks_to_swap or memory.offload_checkpointing
    no_buckets = "it has no effect without aspect buckets: turn dataset.bucketing on."
    shrunk = "with bucket_no_upscale the sizes of the images determine the buckets."
    captions = "it changes captions, but they are cached: turn memory.cache_text_encoder off."
    # Source: the scripts' own checks and their observed behaviour: is_text_encoder_output_cacheable, assert_extra_args,
    # apply_masked_loss, patch_adafactor_fused (which would step only the first of several optimizers), DataLoader.
    # Each pair: a native setting, when it cannot be set, and why.
    pairs = (
        ("token_warmup_step", memory.cache_text_encoder, captions),
        ("weighted_captions", memory.cache_text_encoder, captions),
        ("caption_dropout_every_n_epochs", memory.cache_text_encoder, captions),
        ("enable_wildcard", memory.cache_text_encoder, captions),
        ("unsloth_offload_checkpointing", moved, "it does not work with block swap or activation offload."),
        (
            "masked_loss",
            not native.get("alpha_mask") and not any(each.masks or each.alpha_masks for each in plan.folders),
            "it has no effect without alpha_mask, the transparency of the images.",
        ),
        ("blockwise_fused_optimizers", memory.fused_backward, "it does not work with memory.fused_backward."),
        ("blockwise_fused_optimizers", optimizer.schedule_free, "it does not work with a schedule-free optimizer."),
        ("fused_optimizer_groups", memory.fused_backward, "it does not work with memory.fused_backward."),
        ("train_t5xxl", memory.cache_text_encoder, captions),
        ("train_t5xxl", not plan.network.train_text_encoder, "it needs network.train_text_encoder."),
        ("fp8_base_unet", memory.mixed_precision == "no", "it needs mixed precision: bf16 or fp16."),
        ("fp8_base_unet", bool(eight_bits), eight_bits),
        ("persistent_data_loader_workers", not workers, "there are no workers: set max_data_loader_n_workers."),
        ("use_style_template", native.get("use_object_template"), "the engine would use use_object_template instead."),
        ("bucket_no_upscale", not plan.dataset.bucketing, no_buckets),
        ("min_bucket_reso", not plan.dataset.bucketing, no_buckets),
        ("max_bucket_reso", not plan.dataset.bucketing, no_buckets),
        ("min_bucket_reso", native.get("bucket_no_upscale"), shrunk),
        ("max_bucket_reso", native.get("bucket_no_upscale"), shrunk),
        ("scale_weight_norms", "split_qkv=True" in joined, "it does not work with split_qkv in network_args."),
    )
    fixes = {
        captions: Fix("Do not cache captions", {"memory.cache_text_encoder": False}),
        no_buckets: Fix("Turn aspect buckets on", {"dataset.bucketing": True}),
    }
    masks = Fix("Use the transparency of the images as masks", needs.set_native(plan, ID, "alpha_mask", True))
    for name, excluded, why in pairs:
        if native.get(name) and excluded:
            fix = masks if name == "masked_loss" else fixes.get(why) or needs.leave_out(plan, ID, name)
            yield Problem(f"{PATH}.{name}", "error", f"{name} cannot be set here: {why}", fix)


def _one_rate(plan: TrainingPlan, native: Mapping[str, Any]) -> Iterator[Problem]:
    """The Problems of native settings that add a learning rate, with an optimizer that supports only one."""
    optimizer = catalog.optimizers()[plan.optimizer.name]
    if optimizer.one_rate:
        # Source: prodigyopt 1.1.2, step: "Setting different lr values in different parameter groups is only supported for 0".
        for name, key in rates.others(plan, native):
            message = f"{optimizer.title} supports only one learning rate, but {key} sets another: it would stop at the first step."
            yield Problem(f"{PATH}.{name}", "error", message)


def _curve(plan: TrainingPlan, entries: Any) -> Iterator[Problem]:
    """The Problems of `lr_scheduler_args`: each must be `key=value` in Python's notation, with a key that the schedule takes."""
    path, name = f"{PATH}.lr_scheduler_args", plan.schedule.scheduler
    known = TRANSLATION.scheduler_arguments.get(name, ())
    if entries and catalog.optimizers()[plan.optimizer.name].schedule_free:
        yield Problem(path, "error", "A schedule-free optimizer has no schedule, so this has no effect.")
        return
    for entry in entries:
        key, separator, value = (part.strip() for part in entry.partition("="))
        if key not in known:
            takes = f"only {', '.join(known)}" if known else "no arguments"
            said = f"The schedule {name} does not take {key!r:.60}: it takes {takes} here."
        elif not separator or not _is_literal(value):
            said = f"{entry!r:.80} must have the form key=value, with text in quotes."
        else:
            continue
        yield Problem(path, "error", said, needs.remove_entry(plan, ID, arguments.SCHEDULE, key))


def _is_literal(text: str) -> bool:
    try:
        python_literal.value_of(text)
    except ValueError:
        return False
    return "=" not in text  # the engine splits at each "="


def _values(plan: TrainingPlan, native: Mapping[str, Any]) -> Iterator[Problem]:
    """The Problems of values that have the right type, but would stop the engine or be ignored."""
    sampling = native.get("timestep_sampling")
    if plan.schedule.flow_shift and sampling not in (None, "shift", "sigma"):
        # Source: library/flux_train_utils.py, get_noisy_model_input_and_timesteps.
        message = f"With timestep_sampling {sampling} the flow shift has no effect: set schedule.flow_shift to 0, or use shift here."
        yield Problem(f"{PATH}.timestep_sampling", "error", message)
    if native.get("min_timestep", 0) > native.get("max_timestep", 1000):
        # Source: library/train_util.py, get_timesteps: every step would then be at max_timestep.
        yield Problem(f"{PATH}.min_timestep", "error", "min_timestep must not be more than max_timestep.")
    if native.get("attn_mode") == "sageattn":
        # Source: library/attention.py: it computes no gradients.
        yield Problem(
            f"{PATH}.attn_mode", "error", "SageAttention computes no gradients, so it cannot be used for training."
        )
    for name, count in (("block_lr", 23), ("face_crop_aug_range", 2)):
        # Source: sdxl_train.py, "block_lr must have 23 values"; library/train_util.py, verify_training_args.
        if name in native and [_is_number(part) for part in str(native[name]).split(",")] != [True] * count:
            yield Problem(f"{PATH}.{name}", "error", f"{name} must be {count} numbers separated by commas.")


def _prediction(plan: TrainingPlan, native: Mapping[str, Any]) -> Iterator[Problem]:
    """Source: library/train_util.py, verify_training_args."""
    predicts_v = plan.model.prediction == "v_prediction"
    if native.get("scale_v_pred_loss_like_noise_pred") and not predicts_v:
        message = "scale_v_pred_loss_like_noise_pred works only with v-prediction models; this model is not one."
        yield Problem(f"{PATH}.scale_v_pred_loss_like_noise_pred", "error", message)
    if native.get("v_pred_like_loss") and predicts_v:
        message = "v_pred_like_loss works only with models that predict noise; this is a v-prediction model."
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
