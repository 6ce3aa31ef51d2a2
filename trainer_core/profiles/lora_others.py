"""What OneTrainer, ai-toolkit, SimpleTuner and the Model Specification write into a LoRA about its training.

Source: SimpleTuner helpers/training/save_hooks.py and models/common.py, diffusers' LORA_ADAPTER_METADATA_KEY. OneTrainer's and
ai-toolkit's keys are from memory of their code and were not tried with files of theirs: what is called otherwise there is
unknown here, never wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trainer_core.profiles.lora_values import Found, mapping, number, side, truth

ONETRAINER_NUMBERS = {
    "lora_rank": "network.rank",
    "lora_alpha": "network.alpha",
    "dropout_probability": "network.dropout",
    "learning_rate": "optimizer.learning_rate",
    "learning_rate_warmup_steps": "schedule.warmup_steps",
    "batch_size": "schedule.batch_size",
    "gradient_accumulation_steps": "schedule.gradient_accumulation",
    "clip_grad_norm": "optimizer.max_grad_norm",
    "offset_noise_weight": "schedule.noise_offset",
    "resolution": "dataset.resolution",
}
ONETRAINER_SCHEDULERS = {
    "CONSTANT": "constant",
    "LINEAR": "linear",
    "COSINE": "cosine",
    "COSINE_WITH_RESTARTS": "cosine_with_restarts",
    "COSINE_WITH_HARD_RESTARTS": "cosine_with_restarts",
}
ONETRAINER_OPTIMIZERS = {
    "ADAMW": "AdamW",
    "ADAMW_8BIT": "AdamW8bit",
    "ADAFACTOR": "Adafactor",
    "PRODIGY": "Prodigy",
    "LION": "Lion",
    "LION_8BIT": "Lion8bit",
    "CAME": "CAME",
    "SCHEDULE_FREE_ADAMW": "AdamWScheduleFree",
    "PRODIGY_PLUS_SCHEDULE_FREE": "ProdigyPlusScheduleFree",
}
ONETRAINER_OF_OPTIMIZER = {
    "weight_decay": "weight_decay",
    "beta1": "beta1",
    "beta2": "beta2",
    "beta3": "beta3",
    "eps": "epsilon",
    "d_coef": "d_coef",
    "d0": "d0",
}


def is_onetrainer(metadata: Mapping[str, str]) -> bool:
    """Whether OneTrainer made the file."""
    return any(key.startswith("ot_") for key in metadata)


def onetrainer(metadata: Mapping[str, str]) -> Iterator[Found]:
    """What the training configuration tells that OneTrainer can put into a file."""
    config = mapping(metadata.get("ot_config"))
    for key, path in ONETRAINER_NUMBERS.items():
        value = number(config.get(key))
        if value is not None and value >= 0:
            yield Found(path, value, f"{key} in ot_config")
    scheduler = config.get("learning_rate_scheduler")
    if isinstance(scheduler, str):
        yield Found("schedule.scheduler", ONETRAINER_SCHEDULERS.get(scheduler, scheduler), "its scheduler in ot_config")
    optimizer = config.get("optimizer")
    if isinstance(optimizer, dict):
        name = optimizer.get("optimizer")
        if isinstance(name, str):
            yield Found("optimizer.name", ONETRAINER_OPTIMIZERS.get(name, name), "optimizer in ot_config")
        yield from _numbers(optimizer, ONETRAINER_OF_OPTIMIZER, "optimizer", "ot_config")
    if config.get("loss_weight_fn") == "MIN_SNR_GAMMA" and (gamma := number(config.get("loss_weight_strength"))):
        yield Found("schedule.min_snr_gamma", gamma, "loss_weight_strength in ot_config")
    yield from modelspec(metadata)


def is_ai_toolkit(metadata: Mapping[str, str]) -> bool:
    """Whether ai-toolkit made the file."""
    return "ai-toolkit" in metadata.get("software", "") or "training_info" in metadata


def ai_toolkit(metadata: Mapping[str, str]) -> Iterator[Found]:
    """How many steps were made; it writes little more, but for a `meta` block of its user's own."""
    step = number(mapping(metadata.get("training_info")).get("step"))
    if step:
        yield Found("schedule.steps", step, "training_info")
    yield from modelspec(metadata)


def is_simpletuner(metadata: Mapping[str, str]) -> bool:
    """Whether SimpleTuner, or another program on diffusers and PEFT, made the file."""
    return "lora_adapter_metadata" in metadata or metadata.get("modelspec.implementation") == "diffusers"


def simpletuner(metadata: Mapping[str, str]) -> Iterator[Found]:
    """What PEFT says of the network, and how many steps were made."""
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
    yield from modelspec(metadata)


def modelspec(metadata: Mapping[str, str]) -> Iterator[Found]:
    """What the Model Specification has for it: the resolution alone."""
    if (value := side(metadata.get("modelspec.resolution", ""))) is not None:
        yield Found("dataset.resolution", value, "modelspec.resolution")


def _numbers(table: Mapping[str, Any], names: Mapping[str, str], section: str, where: str) -> Iterator[Found]:
    for key, name in names.items():
        if (value := number(table.get(key))) is not None:
            yield Found(f"{section}.{name}", value, f"{key} in {where}")
