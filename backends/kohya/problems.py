"""What sd-scripts cannot do, or would stumble over, said before gigabytes are loaded."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from backends.kohya import render
from trainer_core import engine_options
from trainer_core.backend import BackendManifest
from trainer_core.engine_options import EngineOptions
from trainer_core.hardware import Machine
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Fix, Problem

SCHEMA = Path(__file__).parent / "schema"
OTHER_RANKS = frozenset(
    {"conv_dim", "conv_alpha", "block_dims", "block_alphas", "conv_block_dims", "conv_block_alphas"}
)
"""Source: networks/lora.py, create_network. A LoRA made with them would be refused after its training."""


def check(plan: TrainingPlan, machine: Machine, manifest: BackendManifest) -> list[Problem]:
    """All Problems of the plan with this engine; none for a family it does not claim, which is said elsewhere."""
    claim = manifest.families.get(plan.model.family)
    if claim is None:
        return []
    family = claim.options
    return [
        *_model(plan, family, machine),
        *_dataset(plan, family),
        *_captions_and_caches(plan, family),
        *_optimizer(plan, machine),
        *_precision(plan, machine),
        *_native(plan, manifest),
    ]


def _model(plan: TrainingPlan, family: Mapping[str, Any], machine: Machine) -> Iterator[Problem]:
    if plan.model.prediction == "flow":
        fix = Fix("Use what the file says", {"model.prediction": ""})
        yield Problem("model.prediction", "error", "This engine trains no flow model of this family.", fix)
    if plan.model.clip_skip != 1 and not family["clip_skip"]:
        message = "Clip skip has no effect here: this model always uses the layer before the last."
        yield Problem("model.clip_skip", "warning", message, Fix("Set it to 1", {"model.clip_skip": 1}))
    elif plan.model.clip_skip != 1 and plan.memory.mixed_precision == "bf16" and not _has_gpu(machine):
        # Source: a run: "mixed dtype (CPU): expect parameter to have scalar type of Float" in strategy_sd.py.
        message = "Clip skip does not work in bf16 on a CPU, and no GPU was found."
        yield Problem("model.clip_skip", "error", message, Fix("Use precision no", {"memory.mixed_precision": "no"}))


def _dataset(plan: TrainingPlan, family: Mapping[str, Any]) -> Iterator[Problem]:
    settings, wanted = plan.dataset, family["bucket_step"]
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
    if settings.keep_tokens and not settings.shuffle_captions:
        fix = Fix("Set it to 0", {"dataset.keep_tokens": 0})
        yield Problem("dataset.keep_tokens", "info", "No tags are shuffled, so none need to be kept in place.", fix)


def _captions_and_caches(plan: TrainingPlan, family: Mapping[str, Any]) -> Iterator[Problem]:
    path, off = "memory.cache_text_encoder", Fix("Do not cache", {"memory.cache_text_encoder": False})
    if not plan.memory.cache_text_encoder:
        return
    if not family["cache_text_encoder"]:
        message = "This engine cannot cache the text encoder for this model family."
        yield Problem(path, "error", message, off)
        return
    if plan.network.train_text_encoder:
        yield Problem(path, "error", "A text encoder that is trained cannot be cached.", off)
    if plan.dataset.shuffle_captions:
        yield Problem(path, "error", "Cached captions stay as they are, so tags cannot be shuffled.", off)
    if plan.dataset.caption_dropout:
        yield Problem(path, "error", "Cached captions are always there, so caption dropout cannot work.", off)


def _optimizer(plan: TrainingPlan, machine: Machine) -> Iterator[Problem]:
    optimizer, schedule = plan.optimizer, plan.schedule
    if schedule.scheduler == "constant" and schedule.warmup_steps:
        fix = Fix("Use constant_with_warmup", {"schedule.scheduler": "constant_with_warmup"})
        message = "The engine stops when a constant schedule is given a warm-up."
        yield Problem("schedule.warmup_steps", "error", message, fix)
    if schedule.scheduler != "cosine_with_restarts" and schedule.restarts != 1:
        message = "Restarts have no effect with this schedule."
        yield Problem("schedule.restarts", "info", message, Fix("Set it to 1", {"schedule.restarts": 1}))
    if optimizer.name == "AdamW8bit" and not _has_gpu(machine):
        message = "AdamW8bit works on a GPU only, and none was found."
        yield Problem("optimizer.name", "error", message, Fix("Use AdamW", {"optimizer.name": "AdamW"}))
    rates = (optimizer.learning_rate, optimizer.text_encoder_learning_rate)
    if optimizer.name == "Prodigy" and plan.network.train_text_encoder and rates[0] != rates[1]:
        message = "Prodigy takes one learning rate for everything, so the text encoder needs the same."
        fix = Fix("Use the same", {"optimizer.text_encoder_learning_rate": rates[0]})
        yield Problem("optimizer.text_encoder_learning_rate", "error", message, fix)


def _precision(plan: TrainingPlan, machine: Machine) -> Iterator[Problem]:
    if plan.memory.mixed_precision == "fp16" and not _has_gpu(machine):
        # Source: a run: "expected m1 and m2 to have the same dtype, but got: c10::Half != float".
        message = "fp16 does not work on a CPU, and no GPU was found."
        yield Problem("memory.mixed_precision", "error", message, Fix("Use no", {"memory.mixed_precision": "no"}))
    elif plan.memory.mixed_precision == "bf16" and not _has_gpu(machine):
        message = "No GPU was found. On a CPU bf16 saves memory, but is slower than no on most."
        yield Problem("memory.mixed_precision", "info", message, Fix("Use no", {"memory.mixed_precision": "no"}))


def _native(plan: TrainingPlan, manifest: BackendManifest) -> Iterator[Problem]:
    settings, rules = plan.native.get(render.ID, {}), manifest.tables.get("native", {})
    found = list(engine_options.native_problems(render.ID, settings, rules, script_options(plan, manifest)))
    yield from found
    path = f"native.{render.ID}.network_args"
    if path in {problem.path for problem in found}:
        return
    if any(entry.partition("=")[0].strip() in OTHER_RANKS for entry in settings.get("network_args", ())):
        message = "This gives a LoRA of more than one rank or alpha; only plain LoRA is claimed in this version."
        yield Problem(path, "error", message)


def _has_gpu(machine: Machine) -> bool:
    return any(accelerator.kind != "cpu" for accelerator in machine.accelerators)


def script_options(plan: TrainingPlan, manifest: BackendManifest) -> EngineOptions:
    """The recorded options of the script that trains the plan's family."""
    script = PurePosixPath(manifest.families[plan.model.family].options["script"])
    return engine_options.load(SCHEMA / f"{script.stem}.json")


def unknown_keys(files: Mapping[PurePosixPath, str], options: EngineOptions) -> list[str]:
    """The sentences for every rendered key the engine's parsers do not know or would misread; must be empty.

    The engine itself says nothing: a key it does not know is dropped, and a value of the wrong type is kept.
    """
    tables = tomllib.loads(files[render.CONFIG])
    found = [f"{name}: only tables one level deep are read." for name, table in tables.items() if _nested(table)]
    for table in tables.values():
        found += options.complaints(table)
    for entry in tomllib.loads(files[render.DATASET])["datasets"]:
        found += engine_options.load(SCHEMA / "dataset.json").complaints(entry)
        for subset in entry["subsets"]:
            found += engine_options.load(SCHEMA / "subset.json").complaints(subset)
    if render.PROMPTS in files:
        # Source: library/train_util.py, sample_image_inference.
        known = {"prompt", "negative_prompt", "sample_steps", "width", "height", "scale", "seed"}
        found += [f"prompt: {name}" for prompt in json.loads(files[render.PROMPTS]) for name in prompt.keys() - known]
    return found


def _nested(table: Any) -> bool:
    return not isinstance(table, dict) or any(isinstance(value, dict) for value in table.values())
