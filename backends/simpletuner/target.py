"""The options of SimpleTuner that say what is trained: a LoRA, another kind of network, or the model itself.

Source: SimpleTuner 4.10.1, trainer.py, init_trainable_peft_adapter; lycoris-lora 4.1.3, wrapper.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from backends.simpletuner.cell import SimpleTunerCell
from backends.simpletuner.translation import TRANSLATION
from trainer_core.engines.seam import Place
from trainer_core.plan.sections import NetworkSettings, TrainingPlan

LYCORIS = PurePosixPath("engine") / "lycoris.json"


def options(plan: TrainingPlan, place: Place, cell: SimpleTunerCell) -> dict[str, Any]:
    """The options that say what is trained."""
    if plan.model.method == "full":
        # With the text encoders the saved folder is a complete model.
        return {"model_type": "full", "save_text_encoder": True}
    if is_lycoris(plan, cell):
        return {"model_type": "lora", "lora_type": "lycoris", "lycoris_config": str(place.run / LYCORIS)}
    return {
        "model_type": "lora",
        "lora_type": "standard",
        "lora_rank": plan.network.rank,
        "lora_alpha": float(plan.network.alpha),
        # The engine's default is 0.1; no other trainer has dropout by default.
        "lora_dropout": float(plan.network.dropout),
        "lora_format": "diffusers" if cell.own_names else lora_format(place.version),
    }


def lora_format(version: str) -> str:
    """The format of the layer names in the file of a plain LoRA: "comfyui", which stores alpha with each layer.

    3.1.6 writes names in that format that no program loads; there it is "diffusers", with alpha in the file's metadata.
    """
    return "diffusers" if version.startswith("3.") else "comfyui"


def is_lycoris(plan: TrainingPlan, cell: SimpleTunerCell) -> bool:
    """Whether LyCORIS makes the network."""
    return plan.model.method == "lora" and (plan.network.algorithm != "lora" or cell.lora == "lycoris")


def targets(plan: TrainingPlan) -> str:
    """Which layers get a network: as in the plan, else the default of the algorithm."""
    return plan.network.targets or TRANSLATION.lycoris[plan.network.algorithm].targets


def lycoris(plan: TrainingPlan, cell: SimpleTunerCell) -> dict[str, Any]:
    """The configuration of a LyCORIS network. The engine requires multiplier, dimension and alpha."""
    network, kind = plan.network, TRANSLATION.lycoris[plan.network.algorithm]
    return {
        "algo": kind.algo,
        "multiplier": 1.0,
        "linear_dim": network.rank,
        # The engine truncates it to a whole number.
        "linear_alpha": int(network.alpha),
        **kind.fixed,
        **_settings(network, kind.reads, TRANSLATION.network_settings),
        "apply_preset": _preset(plan, cell),
    }


def _settings(network: NetworkSettings, read: tuple[str, ...], spelling: Mapping[str, str]) -> dict[str, Any]:
    """The changed settings."""
    found = {}
    for name in read:
        value = getattr(network, name)
        if name != "rank_stabilized" and value != NetworkSettings.model_fields[name].default:
            found[spelling.get(name, name)] = value
    return found


def _preset(plan: TrainingPlan, cell: SimpleTunerCell) -> dict[str, Any]:
    """The preset: the layers, by the names of their classes and by their own names.

    A setting that the function which creates the network has no argument for is set for each class of layers instead.
    """
    chosen = targets(plan)
    classes: tuple[str, ...] = getattr(cell.targets, chosen)
    preset: dict[str, Any] = {"target_module": classes}
    names = cell.targets.names if chosen == "full" else ()
    if names:
        preset["target_name"] = names
    if plan.network.rank_stabilized and "rank_stabilized" in TRANSLATION.lycoris[plan.network.algorithm].reads:
        preset["module_algo_map"] = {name: {"rs_lora": True} for name in classes}
        if names:
            preset["name_algo_map"] = {name: {"rs_lora": True} for name in names}
    return preset
