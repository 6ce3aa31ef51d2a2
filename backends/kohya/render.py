"""Renders a plan for sd-scripts: its configuration, the files it refers to, and the command.

Source: sd-scripts at the pinned commit: library/train_util.py (arguments) and the scripts named in `backend.toml`.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import tomli_w

from backends.kohya import dataset, optimizer, results, target
from backends.kohya.cell import KohyaCell, cell_of
from trainer_core import places
from trainer_core.engines import launcher, loop_resume, option_rules
from trainer_core.engines.claim import caption_options
from trainer_core.engines.manifest import BackendManifest
from trainer_core.engines.seam import JobSpec, Metrics, Place
from trainer_core.jobs.spec import Step
from trainer_core.plan.sections import TrainingPlan

ID = "kohya"
FILES = PurePosixPath("engine")
CONFIG, DATASET, PROMPTS = FILES / "config.toml", FILES / "dataset.toml", FILES / "prompts.json"
LOOP = Path(__file__).parent / "inside" / "loop.py"
NEVER = 1_000_000
METRICS_FOLDER = "metrics"
LOSS_TAGS = {"lora": "loss/current"}
"""By method, else "loss". Source: accelerator.log in the scripts."""
LEARNING_RATE_TAGS = ("lr/d*lr/unet", "lr/unet", "lr/d*lr/group0", "lr/group0", "lr/group1", "lr")
"""Source: train_network.py, generate_step_logs. Prodigy's real rate is d*lr; its lr stays 1."""
VALIDATION_TAGS = ("loss/validation/step_average", "loss/validation/epoch_average")
"""Source: train_network.py, train: it writes them only with validation_split. The second one counts epochs, not steps."""


def render(plan: TrainingPlan, place: Place, manifest: BackendManifest) -> JobSpec:
    """The files and the command for a plan without blocking problems."""
    cell = cell_of(plan, manifest)
    files = {
        CONFIG: tomli_w.dumps(config(plan, place, manifest)),
        DATASET: tomli_w.dumps(dataset.dataset(plan, cell, place, native(plan))),
    }
    if cell.captions == "metadata":
        files |= dataset.metadata(plan, place)
    if layers := target.own_layers(plan, cell):
        files[target.LAYERS] = tomli_w.dumps(layers)
    if plan.sampling.every_steps:
        files[PROMPTS] = dataset.prompts(plan, cell)
    if launch := launch_settings(plan):
        files[launcher.CONFIG] = launcher.config(launch, plan.memory.mixed_precision)
    return JobSpec(
        backend=manifest.id,
        files=files,
        steps=(Step("train", command(plan, place, cell), environment(place)),),
        working_directory=place.run,
        total_steps=plan.schedule.steps,
        metrics=Metrics(
            "tensorboard",
            place.run / METRICS_FOLDER,
            LOSS_TAGS.get(plan.model.method, "loss"),
            LEARNING_RATE_TAGS,
            VALIDATION_TAGS,
        ),
        artefacts=results.artefacts(plan),
    )


def native(plan: TrainingPlan) -> dict[str, Any]:
    """The native settings of the script, without those of the launcher."""
    return {name: value for name, value in plan.native.get(ID, {}).items() if name != launcher.TABLE}


def launch_settings(plan: TrainingPlan) -> Mapping[str, Any]:
    """The native settings of accelerate's launcher."""
    return plan.native.get(ID, {}).get(launcher.TABLE, {})


def command(plan: TrainingPlan, place: Place, cell: KohyaCell) -> tuple[str, ...]:
    """The script run directly, or by accelerate's launcher when launch settings ask for it.

    The launcher is avoided where possible: stopping only the launcher would leave the trainer running.
    """
    script = (str((place.checkout or place.run) / cell.program), "--config_file", str(place.run / CONFIG))
    script = loop_resume.command(script, LOOP, place.resume)
    if launch := launch_settings(plan):
        return (*launcher.command(place.python, launch, place.run / launcher.CONFIG), *script)
    return (str(place.python), *script)


def config(plan: TrainingPlan, place: Place, manifest: BackendManifest) -> dict[str, dict[str, Any]]:
    """The tables of the configuration file; the engine ignores their names and merges them."""
    cell = cell_of(plan, manifest)
    tables = {
        "model": _model(plan, place, cell, manifest),
        "dataset": _caches(plan, place, cell),
        "trained": target.options(plan, cell),
        "optimizer": optimizer.options(plan, manifest, launcher.processes(launch_settings(plan))),
        "training": _training(plan, cell),
        "memory": _memory(plan, cell),
        "output": _output(plan, place),
        "sampling": _sampling(plan, place, cell),
        "native": native(plan),
    }
    for title, name in (("trained", "network_args"), ("optimizer", "optimizer_args")):
        if extra := tables["native"].pop(name, None):
            # The engine would use only the last list.
            tables[title][name] = [*tables[title].get(name, ()), *extra]
    unread = {name for row in option_rules.ignored_rows(manifest.options, _program(cell)) for name in row.options}
    return {title: kept for title, table in tables.items() if (kept := _without(table, unread))}


def _program(cell: KohyaCell) -> str:
    return PurePosixPath(cell.program).stem


def _without(table: Mapping[str, Any], unread: Container[str]) -> dict[str, Any]:
    """A table without the options that the parser accepts but the script ignores; rules report them as Problems if needed."""
    return {name: value for name, value in table.items() if name not in unread}


def _model(plan: TrainingPlan, place: Place, cell: KohyaCell, manifest: BackendManifest) -> dict[str, Any]:
    model, parts = plan.model, manifest.families[plan.model.family].parts
    table: dict[str, Any] = {"pretrained_model_name_or_path": _absolute(model.path), **cell.always}
    table |= {option: _absolute(value) for part, option in parts.items() if (value := getattr(model, part))}
    if model.prediction == "v_prediction":
        table["v_parameterization"] = True
    if model.zero_terminal_snr:
        table["zero_terminal_snr"] = True
    if cell.clip_skip and model.clip_skip > 1:
        # Omitted for 1, which is the default: the engine's clip skip does not work in bf16 on a CPU.
        table["clip_skip"] = model.clip_skip
    rows = [manifest.hub[name] for name in manifest.families[plan.model.family].hub]
    tokenizers = place.options.get("tokenizers")
    if tokenizers and not any(row.place == "hub" for row in rows):
        # Lumina 2 would take it for the cache of the Hub. Source: library/strategy_lumina.py, from_pretrained with cache_dir.
        table["tokenizer_cache_dir"] = str(tokenizers)
    return table


def _caches(plan: TrainingPlan, place: Place, cell: KohyaCell) -> dict[str, Any]:
    cached = plan.memory.cache_latents
    table = {
        "dataset_config": str(place.run / DATASET),
        "cache_latents": cached,
        # The engine writes caches next to the staged images, which belong to this run only, so they are never stale.
        "cache_latents_to_disk": cached,
        # Reading cached latents is fast; each worker process would cost memory and time to start.
        "max_data_loader_n_workers": 0 if cached else 4,
        "persistent_data_loader_workers": not cached and native(plan).get("max_data_loader_n_workers") != 0,
    }
    if cell.cache_text_encoder != "no":
        cached = plan.memory.cache_text_encoder
        table |= {"cache_text_encoder_outputs": cached, "cache_text_encoder_outputs_to_disk": cached}
    return table


def _training(plan: TrainingPlan, cell: KohyaCell) -> dict[str, Any]:
    schedule = plan.schedule
    table: dict[str, Any] = {
        "max_train_steps": schedule.steps,
        # The dataset's own configuration decides; this value is written into the metadata of the result.
        "resolution": str(plan.dataset.resolution),
        "gradient_accumulation_steps": schedule.gradient_accumulation,
        "seed": schedule.seed,
        "sdpa": True,
        **cell.fixed,
        **caption_options(cell, plan.dataset.caption_tokens),
    }
    if cell.masks and any(folder.masks for folder in plan.folders):
        table["masked_loss"] = True
    if plan.has_validation:
        every = plan.dataset.validate_every
        # Without a number the engine measures it after each epoch; a number of epochs that is never reached prevents that.
        never = {"validate_every_n_steps": every, "validate_every_n_epochs": NEVER}
        table |= never if every else {"validate_every_n_epochs": 1}
    if plan.has_class_images:
        table["prior_loss_weight"] = float(plan.dataset.class_weight)
    if schedule.min_snr_gamma:
        table["min_snr_gamma"] = float(schedule.min_snr_gamma)
    if schedule.noise_offset:
        table["noise_offset"] = float(schedule.noise_offset)
    if schedule.flow_shift and cell.flow_shift:
        table |= {cell.flow_shift: float(schedule.flow_shift), **cell.shifted}
    return table


def _memory(plan: TrainingPlan, cell: KohyaCell) -> dict[str, Any]:
    memory = plan.memory
    table: dict[str, Any] = {
        "mixed_precision": memory.mixed_precision,
        "gradient_checkpointing": memory.gradient_checkpointing,
    }
    if memory.fp8_base and cell.fp8:
        table[cell.fp8] = True
    if memory.half_weights and memory.mixed_precision != "no":
        table[f"full_{memory.mixed_precision}"] = True
    if memory.blocks_to_swap and cell.swap:
        table["blocks_to_swap"] = memory.blocks_to_swap
    if memory.offload_checkpointing and cell.offload_checkpointing:
        table["cpu_offload_checkpointing"] = True
    return table


def _output(plan: TrainingPlan, place: Place) -> dict[str, Any]:
    table: dict[str, Any] = {
        "output_dir": str(place.output),
        "output_name": plan.output_stem,
        "save_model_as": "safetensors",
        "save_precision": plan.output.save_precision,
        # Flushed after each step. Source: accelerate 1.6.0, TensorBoardTracker.log.
        "logging_dir": str(place.run / METRICS_FOLDER),
        "log_with": "tensorboard",
    }
    if place.resume:
        table["resume"] = str(place.resume.state)
    return table | results.saving(plan)


def _sampling(plan: TrainingPlan, place: Place, cell: KohyaCell) -> dict[str, Any]:
    if not plan.sampling.every_steps:
        return {}
    table: dict[str, Any] = {
        "sample_every_n_steps": plan.sampling.every_steps,
        "sample_at_first": plan.sampling.at_start,
        "sample_prompts": str(place.run / PROMPTS),
    }
    if cell.sampler:
        table["sample_sampler"] = cell.sampler
    return table


def environment(place: Place) -> dict[str, str]:
    """What the engine's process needs beyond the user's environment."""
    variables = {
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
        # Otherwise the log is wrapped at 80 columns, which splits messages over several lines.
        "COLUMNS": "300",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if place.checkout:
        # The engine asks git for its commit; in a plain folder git would answer with the commit of a folder above.
        variables["GIT_CEILING_DIRECTORIES"] = str(place.checkout.parent)
    if place.options.get("offline"):
        variables |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    return variables


def _absolute(path: str) -> str:
    """The absolute path: the engine runs in the run folder, not in the user's working directory."""
    return str(places.typed(path).absolute())
