"""The options of sd-scripts that say what is trained: a network, the model itself, or an embedding.

Source: sd-scripts at the pinned commit, the scripts named in `backend.toml`; lycoris-lora 4.1.3, kohya.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from backends.kohya.cell import KohyaCell
from backends.kohya.translation import TRANSLATION
from trainer_core import catalog
from trainer_core.plan.sections import NetworkSettings, TrainingPlan

LAYERS = PurePosixPath("engine") / "layers.toml"
LYCORIS = "lycoris.kohya"
NEVER = -1
"""The step at which DreamBooth stops training the text encoder; this value means that it never starts."""


def options(plan: TrainingPlan, cell: KohyaCell) -> dict[str, Any]:
    """The options that say what is trained, and with which learning rates."""
    if plan.model.method == "lora":
        return _network(plan, cell)
    if plan.model.method == "textual_inversion":
        return _embedding(plan)
    return _model(plan, cell)


def _network(plan: TrainingPlan, cell: KohyaCell) -> dict[str, Any]:
    network, encoders = plan.network, cell.text_encoders
    rate = float(plan.optimizer.learning_rate)
    kind = TRANSLATION.algorithms.get(network.algorithm)
    settings = catalog.algorithms()[network.algorithm].settings
    table: dict[str, Any] = {
        "network_module": module(plan, cell),
        "network_train_unet_only": not (network.train_text_encoder and encoders),
        "unet_lr": rate,
    }
    if "rank" in settings:
        table["network_dim"] = network.rank
    if "alpha" in settings:
        table["network_alpha"] = float(network.alpha)
    if network.dropout and "dropout" in settings:
        table["network_dropout"] = float(network.dropout)
    if encoders:
        table["text_encoder_lr"] = [float(plan.optimizer.text_encoder_learning_rate)] * encoders
    # Native arguments come last: if two arguments have the same name, the engine uses the last one.
    own = [f"preset={LAYERS.as_posix()}"] if own_layers(plan, cell) else []  # a path relative to the run folder
    if arguments := [*(kind.arguments if kind else ()), *_arguments(with_alpha(plan, cell), settings), *own]:
        table["network_args"] = arguments
    return table


def module(plan: TrainingPlan, cell: KohyaCell) -> str:
    """The module that makes the network: for a plain LoRA it depends on the family."""
    kind = TRANSLATION.algorithms.get(plan.network.algorithm)
    return kind.module if kind else cell.network


def with_alpha(plan: TrainingPlan, cell: KohyaCell) -> NetworkSettings:
    """The network of a plan with the alpha of its convolutions, which LyCORIS takes from the others; sd-scripts' own modules use 1."""
    network = plan.network
    if not network.conv_rank or network.conv_alpha is not None or module(plan, cell) == LYCORIS:
        return network
    return network.model_copy(update={"conv_alpha": network.alpha})


def own_layers(plan: TrainingPlan, cell: KohyaCell) -> Mapping[str, Any] | None:
    """The layer preset to give to LyCORIS as a file, if its own preset of that name does not work; else None."""
    network, layers = plan.network, TRANSLATION.layers
    kind = TRANSLATION.algorithms.get(network.algorithm)
    if plan.model.method != "lora" or kind is None or kind.module != LYCORIS:
        return None
    if kind.layers:
        return layers[kind.layers]
    reads = "targets" in catalog.algorithms()[network.algorithm].settings
    return layers["full"] if reads and network.targets in ("", "full") and cell.own_layers else None


def _arguments(network: NetworkSettings, settings: tuple[str, ...]) -> list[str]:
    """The changed settings of a network as `key=value`."""
    spelling, targets = TRANSLATION.network_settings, TRANSLATION.targets
    found = []
    for name in settings:
        value = getattr(network, name)
        if name in spelling and value != NetworkSettings.model_fields[name].default:
            found.append(f"{spelling[name]}={targets[value] if name == 'targets' else value}")
    return found


def _model(plan: TrainingPlan, cell: KohyaCell) -> dict[str, Any]:
    switch, trains = cell.text_encoder_switch, plan.network.train_text_encoder
    table: dict[str, Any] = {}
    if switch == "train_text_encoder":
        table[switch] = trains
    elif switch and not trains:
        table[switch] = NEVER
    if trains:
        rate = float(plan.optimizer.text_encoder_learning_rate)
        table |= dict.fromkeys(cell.text_encoder_rates, rate)
    if plan.memory.fused_backward and cell.fused:
        table[cell.fused] = True
    return table


def _embedding(plan: TrainingPlan) -> dict[str, Any]:
    table: dict[str, Any] = {
        "token_string": plan.dataset.trigger.strip(),
        "num_vectors_per_token": plan.embedding.vectors,
    }
    if word := plan.embedding.init_word.strip():
        table["init_word"] = word
    return table
