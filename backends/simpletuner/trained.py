"""What is trained, in the words of SimpleTuner: a LoRA, a network of another kind, or the model itself.

Source: SimpleTuner 4.10.1, trainer.py, init_trainable_peft_adapter; lycoris-lora 4.1.3, wrapper.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from trainer_core.backend import BackendManifest, Place
from trainer_core.plan.sections import NetworkSettings, TrainingPlan

LYCORIS = PurePosixPath("engine") / "lycoris.json"
USUAL_TARGETS = "attention_mlp"
"""Source: lycoris_defaults.py."""


def options(plan: TrainingPlan, place: Place, cell: Mapping[str, Any]) -> dict[str, Any]:
    """The options that say what is trained."""
    if plan.model.method == "full":
        # With its text encoders the folder that is written is a whole model.
        return {"model_type": "full", "save_text_encoder": True}
    if is_lycoris(plan, cell):
        return {"model_type": "lora", "lora_type": "lycoris", "lycoris_config": str(place.run / LYCORIS)}
    return {
        "model_type": "lora",
        "lora_type": "standard",
        "lora_rank": plan.network.rank,
        "lora_alpha": float(plan.network.alpha),
        # Its default drops a tenth of the signal, which no other trainer does unasked.
        "lora_dropout": float(plan.network.dropout),
        "lora_format": lora_format(place.version),
    }


def lora_format(version: str) -> str:
    """The names of the layers in the file of a plain LoRA: those with alpha beside each matrix.

    3.1.6 makes names of that format that no program loads; there alpha is in the file's metadata.
    """
    return "diffusers" if version.startswith("3.") else "comfyui"


def is_lycoris(plan: TrainingPlan, cell: Mapping[str, Any]) -> bool:
    """Whether LyCORIS makes the network."""
    return plan.model.method == "lora" and (plan.network.algorithm != "lora" or cell.get("lora") == "lycoris")


def targets(plan: TrainingPlan, manifest: BackendManifest) -> str:
    """Which layers get a network: as asked, else as is usual for the algorithm."""
    return plan.network.targets or manifest.tables["lycoris"][plan.network.algorithm].get("targets", USUAL_TARGETS)


def lycoris(plan: TrainingPlan, manifest: BackendManifest) -> dict[str, Any]:
    """The configuration of a LyCORIS network. The engine refuses one without multiplier, dimension or alpha."""
    network, kind = plan.network, manifest.tables["lycoris"][plan.network.algorithm]
    return {
        "algo": kind["algo"],
        "multiplier": 1.0,
        "linear_dim": network.rank,
        # It cuts off what is behind the point.
        "linear_alpha": int(network.alpha),
        **kind.get("fixed", {}),
        **_settings(network, kind["reads"], manifest.tables["network_settings"]),
        "apply_preset": _preset(plan, manifest),
    }


def _settings(network: NetworkSettings, read: list[str], spelling: Mapping[str, str]) -> dict[str, Any]:
    """The changed settings."""
    found = {}
    for name in read:
        value = getattr(network, name)
        if name != "rank_stabilized" and value != NetworkSettings.model_fields[name].default:
            found[spelling.get(name, name)] = value
    return found


def _preset(plan: TrainingPlan, manifest: BackendManifest) -> dict[str, Any]:
    """The layers, by the names of their classes and their own.

    What the maker of networks has no argument for is said for each class of layers; its modules read it from there.
    """
    chosen = targets(plan, manifest)
    known = manifest.families[plan.model.family].options["targets"]
    preset: dict[str, Any] = {"target_module": known[chosen]}
    names = known.get("names", []) if chosen == "full" else []
    if names:
        preset["target_name"] = names
    if (
        plan.network.rank_stabilized
        and "rank_stabilized" in manifest.tables["lycoris"][plan.network.algorithm]["reads"]
    ):
        preset["module_algo_map"] = {name: {"rs_lora": True} for name in known[chosen]}
        if names:
            preset["name_algo_map"] = {name: {"rs_lora": True} for name in names}
    return preset
