"""Reads the training settings that ai-toolkit, SimpleTuner and the Model Specification write into a LoRA.

Source: SimpleTuner helpers/training/save_hooks.py and models/common.py, diffusers' LORA_ADAPTER_METADATA_KEY; ai-toolkit at commit
27a03a9: jobs/process/BaseSDTrainProcess.py, update_training_metadata; toolkit/metadata.py; toolkit/network_mixins.py, get_state_dict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trainer_core.profiles.lora_values import Found, mapping, number, side, truth


def is_ai_toolkit(metadata: Mapping[str, str]) -> bool:
    """Whether ai-toolkit made the file."""
    return "ai-toolkit" in metadata.get("software", "") or "training_info" in metadata


def ai_toolkit(metadata: Mapping[str, str]) -> Iterator[Found]:
    """The number of steps; the rest of its metadata is a `meta` block written by the user."""
    step = number(mapping(metadata.get("training_info")).get("step"))
    if step:
        yield Found("schedule.steps", step, "training_info")
    yield from modelspec(metadata)


def is_peft(metadata: Mapping[str, str]) -> bool:
    """Whether SimpleTuner, or another program based on diffusers and PEFT, made the file."""
    return "lora_adapter_metadata" in metadata or metadata.get("modelspec.implementation") == "diffusers"


def peft(metadata: Mapping[str, str]) -> Iterator[Found]:
    """The network settings in the PEFT metadata, and the number of steps.

    modelspec.resolution is not read: each dataset of SimpleTuner has its own resolution, which the file does not contain.
    """
    adapter = mapping(metadata.get("lora_adapter_metadata"))
    for component in ("unet", "transformer"):
        table = {
            key.removeprefix(f"{component}."): value for key, value in adapter.items() if key.startswith(component)
        }
        yield from _numbers(
            table, {"r": "rank", "lora_alpha": "alpha", "lora_dropout": "dropout"}, "network", "its PEFT metadata"
        )
        if truth(table.get("use_dora")):
            yield Found("network.algorithm", "dora", "use_dora in its PEFT metadata")
    if step := number(metadata.get("global_step")):
        yield Found("schedule.steps", step, "global_step")


def modelspec(metadata: Mapping[str, str]) -> Iterator[Found]:
    """The only useful setting in the Model Specification: the resolution."""
    if (value := side(metadata.get("modelspec.resolution", ""))) is not None:
        yield Found("dataset.resolution", value, "modelspec.resolution")


def _numbers(table: Mapping[str, Any], names: Mapping[str, str], section: str, where: str) -> Iterator[Found]:
    for key, name in names.items():
        if (value := number(table.get(key))) is not None:
            yield Found(f"{section}.{name}", value, f"{key} in {where}")
