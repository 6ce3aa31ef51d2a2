"""What is trained, in the words of sd-scripts: a network, the model itself, or the embedding of a new word.

Source: sd-scripts at the pinned commit, the scripts named in `backend.toml`; lycoris-lora 4.1.3, kohya.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from trainer_core import catalog
from trainer_core.backend import BackendManifest
from trainer_core.plan.sections import NetworkSettings, TrainingPlan

LAYERS = PurePosixPath("engine") / "layers.toml"
NEVER = -1
"""The step at which DreamBooth stops to train the text encoder, when it is not to begin."""


def options(plan: TrainingPlan, cell: Mapping[str, Any], manifest: BackendManifest) -> dict[str, Any]:
    """The options that say what is trained, and by which rates."""
    if plan.model.method == "lora":
        return _network(plan, cell, manifest)
    if plan.model.method == "textual_inversion":
        return _embedding(plan)
    return _model(plan, cell)


def _network(plan: TrainingPlan, cell: Mapping[str, Any], manifest: BackendManifest) -> dict[str, Any]:
    network, encoders = plan.network, cell.get("text_encoders", 0)
    rate = float(plan.optimizer.learning_rate)
    kind = manifest.tables["algorithms"].get(network.algorithm, {})
    settings = catalog.algorithms()[network.algorithm].settings
    table: dict[str, Any] = {
        "network_module": kind.get("module", cell["network"]),
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
    # What is asked for natively comes last: the engine takes the last of two arguments of one name.
    own = [f"preset={LAYERS.as_posix()}"] if own_layers(plan, cell, manifest) else []  # it stands in the run folder
    if arguments := [*kind.get("arguments", ()), *_arguments(network, settings, manifest), *own]:
        table["network_args"] = arguments
    return table


def own_layers(plan: TrainingPlan, cell: Mapping[str, Any], manifest: BackendManifest) -> Mapping[str, Any] | None:
    """The choice of layers that LyCORIS is given as a file, where its own of that name does not work; else None."""
    network, layers = plan.network, manifest.tables["layers"]
    module = manifest.tables["algorithms"].get(network.algorithm, {}).get("module")
    if plan.model.method != "lora" or module != "lycoris.kohya":
        return None
    if own := manifest.tables["algorithms"][network.algorithm].get("layers"):
        return layers[own]
    reads = "targets" in catalog.algorithms()[network.algorithm].settings
    return layers["full"] if reads and network.targets in ("", "full") and cell.get("own_layers") else None


def _arguments(network: NetworkSettings, settings: tuple[str, ...], manifest: BackendManifest) -> list[str]:
    """The changed settings of a network as `key=value`."""
    spelling, targets = manifest.tables["network_settings"], manifest.tables["targets"]
    found = []
    for name in settings:
        value = getattr(network, name)
        if name in spelling and value != NetworkSettings.model_fields[name].default:
            found.append(f"{spelling[name]}={targets[value] if name == 'targets' else value}")
    return found


def _model(plan: TrainingPlan, cell: Mapping[str, Any]) -> dict[str, Any]:
    switch, trains = cell.get("text_encoder_switch"), plan.network.train_text_encoder
    table: dict[str, Any] = {}
    if switch == "train_text_encoder":
        table[switch] = trains
    elif switch and not trains:
        table[switch] = NEVER
    if trains:
        rate = float(plan.optimizer.text_encoder_learning_rate)
        table |= dict.fromkeys(cell.get("text_encoder_rates", ()), rate)
    if plan.memory.fused_backward and "fused" in cell:
        table[cell["fused"]] = True
    return table


def _embedding(plan: TrainingPlan) -> dict[str, Any]:
    table: dict[str, Any] = {
        "token_string": plan.dataset.trigger.strip(),
        "num_vectors_per_token": plan.embedding.vectors,
    }
    if word := plan.embedding.init_word.strip():
        table["init_word"] = word
    return table
