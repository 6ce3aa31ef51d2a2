"""Renders a plan for musubi-tuner: its configuration, the description of the dataset, and the commands.

Source: musubi-tuner at the pinned commit: training/parser_common.py (the options of every program) and the programs in `backend.toml`.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import tomli_w

from backends.musubi import dataset, results, steps
from backends.musubi.cell import MusubiCell, cell_of, told
from trainer_core import catalog
from trainer_core.engines import keyed_optimizer
from trainer_core.engines.manifest import BackendManifest
from trainer_core.engines.seam import JobSpec, Metrics, Place
from trainer_core.plan.sections import TrainingPlan

ID = "musubi"
FILES = PurePosixPath("engine")
CONFIG, DATASET, PROMPTS = FILES / "config.toml", FILES / "dataset.toml", FILES / "prompts.json"
METRICS_FOLDER = "metrics"
LOSS_TAG = "loss/current"
LEARNING_RATE_TAGS = ("lr/d*lr/unet", "lr/unet", "lr/group0")
"""Source: training/trainer_base.py, generate_step_logs. Prodigy's real rate is d*lr; its lr stays 1."""
NETWORKS = {"loha": "networks.loha", "lokr": "networks.lokr"}
"""The modules of algorithms other than a plain LoRA, whose module depends on the family."""
NETWORK_ARGUMENTS = {"rank_dropout": "rank_dropout", "module_dropout": "module_dropout", "factor": "factor"}
"""Settings that are keys of `network_args`. Source: networks/lora.py and lokr.py, create_network."""
SPELLING = {"epsilon": "eps", "bias_correction": "use_bias_correction"}
"""The names of settings in `optimizer_args`, if they differ."""
WARMS_UP_ITSELF = ("AdamWScheduleFree", "SGDScheduleFree")
"""Schedule-free optimizers that take `warmup_steps` as an argument."""


def render(plan: TrainingPlan, place: Place, manifest: BackendManifest) -> JobSpec:
    """The files and the commands for a plan without blocking problems."""
    cell = cell_of(plan, manifest)
    files = {
        CONFIG: tomli_w.dumps(config(plan, place, manifest)),
        DATASET: tomli_w.dumps(dataset.dataset(plan, place)),
    }
    if plan.sampling.every_steps:
        files[PROMPTS] = dataset.prompts(plan, cell)
    return JobSpec(
        backend=manifest.id,
        files=files,
        steps=steps.steps(plan, place, manifest, native(plan), place.run / CONFIG, place.run / DATASET),
        working_directory=place.run,
        total_steps=plan.schedule.steps,
        metrics=Metrics("tensorboard", place.run / METRICS_FOLDER, LOSS_TAG, LEARNING_RATE_TAGS),
        artefacts=results.artefacts(plan),
    )


def native(plan: TrainingPlan) -> dict[str, Any]:
    """The native settings of the program that trains."""
    return dict(plan.native.get(ID, {}))


def config(plan: TrainingPlan, place: Place, manifest: BackendManifest) -> dict[str, dict[str, Any]]:
    """The tables of the configuration file; the engine ignores their names and merges them."""
    cell = cell_of(plan, manifest)
    tables = {
        "model": _model(plan, cell, manifest),
        "dataset": {"dataset_config": str(place.run / DATASET), "max_data_loader_n_workers": 0},
        "network": _network(plan, cell),
        "optimizer": keyed_optimizer.options(plan, manifest, SPELLING, WARMS_UP_ITSELF),
        "training": _training(plan, cell),
        "memory": _memory(plan),
        "output": _output(plan, place),
        "sampling": _sampling(plan, place),
        "native": native(plan),
    }
    for title, name in (("network", "network_args"), ("optimizer", "optimizer_args")):
        if extra := tables["native"].pop(name, None):
            # The engine would use only the last list.
            tables[title][name] = [*tables[title].get(name, ()), *extra]
    return {title: table for title, table in tables.items() if table}


def _model(plan: TrainingPlan, cell: MusubiCell, manifest: BackendManifest) -> dict[str, Any]:
    model, parts = plan.model, manifest.families[plan.model.family].parts
    files = {option: steps.absolute(value) for part, option in parts.items() if (value := getattr(model, part))}
    return {"dit": steps.absolute(model.path), **files, **told(plan, cell)}


def module(plan: TrainingPlan, cell: MusubiCell) -> str:
    """The module that makes the network."""
    return NETWORKS.get(plan.network.algorithm, cell.network)


def _network(plan: TrainingPlan, cell: MusubiCell) -> dict[str, Any]:
    network = plan.network
    read, defaults = catalog.algorithms()[network.algorithm].settings, type(network).model_fields
    table: dict[str, Any] = {
        "network_module": module(plan, cell),
        "network_dim": network.rank,
        "network_alpha": float(network.alpha),
    }
    if network.dropout and "dropout" in read:
        table["network_dropout"] = float(network.dropout)
    arguments = [
        f"{key}={getattr(network, name)}"
        for name, key in NETWORK_ARGUMENTS.items()
        if name in read and getattr(network, name) != defaults[name].default
    ]
    return {**table, "network_args": arguments} if arguments else table


def _training(plan: TrainingPlan, cell: MusubiCell) -> dict[str, Any]:
    schedule = plan.schedule
    table: dict[str, Any] = {
        "max_train_steps": schedule.steps,
        "gradient_accumulation_steps": schedule.gradient_accumulation,
        "seed": schedule.seed,
        "sdpa": True,
        # Written into the metadata of the result.
        "metadata_reso": f"{plan.dataset.resolution},{plan.dataset.resolution}",
        **cell.fixed,
    }
    if schedule.flow_shift:
        table |= {"timestep_sampling": "shift", "discrete_flow_shift": float(schedule.flow_shift)}
    return table


def _memory(plan: TrainingPlan) -> dict[str, Any]:
    memory = plan.memory
    table: dict[str, Any] = {
        "mixed_precision": memory.mixed_precision,
        "gradient_checkpointing": memory.gradient_checkpointing,
    }
    if memory.fp8_base:
        # Without scales the norms would be in 8 bits, too. Source: docs/krea2.md of musubi-tuner.
        table |= {"fp8_base": True, "fp8_scaled": True}
    if memory.blocks_to_swap:
        table["blocks_to_swap"] = memory.blocks_to_swap
    if memory.offload_checkpointing:
        table["gradient_checkpointing_cpu_offload"] = True
    return table


def _output(plan: TrainingPlan, place: Place) -> dict[str, Any]:
    table: dict[str, Any] = {
        "output_dir": str(place.output),
        "output_name": plan.output_stem,
        "save_precision": plan.output.save_precision,
        "logging_dir": str(place.run / METRICS_FOLDER),
        "log_with": "tensorboard",
    }
    if place.resume:
        table["resume"] = str(place.resume.state)
    return table | results.saving(plan)


def _sampling(plan: TrainingPlan, place: Place) -> dict[str, Any]:
    if not plan.sampling.every_steps:
        return {}
    return {
        "sample_every_n_steps": plan.sampling.every_steps,
        "sample_at_first": plan.sampling.at_start,
        "sample_prompts": str(place.run / PROMPTS),
    }
