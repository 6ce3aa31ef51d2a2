"""Reads the training settings that OneTrainer writes into a LoRA: its configuration, if the user chose to include it.

Source: OneTrainer at commit 23df383: modelSaver/mixin/DtypeModelSaverMixin.py (what is written), util/config/TrainConfig.py (the
keys), util/create.py, util/lr_scheduler_util.py and util/NamedParameterGroup.py (what they mean).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from trainer_core.profiles.lora_values import Found, mapping, number, truth

NUMBERS = {
    "lora_alpha": "network.alpha",
    "dropout_probability": "network.dropout",
    "batch_size": "schedule.batch_size",
    "gradient_accumulation_steps": "schedule.gradient_accumulation",
    "clip_grad_norm": "optimizer.max_grad_norm",
}
RANKS = {"LORA": "lora_rank", "LOHA": "lora_rank", "LOKR": "lokr_dim"}
"""The key of the rank, by network type. OFT has blocks instead."""
LOKR = {
    "lokr_decompose_factor": "factor",
    "lokr_decompose_both": "decompose_both",
    "lokr_full_matrix": "full_matrix",
    "lokr_use_tucker": "tucker",
    "lokr_weight_decompose": "weight_decompose",
}
SCHEDULERS = {
    "CONSTANT": "constant",
    "LINEAR": "linear",
    "COSINE": "cosine",
    "COSINE_WITH_HARD_RESTARTS": "cosine_with_restarts",
}
"""COSINE_WITH_RESTARTS is missing: it rises as slowly as it falls, which no scheduler of Easel does."""
OPTIMIZERS = {
    "ADAMW": "AdamW",
    "ADAMW_8BIT": "AdamW8bit",
    "ADAFACTOR": "Adafactor",
    "AdEMAMix": "AdEMAMix",
    "AdEMAMix_8BIT": "AdEMAMix8bit",
    "CAME": "CAME",
    "LION": "Lion",
    "LION_8BIT": "Lion8bit",
    "PRODIGY": "Prodigy",
    "PRODIGY_PLUS_SCHEDULE_FREE": "ProdigyPlusScheduleFree",
    "SCHEDULE_FREE_ADAMW": "AdamWScheduleFree",
    "SCHEDULE_FREE_SGD": "SGDScheduleFree",
    "SGD": "SGD",
    "SGD_8BIT": "SGD8bit",
}
OF_OPTIMIZER = {
    "weight_decay": "weight_decay",
    "beta1": "beta1",
    "beta2": "beta2",
    "beta3": "beta3",
    "eps": "epsilon",
    "momentum": "momentum",
    "d_coef": "d_coef",
    "d0": "d0",
    "clip_threshold": "clip_threshold",
    "decay_rate": "decay_rate",
}
TRUTHS_OF_OPTIMIZER = {
    "use_bias_correction": "bias_correction",
    "safeguard_warmup": "safeguard_warmup",
    "decouple": "decouple",
}
MODELS = ("unet", "transformer", "prior")
IN = "in ot_config"


def is_onetrainer(metadata: Mapping[str, str]) -> bool:
    """Whether OneTrainer made the file."""
    return any(key.startswith("ot_") for key in metadata)


def read(metadata: Mapping[str, str]) -> Iterator[Found]:
    """The settings in its configuration.

    Its Model Specification metadata is not read: it depends only on the model type, not on the training.
    """
    config = mapping(metadata.get("ot_config"))
    for key, path in NUMBERS.items():
        if (value := number(config.get(key))) is not None and value >= 0:
            yield Found(path, value, f"{key} {IN}")
    yield from _network(config)
    yield from _rates(config)
    yield from _schedule(config)
    yield from _optimizer(config.get("optimizer"))
    yield from _images(config)


def prediction(metadata: Mapping[str, str]) -> str:
    """The prediction type set in its configuration; "" if it follows from the model."""
    config = mapping(metadata.get("ot_config"))
    if truth(config.get("force_v_prediction")):
        return "v_prediction"
    return "epsilon" if truth(config.get("force_epsilon_prediction")) else ""


def _network(config: Mapping[str, Any]) -> Iterator[Found]:
    kind = config.get("peft_type", "LORA")
    key = RANKS.get(kind) if isinstance(kind, str) else None
    if key and (rank := number(config.get(key))) is not None:
        yield Found("network.rank", rank, f"{key} {IN}")
    if kind == "LOKR":
        for name, setting in LOKR.items():
            value = truth(config.get(name))
            value = number(config.get(name)) if value is None else value
            if value is not None:
                yield Found(f"network.{setting}", value, f"{name} {IN}")


def _rates(config: Mapping[str, Any]) -> Iterator[Found]:
    """The learning rates of model and text encoder: the one of each part, else the general one."""
    scale = _scale(config)
    for path, names in (
        ("optimizer.learning_rate", MODELS),
        ("optimizer.text_encoder_learning_rate", ("text_encoder",)),
    ):
        own = [table.get("learning_rate") for name in names if isinstance(table := config.get(name), dict)]
        rate = next((value for each in own if (value := number(each))), number(config.get("learning_rate")))
        if rate and scale:
            yield Found(path, rate * scale if scale != 1 else rate, f"learning_rate {IN}")


def _scale(config: Mapping[str, Any]) -> float:
    """The factor of its learning rates; 0 if unknown. Source: LearningRateScaler.get_scale, of which it is the square root."""
    batch, adds = (number(config.get(key)) or 0 for key in ("batch_size", "gradient_accumulation_steps"))
    cards = 0 if truth(config.get("multi_gpu")) else 1
    known = {
        "NONE": 1,
        "BATCH": batch,
        "GLOBAL_BATCH": batch * cards,
        "GRADIENT_ACCUMULATION": adds,
        "BOTH": batch * adds,
        "GLOBAL_BOTH": batch * adds * cards,
    }
    name = config.get("learning_rate_scaler", "NONE")
    return math.sqrt(max(known.get(name, 0) if isinstance(name, str) else 0, 0))


def _schedule(config: Mapping[str, Any]) -> Iterator[Found]:
    name = config.get("learning_rate_scheduler")
    warmup, adds = (number(config.get(key)) for key in ("learning_rate_warmup_steps", "gradient_accumulation_steps"))
    if isinstance(name, str):
        scheduler, least = SCHEDULERS.get(name, name), number(config.get("learning_rate_min_factor")) or 0
        if least and scheduler == "cosine":
            scheduler = "cosine_with_min_lr"
            yield Found("schedule.min_rate_ratio", least, f"learning_rate_min_factor {IN}")
        if warmup and scheduler == "constant":
            scheduler = "constant_with_warmup"
        yield Found("schedule.scheduler", scheduler, f"learning_rate_scheduler {IN}")
        cycles = number(config.get("learning_rate_cycles"))
        if scheduler == "cosine_with_restarts" and cycles is not None:
            yield Found("schedule.restarts", cycles, f"learning_rate_cycles {IN}")
    # Above 1 it counts batches; up to 1 it is a share of the steps, whose number the file does not contain.
    if warmup is not None and (warmup > 1 or warmup <= 0):
        yield Found(
            "schedule.warmup_steps", max(int(warmup / max(adds or 1, 1)), 0), f"learning_rate_warmup_steps {IN}"
        )


def _optimizer(table: Any) -> Iterator[Found]:
    if not isinstance(table, dict):
        return
    name = table.get("optimizer")
    if isinstance(name, str):
        yield Found("optimizer.name", OPTIMIZERS.get(name, name), f"optimizer {IN}")
    for names, value_of in ((OF_OPTIMIZER, number), (TRUTHS_OF_OPTIMIZER, truth)):
        for key, setting in names.items():
            if (value := value_of(table.get(key))) is not None:
                yield Found(f"optimizer.{setting}", value, f"{key} {IN}")


def _images(config: Mapping[str, Any]) -> Iterator[Found]:
    text = str(config.get("resolution", "")).strip().lower()
    sides = [number(side) for side in text.split("x")]  # "512,768" means two resolutions, both trained
    if len(text) < 30 and all(side is not None and 0 < side < 100_000 for side in sides):
        side = round(math.prod(float(side or 0) for side in sides) ** (1 / len(sides)))
        yield Found("dataset.resolution", side, f"resolution {IN}")
    if (bucketing := truth(config.get("aspect_ratio_bucketing"))) is not None:
        yield Found("dataset.bucketing", bucketing, f"aspect_ratio_bucketing {IN}")
    if config.get("loss_weight_fn") == "MIN_SNR_GAMMA" and (gamma := number(config.get("loss_weight_strength"))):
        yield Found("schedule.min_snr_gamma", gamma, f"loss_weight_strength {IN}")
    elif isinstance(config.get("loss_weight_fn"), str):
        yield Found("schedule.min_snr_gamma", 0.0, f"loss_weight_fn {IN}")
    offset = number(config.get("offset_noise_weight"))
    if offset is not None and not truth(config.get("generalized_offset_noise")):
        yield Found("schedule.noise_offset", offset, f"offset_noise_weight {IN}")
    skipped = number(config.get("text_encoder_layer_skip"))
    if config.get("model_type") == "STABLE_DIFFUSION_15" and skipped is not None:
        yield Found("model.clip_skip", 1 + skipped, f"text_encoder_layer_skip {IN}")
