"""What ai-toolkit, SimpleTuner and the Model Specification write into a LoRA about its training.

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
    """How many steps were made: the rest of its metadata is a `meta` block of its user's own."""
    step = number(mapping(metadata.get("training_info")).get("step"))
    if step:
        yield Found("schedule.steps", step, "training_info")
    yield from modelspec(metadata)


def is_simpletuner(metadata: Mapping[str, str]) -> bool:
    """Whether SimpleTuner, or another program on diffusers and PEFT, made the file."""
    return "lora_adapter_metadata" in metadata or metadata.get("modelspec.implementation") == "diffusers"


def simpletuner(metadata: Mapping[str, str]) -> Iterator[Found]:
    """What PEFT says of the network, and how many steps were made.

    Its modelspec.resolution is not that of the training: each of its datasets has one of its own, which is not written down.
    """
    adapter = mapping(metadata.get("lora_adapter_metadata"))
    for component in ("unet", "transformer"):
        peft = {key.removeprefix(f"{component}."): value for key, value in adapter.items() if key.startswith(component)}
        yield from _numbers(
            peft, {"r": "rank", "lora_alpha": "alpha", "lora_dropout": "dropout"}, "network", "its PEFT metadata"
        )
        if truth(peft.get("use_dora")):
            yield Found("network.algorithm", "dora", "use_dora in its PEFT metadata")
    if step := number(metadata.get("global_step")):
        yield Found("schedule.steps", step, "global_step")


def modelspec(metadata: Mapping[str, str]) -> Iterator[Found]:
    """What the Model Specification has for it: the resolution alone."""
    if (value := side(metadata.get("modelspec.resolution", ""))) is not None:
        yield Found("dataset.resolution", value, "modelspec.resolution")


def _numbers(table: Mapping[str, Any], names: Mapping[str, str], section: str, where: str) -> Iterator[Found]:
    for key, name in names.items():
        if (value := number(table.get(key))) is not None:
            yield Found(f"{section}.{name}", value, f"{key} in {where}")
