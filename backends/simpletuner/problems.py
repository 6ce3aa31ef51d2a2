"""What SimpleTuner cannot do, or would stumble over, said before it spends a minute on its imports."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from backends.simpletuner import render
from trainer_core import engine_options
from trainer_core.backend import BackendManifest
from trainer_core.engine_options import EngineOptions
from trainer_core.hardware import Machine
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Fix, Problem

SCHEMA = Path(__file__).parent / "schema"
VERSIONS = ("4.10.1", "3.1.6")
"""The versions whose options were recorded, newest first."""


def check(plan: TrainingPlan, machine: Machine, manifest: BackendManifest) -> list[Problem]:
    """All Problems of the plan with this engine; none for a family it does not claim, which is said elsewhere."""
    claim = manifest.families.get(plan.model.family)
    if claim is None:
        return []
    return [
        *_model(plan),
        *_dataset(plan, claim.options),
        *_network(plan, machine),
        *_schedule(plan),
        *_memory(plan, machine),
        *_output(plan),
        *engine_options.native_problems(
            render.ID, plan.native.get(render.ID, {}), manifest.tables.get("native", {}), recorded(version(machine))
        ),
    ]


def _model(plan: TrainingPlan) -> Iterator[Problem]:
    if plan.model.prediction == "flow":
        fix = Fix("Use what the file says", {"model.prediction": ""})
        yield Problem("model.prediction", "error", "This engine trains no flow model of this family.", fix)
    if plan.model.vae.lower().endswith((".safetensors", ".ckpt", ".pt")):
        # Source: helpers/models/common.py, load_vae: a file is read as a configuration, and the run ends.
        fix = Fix("Use the VAE inside the model", {"model.vae": ""})
        message = "SimpleTuner takes a VAE as a diffusers folder only, not as a file."
        yield Problem("model.vae", "error", message, fix)
    if plan.model.clip_skip != 1:
        message = "Clip skip has no effect here: this model always uses the layer before the last."
        yield Problem("model.clip_skip", "warning", message, Fix("Set it to 1", {"model.clip_skip": 1}))
    if plan.model.path.endswith(".safetensors"):
        message = "For a single file SimpleTuner fetches small configuration files from the Hugging Face Hub."
        yield Problem("model.path", "info", message)


def _dataset(plan: TrainingPlan, family: Mapping[str, Any]) -> Iterator[Problem]:
    settings, step = plan.dataset, family["bucket_step"]
    if settings.bucket_step != step:
        message = f"SimpleTuner always uses a bucket step of {step} for this model."
        yield Problem("dataset.bucket_step", "warning", message, Fix(f"Use {step}", {"dataset.bucket_step": step}))
    if settings.resolution % step:
        nearest = max(step, round(settings.resolution / step) * step)
        message = f"The resolution must be a multiple of {step} here."
        yield Problem("dataset.resolution", "error", message, Fix(f"Use {nearest}", {"dataset.resolution": nearest}))
    if settings.shuffle_captions:
        fix = Fix("Do not shuffle", {"dataset.shuffle_captions": False})
        yield Problem(
            "dataset.shuffle_captions", "warning", "SimpleTuner cannot shuffle tags: they stay in order.", fix
        )
    if settings.keep_tokens:
        fix = Fix("Set it to 0", {"dataset.keep_tokens": 0})
        yield Problem("dataset.keep_tokens", "info", "No tags are shuffled, so none need to be kept in place.", fix)
    if settings.flip:
        fix = Fix("Do not mirror", {"dataset.flip": False})
        yield Problem("dataset.flip", "warning", "SimpleTuner cannot mirror pictures at random.", fix)


def _network(plan: TrainingPlan, machine: Machine) -> Iterator[Problem]:
    if version(machine).startswith("3.") and plan.network.alpha != plan.network.rank:
        rank = float(plan.network.rank)
        # Source: SimpleTuner 3.1.6 knows no other file format than PEFT's, which keeps alpha in its metadata only.
        message = (
            "SimpleTuner 3 notes alpha where ComfyUI and Forge do not look, so the LoRA would work too strongly there: "
            "alpha must equal the rank."
        )
        yield Problem("network.alpha", "error", message, Fix(f"Use alpha {rank:g}", {"network.alpha": rank}))
    if plan.network.train_text_encoder:
        fix = Fix("Leave it as it is", {"network.train_text_encoder": False})
        message = (
            "Easel does not train the text encoder with SimpleTuner: its captions are encoded once, before training."
        )
        yield Problem("network.train_text_encoder", "error", message, fix)


def _schedule(plan: TrainingPlan) -> Iterator[Problem]:
    schedule = plan.schedule
    if schedule.scheduler == "cosine_with_restarts":
        # Source: helpers/training/custom_schedule.py warns that it "is currently misbehaving".
        message = "SimpleTuner says itself that its cosine with restarts does not do what it should."
        yield Problem("schedule.scheduler", "error", message, Fix("Use cosine", {"schedule.scheduler": "cosine"}))
    elif schedule.restarts != 1:
        message = "Restarts have no effect with this schedule."
        yield Problem("schedule.restarts", "info", message, Fix("Set it to 1", {"schedule.restarts": 1}))
    if schedule.warmup_steps and schedule.scheduler in ("cosine", "constant"):
        fix = Fix("Use constant_with_warmup", {"schedule.scheduler": "constant_with_warmup"})
        message = f"SimpleTuner's {schedule.scheduler} schedule has no warm-up."
        yield Problem("schedule.warmup_steps", "warning", message, fix)
    if schedule.min_snr_gamma % 1:
        # Source: its parser reads --snr_gamma as a whole number, and stops at 4.5.
        whole = max(1, round(schedule.min_snr_gamma))
        message = "SimpleTuner takes whole numbers only here."
        yield Problem(
            "schedule.min_snr_gamma", "error", message, Fix(f"Use {whole}", {"schedule.min_snr_gamma": float(whole)})
        )
    if plan.optimizer.name == "Prodigy" and schedule.scheduler != "constant":
        fix = Fix("Use constant", {"schedule.scheduler": "constant", "schedule.warmup_steps": 0})
        message = "SimpleTuner's Prodigy is free of schedules: it wants a constant one."
        yield Problem("schedule.scheduler", "error", message, fix)


def _memory(plan: TrainingPlan, machine: Machine) -> Iterator[Problem]:
    gpu = any(accelerator.kind != "cpu" for accelerator in machine.accelerators)
    if plan.memory.mixed_precision == "fp16":
        # Source: helpers/configuration/cmd_args.py makes the LoRA itself fp16, whose gradients cannot be scaled.
        better = "bf16" if gpu else "no"
        message = "With fp16 SimpleTuner keeps the LoRA itself in fp16, and training breaks down."
        fix = Fix(f"Use {better}", {"memory.mixed_precision": better})
        yield Problem("memory.mixed_precision", "error", message, fix)
    if plan.optimizer.name == "AdamW8bit" and not gpu:
        message = "AdamW8bit works on a GPU only, and none was found."
        yield Problem("optimizer.name", "error", message, Fix("Use AdamW", {"optimizer.name": "AdamW"}))
    if not plan.memory.cache_text_encoder:
        fix = Fix("Show it as on", {"memory.cache_text_encoder": True})
        yield Problem(
            "memory.cache_text_encoder", "info", "SimpleTuner always encodes captions once at the start.", fix
        )


def _output(plan: TrainingPlan) -> Iterator[Problem]:
    if plan.output.save_precision != "float":
        fix = Fix("Show it as float", {"output.save_precision": "float"})
        message = "SimpleTuner writes the numbers as it trained them: 32 bits, or bf16 with a bf16 base."
        yield Problem("output.save_precision", "info", message, fix)

    if plan.network.alpha != plan.network.rank and not render.ends_in_checkpoint(plan):
        every = max(step for step in range(1, plan.output.save_every_steps + 1) if plan.schedule.steps % step == 0)
        message = (
            "SimpleTuner writes the right alpha into its checkpoints only, so the last step must be one that is saved: "
            f"{plan.schedule.steps} steps are not a multiple of {plan.output.save_every_steps}."
        )
        fix = Fix(f"Save every {every} steps", {"output.save_every_steps": every})
        yield Problem("output.save_every_steps", "error", message, fix)
    if plan.sampling.every_steps and not plan.sampling.negative_prompt:
        fix = Fix("Show it", {"sampling.negative_prompt": render.NEGATIVE_PROMPT})
        message = f'SimpleTuner draws no samples without a negative prompt, so "{render.NEGATIVE_PROMPT}" is used.'
        yield Problem("sampling.negative_prompt", "info", message, fix)


def version(machine: Machine) -> str:
    """The installed version of the engine, as the machine's record has it; "" when that is not known."""
    return str(machine.probes.get("engines", {}).get(render.ID, ""))


def recorded(version: str) -> EngineOptions:
    """The recorded options of a version; of the newest recorded one when that version was not."""
    return engine_options.load(SCHEMA / f"{version if version in VERSIONS else VERSIONS[0]}.json")


def unknown_keys(files: Mapping[PurePosixPath, str], options: EngineOptions) -> list[str]:
    """The sentences for every rendered key the engine does not know or would misread; must be empty."""
    found = options.complaints(json.loads(files[render.CONFIG]))
    for entry in json.loads(files[render.DATA]):
        found += engine_options.load(SCHEMA / f"{entry['dataset_type']}.json").complaints(entry)
    return found
