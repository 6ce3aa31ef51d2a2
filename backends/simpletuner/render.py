"""Renders a plan for SimpleTuner: its configuration, the files it refers to, and the command.

Source: SimpleTuner 4.10.1 and 3.1.6, both run; simpletuner/helpers/configuration and documentation/OPTIONS.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from backends.simpletuner import controls, dataset, optimizer, results, target
from backends.simpletuner.cell import SimpleTunerCell, cell_of, flavour
from trainer_core import places
from trainer_core.engines import launcher
from trainer_core.engines.claim import caption_options
from trainer_core.engines.manifest import BackendManifest
from trainer_core.engines.seam import JobSpec, Metrics, Place
from trainer_core.jobs.spec import Step
from trainer_core.plan.sections import TrainingPlan

ID = "simpletuner"
FILES = PurePosixPath("engine")
CONFIG, DATA, PROMPTS = FILES / "config.json", FILES / "multidatabackend.json", FILES / "prompts.json"
SHIM = Path(__file__).parent / "shim"
NEGATIVE_PROMPT = "blurry, cropped, ugly"
"""The engine's own default, written out."""
EIGHT_BITS = "fp8-sdnq"
"""The 8-bit format that works on every device. Source: helpers/training/quantisation; a run."""


def render(plan: TrainingPlan, place: Place, manifest: BackendManifest) -> JobSpec:
    """The files and the command for a plan without blocking problems."""
    cell = cell_of(plan, manifest)
    files = {
        CONFIG: _json(config(plan, place, manifest)),
        DATA: _json(dataset.data_backends(plan, place)),
    }
    if target.is_lycoris(plan, cell):
        files[target.LYCORIS] = _json(target.lycoris(plan, cell))
    if has_library(plan):
        files[PROMPTS] = _json(library(plan))
    if launch := launch_settings(plan):
        files[launcher.CONFIG] = launcher.config(launch, plan.memory.mixed_precision)
    offered = controls.of(plan, place)
    variables = environment(place)
    if offered:
        files[controls.FILE] = _json({control.key: 0 for control in offered.values()})
        variables[controls.VARIABLE] = str(place.run / controls.FILE)
    return JobSpec(
        backend=manifest.id,
        files=files,
        steps=(Step("train", command(plan, place), variables),),
        working_directory=place.run,
        total_steps=plan.schedule.steps,
        metrics=Metrics("log"),
        artefacts=results.artefacts(plan, cell, place.version),
        controls=offered,
        folders={PurePosixPath(cell.calls_folder): places.typed(plan.model.path).absolute()}
        if cell.calls_folder
        else {},
    )


def native(plan: TrainingPlan) -> dict[str, Any]:
    """The native settings of the trainer, without those of the launcher."""
    return {name: value for name, value in plan.native.get(ID, {}).items() if name != launcher.TABLE}


def launch_settings(plan: TrainingPlan) -> Mapping[str, Any]:
    """The native settings of accelerate's launcher."""
    return plan.native.get(ID, {}).get(launcher.TABLE, {})


def command(plan: TrainingPlan, place: Place) -> tuple[str, ...]:
    """The trainer run directly, or by accelerate's launcher when launch settings ask for it.

    The engine's own command is avoided: it starts two more processes, which survive a signal to the first.
    """
    launch = launch_settings(plan)
    if not launch:
        return (str(place.python), "-m", "simpletuner.train")
    given = {**launch, "mixed_precision": plan.memory.mixed_precision}
    if place.options.get("accelerator") == "cpu":
        given["cpu"] = True
    words = launcher.command(place.python, given, place.run / launcher.CONFIG)
    return (*words, "--module", "simpletuner.train")


def config(plan: TrainingPlan, place: Place, manifest: BackendManifest) -> dict[str, Any]:
    """The flat options of the configuration file."""
    cell = cell_of(plan, manifest)
    own, chosen = native(plan), optimizer.options(plan, manifest)
    if extra := own.pop("optimizer_config", ""):
        # Of two arguments with the same name the engine uses the last one.
        chosen["optimizer_config"] = ",".join(filter(None, (chosen["optimizer_config"], str(extra))))
    return {
        "model_family": cell.model_family,
        "model_flavour": flavour(plan, cell),
        **_model(plan, manifest),
        **target.options(plan, place, cell),
        **chosen,
        **_training(plan, cell),
        **_memory(plan),
        **_output(plan, place),
        **_sampling(plan, place, cell),
        **_adapter(plan, cell),
        **own,
    }


def _model(plan: TrainingPlan, manifest: BackendManifest) -> dict[str, Any]:
    model, parts = plan.model, manifest.families[plan.model.family].parts
    options: dict[str, Any] = {"pretrained_model_name_or_path": _absolute(model.path)}
    if "vae" in parts:
        # Without this option the engine downloads a VAE instead of using the one of the model.
        options[parts["vae"]] = _absolute(model.path)
    options |= {option: _absolute(value) for part, option in parts.items() if (value := getattr(model, part))}
    if model.prediction in ("epsilon", "v_prediction"):
        options["prediction_type"] = model.prediction
    if model.zero_terminal_snr:
        # Training and sampling must start at the last timestep, which is pure noise only with this schedule.
        options |= {
            "rescale_betas_zero_snr": True,
            "training_scheduler_timestep_spacing": "trailing",
            "inference_scheduler_timestep_spacing": "trailing",
        }
    return options


def _training(plan: TrainingPlan, cell: SimpleTunerCell) -> dict[str, Any]:
    schedule = plan.schedule
    options: dict[str, Any] = {
        "max_train_steps": schedule.steps,
        "num_train_epochs": 0,
        "train_batch_size": schedule.batch_size,
        # The dataset's own configuration decides; this value is written into the metadata of the result.
        "resolution": plan.dataset.resolution,
        "gradient_accumulation_steps": schedule.gradient_accumulation,
        "seed": schedule.seed,
        "caption_dropout_probability": float(plan.dataset.caption_dropout),
        **caption_options(cell, plan.dataset.caption_tokens),
    }
    if plan.has_controls:
        # All of an image's control images, instead of one of them at random.
        options["conditioning_multidataset_sampling"] = "combined"
    if schedule.min_snr_gamma:
        options["snr_gamma"] = int(schedule.min_snr_gamma)
    if schedule.noise_offset:
        options |= {"offset_noise": True, "noise_offset": float(schedule.noise_offset), "noise_offset_probability": 1.0}
    if cell.flow_shift is not None:
        by_size = bool(native(plan).get("flow_schedule_auto_shift")) or not cell.flow_shift
        shift = float(schedule.flow_shift) or (0.0 if by_size else cell.flow_shift)
        # A set shift takes precedence over the one that depends on the image size.
        options |= {"flow_schedule_shift": shift, "flow_schedule_auto_shift": not shift}
    return options


def _memory(plan: TrainingPlan) -> dict[str, Any]:
    memory = plan.memory
    precise = memory.mixed_precision == "no"
    options: dict[str, Any] = {
        "mixed_precision": memory.mixed_precision,
        "base_model_default_dtype": "fp32" if precise else "bf16",
        "vae_dtype": "fp32" if precise else "bf16",
        "gradient_checkpointing": memory.gradient_checkpointing,
        "vae_batch_size": 1,
        "vae_cache_disable": not memory.cache_latents,
    }
    if memory.fp8_base:
        options["base_model_precision"] = EIGHT_BITS
    if memory.blocks_to_swap:
        options["musubi_blocks_to_swap"] = memory.blocks_to_swap
    if memory.offload_checkpointing:
        options["gradient_checkpointing_backend"] = "unsloth"
    return options


def _output(plan: TrainingPlan, place: Place) -> dict[str, Any]:
    return {
        "output_dir": str(place.output),
        "cache_dir": str(place.run / dataset.CACHE_FOLDER),
        "data_backend_config": str(place.run / DATA),
        **results.saving(plan),
        **({"resume_from_checkpoint": place.resume.state.name} if place.resume else {}),
        "disable_benchmark": True,
        "report_to": "none",
        "push_to_hub": False,
        "push_checkpoints_to_hub": False,
    }


def _adapter(plan: TrainingPlan, cell: SimpleTunerCell) -> dict[str, Any]:
    """Without a file for an adapter that a model need not have, none is used: the engine would fetch one from the Hub by its name."""
    needless = "" in cell.adapters and plan.model.method == "lora" and not native(plan).get("assistant_lora_path")
    return {"disable_assistant_lora": True} if needless else {}


def has_library(plan: TrainingPlan) -> bool:
    """Whether the prompts are in a file of their own: several of them."""
    return bool(plan.sampling.every_steps) and len(plan.sample_prompts) > 1


def library(plan: TrainingPlan) -> dict[str, str]:
    """The prompts by the names from which the engine makes those of the samples.

    Source: 4.10.1, PromptLibraryEntry: of a prompt it reads the text and the strength of the network, and nothing else.
    """
    return {f"{results.PROMPT}{prompt.index}": prompt.text for prompt in plan.sample_prompts}


def _sampling(plan: TrainingPlan, place: Place, cell: SimpleTunerCell) -> dict[str, Any]:
    sampling, first = plan.sampling, plan.sample_prompts[0]
    if not sampling.every_steps:
        return {"validation_disable": True}
    return {
        "validation_step_interval": sampling.every_steps,
        "validation_on_startup": sampling.at_start,
        **(
            {"user_prompt_library": str(place.run / PROMPTS)}
            if has_library(plan)
            else {"validation_prompt": first.text}
        ),
        # Without one the engine looks for an encoding of "" that it never cached, and generates no samples.
        "validation_negative_prompt": first.negative_prompt or NEGATIVE_PROMPT,
        "validation_disable_unconditional": True,
        "validation_resolution": f"{first.width}x{first.height}",
        "validation_num_inference_steps": first.inference_steps,
        # Below 1 there is no guidance either.
        cell.guidance: max(first.guidance - 1.0, 0.0) if cell.guidance_from_zero else float(first.guidance),
        "validation_seed": first.seed,
    }


def environment(place: Place) -> dict[str, str]:
    """What the engine's process needs beyond the user's environment."""
    variables = {
        "CONFIG_BACKEND": "json",
        # The engine reads this one first; a user who also runs the engine directly may have set it to something else.
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


def _absolute(path: str) -> str:
    """The absolute path: the engine runs in the run folder, not in the user's working directory."""
    return str(places.typed(path).absolute())


def _json(data: Any) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
