"""Problems that SimpleTuner would have with the model, dataset, optimizer, schedule, sampling and output of a plan.

Each rule covers a case where the engine stops, or silently ignores a setting. `cell` is the entry of `backend.toml` for
the plan's family and method.
"""

from __future__ import annotations

from collections.abc import Iterator

from backends.simpletuner import image_rules, pair_rules, render
from backends.simpletuner.cell import SimpleTunerCell
from backends.simpletuner.translation import TRANSLATION
from trainer_core import catalog
from trainer_core.engines.claim import caption_problems, flavour_problems
from trainer_core.engines.manifest import BackendManifest
from trainer_core.plan import fields, samples
from trainer_core.plan.effect import no_effect
from trainer_core.plan.prompts import OWN
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Fix, Problem


def check(plan: TrainingPlan, installed: str, cell: SimpleTunerCell, manifest: BackendManifest) -> Iterator[Problem]:
    """The Problems of everything except the network, memory and native settings."""
    # For the other families `single_file = false` says it. Source: helpers/models/common.py, get_model_config_path: for some it
    # stops, for others it loads text encoders, VAE and scheduler from a repository on the Hub that requires a login.
    if plan.model.path.lower().endswith(".safetensors") and manifest.families[plan.model.family].single_file:
        yield _single_file(plan)
    yield from _vae(plan, cell)
    yield from _text_encoder(plan)
    yield from image_rules.check(plan, installed, cell)
    yield from pair_rules.check(plan, cell)
    yield from flavour_problems(cell, plan.model.variant)
    yield from caption_problems(cell, plan.dataset.caption_tokens)
    yield from _optimizer(plan, installed)
    yield from _warm_up(plan)
    yield from _noise(plan, cell)
    yield from _seeds(plan)
    yield from _samples(plan, cell)
    yield from _output(plan)


def _single_file(plan: TrainingPlan) -> Problem:
    if plan.model.method == "full":
        # Source: the same file: load_model drops the file, and unload_text_encoder leaves its text encoders empty.
        message = "SimpleTuner cannot save a complete model that was loaded from a single file, because it unloads text"
        return Problem("model.path", "error", f"{message} encoders and VAE. Choose a diffusers folder.")
    message = "For a single file SimpleTuner downloads small configuration files from the Hugging Face Hub"
    more = ", and the VAE for samples" if plan.sampling.every_steps else ""
    return Problem("model.path", "info", f"{message}{more}.")


def _vae(plan: TrainingPlan, cell: SimpleTunerCell) -> Iterator[Problem]:
    vae, fix = plan.model.vae, Fix("Use the VAE inside the model", {"model.vae": ""})
    if vae.lower().endswith((".safetensors", ".ckpt", ".pt")):
        # Source: helpers/models/common.py, load_vae: it reads a file as a configuration, and the run ends.
        message = "SimpleTuner needs the VAE as a diffusers folder, not as a file."
        yield Problem("model.vae", "error", message, fix)
    elif "sdxl" in vae and cell.model_family != "sdxl":
        # Source: helpers/configuration/cmd_args.py: it then uses the VAE of the model, and continues.
        message = 'SimpleTuner ignores a VAE with "sdxl" in its path for this family. Rename the folder.'
        yield Problem("model.vae", "error", message, fix)


def _text_encoder(plan: TrainingPlan) -> Iterator[Problem]:
    if plan.model.qwen.lower().endswith((".safetensors", ".ckpt", ".pt")):
        # Source: helpers/models/anima/model.py, _prompt_tokenizer_sources: it reads the tokenizer from the same path.
        message = "SimpleTuner needs this text encoder as a folder with its tokenizer, not as a file."
        yield Problem("model.qwen", "error", message, Fix("Use the one inside the model", {"model.qwen": ""}))


def _optimizer(plan: TrainingPlan, installed: str) -> Iterator[Problem]:
    optimizer = plan.optimizer
    without = TRANSLATION.optimizer_without.get(optimizer.name, ())
    if installed.startswith("3."):
        # Source: convert_arg_to_parameters of 3.1.6 returns before it reads the betas.
        without = (*without, "beta1", "beta2")
    known = catalog.optimizers()[optimizer.name]
    for name in known.settings:
        path = f"optimizer.{name}"
        if name in without and getattr(optimizer, name) is not None:
            message = f"SimpleTuner cannot set {fields.all_fields()[path].title} for {known.title}."
            yield Problem(path, "error", message, Fix("Use the optimizer's default", {path: None}))


def _warm_up(plan: TrainingPlan) -> Iterator[Problem]:
    schedule, path = plan.schedule, "schedule.warmup_steps"
    optimizer = catalog.optimizers()[plan.optimizer.name]
    if optimizer.schedule_free:
        # Source: optimizer_param.py, can_warmup.
        if schedule.warmup_steps:
            yield no_effect(path, f"{optimizer.title} has no warm-up.")
    elif schedule.scheduler == "sine" and not schedule.warmup_steps:
        # Source: custom_schedule.py, Sine: "expects positive integer T_0".
        wave = max(1, schedule.steps // 4)
        message = "This schedule needs warm-up steps: they are the length of half a wave."
        fix = Fix(f"Use {wave}", {path: wave})
        if wave >= schedule.steps:  # a warm-up must be shorter than the training
            fix = Fix("Use constant", {"schedule.scheduler": "constant"})
        yield Problem(path, "error", message, fix)
    elif schedule.warmup_steps and schedule.scheduler in ("cosine", "cosine_with_min_lr", "constant"):
        fix = Fix("Use constant_with_warmup", {"schedule.scheduler": "constant_with_warmup"})
        message = f"SimpleTuner's {schedule.scheduler} schedule has no warm-up."
        yield Problem(path, "warning", message, fix)


def _noise(plan: TrainingPlan, cell: SimpleTunerCell) -> Iterator[Problem]:
    schedule, flows = plan.schedule, cell.flow_shift is not None
    if schedule.min_snr_gamma % 1 and not flows:
        # Source: its parser reads --snr_gamma as a whole number, and refuses 4.5.
        whole = float(max(1, round(schedule.min_snr_gamma)))
        fix = Fix(f"Use {whole:g}", {"schedule.min_snr_gamma": whole})
        yield Problem("schedule.min_snr_gamma", "error", "SimpleTuner accepts only whole numbers here.", fix)


def _seeds(plan: TrainingPlan) -> Iterator[Problem]:
    if plan.schedule.seed == 0:
        # Source: helpers/configuration/cmd_args.py: "the current time should be used if value is zero".
        message = "With a seed of 0 SimpleTuner uses the current time as the seed, so the run cannot be repeated."
        yield Problem("schedule.seed", "error", message, Fix("Use 1", {"schedule.seed": 1}))
    if plan.sampling.every_steps:
        # Source: helpers/training/validation.py: validation_seed or seed.
        message = "With a sample seed of 0 SimpleTuner uses the seed of the training."
        fix = Fix("Use 1", samples.replaced(plan.sampling, "seed", 0, 1))
        for path in samples.places_of(plan.sampling, "seed", lambda seed: seed == 0):
            yield Problem(path, "warning", message, fix)


def _samples(plan: TrainingPlan, cell: SimpleTunerCell) -> Iterator[Problem]:
    sampling = plan.sampling
    if not sampling.every_steps:
        return
    if plan.has_controls and cell.samples == "pairs":
        # Source: helpers/training/validation.py, retrieve_validation_edit_images; num_eval_images is 4.
        path = "sampling.prompts" if sampling.prompts else "sampling.prompt"
        message = "With control images SimpleTuner makes samples of 4 pairs of each image folder with their captions, and not of prompts."
        yield Problem(path, "info", message)
    else:
        if plan.has_controls:
            message = "SimpleTuner makes samples of the prompts alone with this model, without control images."
            yield Problem("sampling.prompts" if sampling.prompts else "sampling.prompt", "info", message)
        yield from _same_for_all(plan)
    if not plan.sample_prompts[0].negative_prompt:
        fix = Fix("Fill it in", {"sampling.negative_prompt": render.NEGATIVE_PROMPT})
        message = f'SimpleTuner needs a negative prompt for samples, so "{render.NEGATIVE_PROMPT}" is used.'
        yield Problem("sampling.negative_prompt", "info", message, fix)
    least = cell.least_guidance
    if least > 1 and plan.sample_prompts[0].guidance <= 1:
        # Source: helpers/models/qwen_image/model.py, update_pipeline_call_kwargs: it passes only more than 1 to the pipeline.
        path = next(iter(samples.places_of(sampling, "guidance", lambda guidance: guidance <= 1)))
        message = f"SimpleTuner makes samples of this model with a guidance of {least:g} if you choose 1 or less."
        yield Problem(path, "info", message)
    if cell.component == "unet":
        return
    message = f"The width and height of samples must be multiples of {cell.sample_sides} for this model."
    yield from samples.side_problems(sampling, cell.sample_sides, message)


def _same_for_all(plan: TrainingPlan) -> Iterator[Problem]:
    """Source: 4.10.1, PromptLibraryEntry: a prompt has a text; everything else is an option for all prompts."""
    known = fields.all_fields()
    different = [
        known[f"sampling.{name}"].title.lower()
        for name in OWN
        if len({getattr(prompt, name) for prompt in plan.sample_prompts}) > 1
    ]
    if different:
        message = (
            f"SimpleTuner makes all samples with the same settings, and the prompts differ in: {', '.join(different)}."
        )
        texts = tuple({"text": prompt.text} for prompt in plan.sampling.prompts)
        fix = Fix("Use the same settings for all prompts", {"sampling.prompts": texts})
        yield Problem("sampling.prompts", "error", message, fix)


def _output(plan: TrainingPlan) -> Iterator[Problem]:
    kept, states = plan.output.keep_last, plan.output.keep_states + int(plan.guards.back_after_nan)
    if plan.output.save_every_steps and plan.output.keep_states and 0 < kept < states:
        # Source: trainer.py, checkpoint_state_save: the state is in the folder of the checkpoint.
        message = (
            f"SimpleTuner keeps a state inside its checkpoint, so {states} states need the last {states} checkpoints."
        )
        yield Problem(
            "output.keep_last", "error", message, Fix(f"Keep the last {states}", {"output.keep_last": states})
        )
    if plan.output.save_precision != "float":
        fix = Fix("Set it to float", {"output.save_precision": "float"})
        message = "SimpleTuner saves weights in the precision of the training: 32 bits, or bf16 with a bf16 base model."
        yield Problem("output.save_precision", "info", message, fix)
