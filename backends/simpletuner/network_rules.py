"""What SimpleTuner and LyCORIS cannot do, or would stumble over, of the network that is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from backends.simpletuner import results, trained
from backends.simpletuner.rules import no_effect
from trainer_core import catalog
from trainer_core.backend import BackendManifest
from trainer_core.plan.sections import NetworkSettings, OptimizerSettings, TrainingPlan
from trainer_core.problems import Fix, Problem

CONVOLUTION_SETTINGS = ("conv_rank", "conv_alpha", "tucker")
NOT_IN_PEFT = ("rank_dropout", "module_dropout")
ALPHA = "network.alpha"


def check(plan: TrainingPlan, installed: str, cell: Mapping[str, Any], manifest: BackendManifest) -> Iterator[Problem]:
    """The Problems of the network section."""
    if plan.network.train_text_encoder:
        fix = Fix("Leave it as it is", {"network.train_text_encoder": False})
        message = (
            "Easel does not train the text encoder with SimpleTuner: its captions are encoded once, before training."
        )
        yield Problem("network.train_text_encoder", "error", message, fix)
    path, usual = "optimizer.text_encoder_learning_rate", OptimizerSettings().text_encoder_learning_rate
    if plan.optimizer.text_encoder_learning_rate != usual:
        message = "The text encoder is not trained, so its learning rate has no effect."
        yield Problem(path, "info", message, Fix("Leave it out", {path: usual}))
    if plan.model.method != "lora" or plan.network.algorithm not in manifest.families[plan.model.family].algorithms:
        return
    if trained.is_lycoris(plan, cell):
        yield from _unread(plan, manifest)
        yield from _numbers(plan)
        yield from _layers(plan, cell, manifest)
    else:
        yield from _peft(plan)
        yield from _written_alpha(plan, installed)


def _peft(plan: TrainingPlan) -> Iterator[Problem]:
    for name in NOT_IN_PEFT:
        # Source: helpers/models/common.py, add_lora_adapter: PEFT's LoraConfig has one kind of dropout.
        if getattr(plan.network, name):
            yield no_effect(f"network.{name}", "with SimpleTuner a plain LoRA knows the usual dropout only.")


def _written_alpha(plan: TrainingPlan, installed: str) -> Iterator[Problem]:
    rank, path = float(plan.network.rank), "output.save_every_steps"
    if plan.network.alpha == rank:
        return
    if trained.lora_format(installed) == "diffusers":
        # Source: PEFT's file format keeps alpha in its metadata only, and ComfyUI and Forge take it as the rank.
        message = (
            "SimpleTuner 3 notes alpha where ComfyUI and Forge do not look, so the LoRA would work too strongly there: "
            "alpha must equal the rank."
        )
        yield Problem(ALPHA, "error", message, Fix(f"Use alpha {rank:g}", {ALPHA: rank}))
    elif not results.ends_in_checkpoint(plan):
        every = max(step for step in range(1, plan.output.save_every_steps + 1) if plan.schedule.steps % step == 0)
        message = (
            "SimpleTuner writes the right alpha into its checkpoints only, so the last step must be one that is saved: "
            f"{plan.schedule.steps} steps are not a multiple of {plan.output.save_every_steps}."
        )
        yield Problem(path, "error", message, Fix(f"Save every {every} steps", {path: every}))


def _unread(plan: TrainingPlan, manifest: BackendManifest) -> Iterator[Problem]:
    """What the catalogue says an algorithm reads, and its module in LyCORIS does not."""
    algorithm = catalog.algorithms()[plan.network.algorithm]
    read = {"rank", "alpha", "targets", *manifest.tables["lycoris"][algorithm.id]["reads"]}
    for name in algorithm.settings:
        if name not in read and getattr(plan.network, name) != NetworkSettings.model_fields[name].default:
            yield no_effect(f"network.{name}", f"LyCORIS makes {algorithm.title} without it.")


def _numbers(plan: TrainingPlan) -> Iterator[Problem]:
    network, algorithm = plan.network, catalog.algorithms()[plan.network.algorithm]
    if "alpha" in algorithm.settings and network.alpha % 1:
        # Source: trainer.py, init_trainable_peft_adapter: int(linear_alpha); and 0 would mean the rank.
        whole = float(max(1, round(network.alpha)))
        message = "SimpleTuner cuts off what is behind the point of alpha in networks of this kind."
        yield Problem(ALPHA, "error", message, Fix(f"Use alpha {whole:g}", {ALPHA: whole}))
    if network.algorithm == "glora" and network.rank_stabilized:
        # Source: lycoris, modules/glora.py: it writes alpha as it was given, and nothing of the root.
        path = "network.rank_stabilized"
        message = "The file of a rank-stabilised GLoRA does not say that it is one, so it would work too weakly."
        yield Problem(path, "error", message, Fix("Do not stabilise", {path: False}))
    size = network.block_size
    if network.algorithm == "dylora" and size and network.rank % size:
        # Source: lycoris, modules/dylora.py: "lora_dim must be a multiple of block_size".
        divides = max(number for number in range(1, size + 1) if network.rank % number == 0)
        message = f"The rank of {network.rank} is not a multiple of the block size of {size}."
        fix = Fix(f"Use blocks of {divides}", {"network.block_size": divides})
        yield Problem("network.block_size", "error", message, fix)


def _layers(plan: TrainingPlan, cell: Mapping[str, Any], manifest: BackendManifest) -> Iterator[Problem]:
    """Settings of layers that the model, or the chosen part of it, does not have."""
    read = manifest.tables["lycoris"][plan.network.algorithm]["reads"]
    chosen = trained.targets(plan, manifest)
    for name in (*CONVOLUTION_SETTINGS, "train_norm"):
        if name not in read or getattr(plan.network, name) == NetworkSettings.model_fields[name].default:
            continue
        if not cell.get("convolutions"):
            yield _not_in_transformers(name)
        elif chosen != "full":
            message = "The chosen layers hold neither convolutions nor norms, so this has no effect."
            fix = Fix("Use all layers", {"network.targets": "full"})
            yield Problem(f"network.{name}", "warning", message, fix)
    least = cell["boft_ranks"][chosen]
    if plan.network.algorithm == "boft" and plan.network.rank < least:
        # Source: lycoris, modules/boft.py: "It is impossible to decompose".
        message = f"BOFT can cut these layers with a rank of {least} or more only."
        yield Problem("network.rank", "error", message, Fix(f"Use {least}", {"network.rank": least}))


def _not_in_transformers(name: str) -> Problem:
    path = f"network.{name}"
    if name != "train_norm":
        return no_effect(path, "the layers of this model hold no convolutions.")
    # Source: lycoris, modules/norms.py, run on such norms: "'NoneType' object has no attribute 'to'".
    message = "The norms of this model hold nothing that could be trained, and LyCORIS stops at them."
    return Problem(path, "error", message, Fix("Do not train norms", {path: False}))
