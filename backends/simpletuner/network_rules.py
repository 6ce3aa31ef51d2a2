"""Problems that SimpleTuner and LyCORIS would have with the network of a plan."""

from __future__ import annotations

from collections.abc import Iterator

from backends.simpletuner import results, target
from backends.simpletuner.cell import SimpleTunerCell
from backends.simpletuner.translation import TRANSLATION
from trainer_core import catalog
from trainer_core.engines.manifest import BackendManifest
from trainer_core.plan.effect import no_effect
from trainer_core.plan.sections import NetworkSettings, TrainingPlan
from trainer_core.problems import Fix, Problem

CONVOLUTION_SETTINGS = ("conv_rank", "conv_alpha", "tucker")
NOT_IN_PEFT = ("rank_dropout", "module_dropout")
ALPHA = "network.alpha"


def check(plan: TrainingPlan, cell: SimpleTunerCell, manifest: BackendManifest) -> Iterator[Problem]:
    """The Problems of the network section."""
    if plan.network.train_text_encoder:
        fix = Fix("Do not train it", {"network.train_text_encoder": False})
        message = (
            "Easel does not train the text encoder with SimpleTuner, which encodes captions once, before training."
        )
        yield Problem("network.train_text_encoder", "error", message, fix)
    if plan.model.method != "lora" or plan.network.algorithm not in manifest.families[plan.model.family].algorithms:
        return
    if target.is_lycoris(plan, cell):
        yield from _unread(plan)
        yield from _numbers(plan)
        yield from _layers(plan, cell)
    else:
        yield from _peft(plan, cell)
        yield from _written_alpha(plan)


def _peft(plan: TrainingPlan, cell: SimpleTunerCell) -> Iterator[Problem]:
    for name in CONVOLUTION_SETTINGS if cell.convolutions else ():
        # Source: helpers/models/common.py, get_lora_target_layers: the attention layers.
        if name in catalog.algorithms()["lora"].settings and getattr(plan.network, name) is not None:
            yield no_effect(
                f"network.{name}", "with SimpleTuner a plain LoRA leaves convolutions out: choose LoCon for them."
            )
    for name in NOT_IN_PEFT:
        # Source: helpers/models/common.py, add_lora_adapter: PEFT's LoraConfig has one kind of dropout.
        if getattr(plan.network, name):
            yield no_effect(f"network.{name}", "with SimpleTuner a plain LoRA has only the usual dropout.")


def _written_alpha(plan: TrainingPlan) -> Iterator[Problem]:
    """The Problem of a last step without a checkpoint. Version 3 has alpha only in a checkpoint's metadata; Easel adds it to the layers."""
    rank, path = float(plan.network.rank), "output.save_every_steps"
    if plan.network.alpha != rank and not results.ends_in_checkpoint(plan):
        every = max(step for step in range(1, plan.output.save_every_steps + 1) if plan.schedule.steps % step == 0)
        message = (
            "SimpleTuner writes the correct alpha only into checkpoints, so it must save one at the last step: "
            f"{plan.schedule.steps} steps are not a multiple of {plan.output.save_every_steps}."
        )
        yield Problem(path, "error", message, Fix(f"Save every {every} steps", {path: every}))


def _unread(plan: TrainingPlan) -> Iterator[Problem]:
    """The Problems of settings that the catalogue lists for an algorithm, but its LyCORIS module ignores."""
    algorithm = catalog.algorithms()[plan.network.algorithm]
    read = {"rank", "alpha", "targets", *TRANSLATION.lycoris[algorithm.id].reads}
    for name in algorithm.settings:
        if name not in read and getattr(plan.network, name) != NetworkSettings.model_fields[name].default:
            yield no_effect(f"network.{name}", f"LyCORIS does not use it for {algorithm.title}.")


def _numbers(plan: TrainingPlan) -> Iterator[Problem]:
    network, algorithm = plan.network, catalog.algorithms()[plan.network.algorithm]
    if "alpha" in algorithm.settings and network.alpha % 1:
        # Source: trainer.py, init_trainable_peft_adapter: int(linear_alpha); and 0 would mean the rank.
        whole = float(max(1, round(network.alpha)))
        message = "SimpleTuner accepts only whole numbers as alpha for this algorithm."
        yield Problem(ALPHA, "error", message, Fix(f"Use alpha {whole:g}", {ALPHA: whole}))
    if network.algorithm == "glora" and network.rank_stabilized:
        # Source: lycoris, modules/glora.py: it saves alpha as it was given, and nothing about the square root.
        path = "network.rank_stabilized"
        message = "The file of a GLoRA does not store rank stabilisation, so it would be applied too weakly."
        yield Problem(path, "error", message, Fix("Do not stabilise", {path: False}))
    size = network.block_size
    if network.algorithm == "dylora" and size and network.rank % size:
        # Source: lycoris, modules/dylora.py: "lora_dim must be a multiple of block_size".
        divides = max(number for number in range(1, size + 1) if network.rank % number == 0)
        message = f"The rank of {network.rank} is not a multiple of the block size of {size}."
        fix = Fix(f"Use {divides}", {"network.block_size": divides})
        yield Problem("network.block_size", "error", message, fix)


def _layers(plan: TrainingPlan, cell: SimpleTunerCell) -> Iterator[Problem]:
    """The Problems of settings for layers that the model, or the chosen part of it, does not have."""
    read = TRANSLATION.lycoris[plan.network.algorithm].reads
    chosen = target.targets(plan)
    for name in (*CONVOLUTION_SETTINGS, "train_norm"):
        if name not in read or getattr(plan.network, name) == NetworkSettings.model_fields[name].default:
            continue
        if not cell.convolutions and name == "train_norm":
            # Source: lycoris, modules/norms.py, run on such norms: "'NoneType' object has no attribute 'to'".
            message = (
                "The normalization layers of this model have no trainable weights, so LyCORIS would stop with an error."
            )
            yield Problem(
                f"network.{name}",
                "error",
                message,
                Fix("Do not train normalization layers", {f"network.{name}": False}),
            )
        elif cell.convolutions and chosen != "full":
            message = "The chosen layers contain neither convolutions nor norms, so this has no effect."
            fix = Fix("Use all layers", {"network.targets": "full"})
            yield Problem(f"network.{name}", "warning", message, fix)
    least = getattr(cell.boft_ranks, chosen)
    if plan.network.algorithm == "boft" and plan.network.rank < least:
        # Source: lycoris, modules/boft.py: "It is impossible to decompose".
        message = f"For these layers BOFT needs a rank of {least} or more."
        yield Problem("network.rank", "error", message, Fix(f"Use {least}", {"network.rank": least}))
