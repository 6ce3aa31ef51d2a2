"""Reads the training settings that sd-scripts writes into a LoRA.

Source: sd-scripts train_network.py, the metadata of its train(), and library/train_util.py, get_optimizer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from trainer_core import catalog
from trainer_core.profiles.lora_values import Found, mapping, number, side, tables, truth

NUMBERS = {
    "ss_network_dim": "network.rank",
    "ss_network_alpha": "network.alpha",
    "ss_network_dropout": "network.dropout",
    "ss_max_train_steps": "schedule.steps",
    "ss_gradient_accumulation_steps": "schedule.gradient_accumulation",
    "ss_min_snr_gamma": "schedule.min_snr_gamma",
    "ss_noise_offset": "schedule.noise_offset",
    "ss_max_grad_norm": "optimizer.max_grad_norm",
    "ss_clip_skip": "model.clip_skip",
    "ss_caption_dropout_rate": "dataset.caption_dropout",
    "ss_caption_tag_dropout_rate": "dataset.tag_dropout",
    "ss_batch_size_per_device": "schedule.batch_size",
    "ss_keep_tokens": "dataset.keep_tokens",
}
CLIP_ONLY = ("sd_", "sdxl")
"""Starts of the names of families whose text encoders are CLIP. Source: get_model_version_str_for_sd1_sd2, sdxl_model_util.py."""
TRUTHS = {
    "ss_shuffle_caption": "dataset.shuffle_captions",
    "ss_flip_aug": "dataset.flip",
    "ss_color_aug": "dataset.color_augmentation",
    "ss_random_crop": "dataset.random_crop",
    "ss_enable_bucket": "dataset.bucketing",
}
"""Memory settings and the seed are not read: they depend on the machine and the job."""
IN_A_DATASET = {"batch_size_per_device": "schedule.batch_size", "enable_bucket": "dataset.bucketing"}
IN_A_SUBSET = {
    "num_repeats": "dataset.repeats",
    "shuffle_caption": "dataset.shuffle_captions",
    "keep_tokens": "dataset.keep_tokens",
    "flip_aug": "dataset.flip",
    "color_aug": "dataset.color_augmentation",
    "random_crop": "dataset.random_crop",
}
OPTIMIZER_ARGUMENTS = {
    "weight_decay": "weight_decay",
    "eps": "epsilon",
    "momentum": "momentum",
    "d_coef": "d_coef",
    "d0": "d0",
    "use_bias_correction": "bias_correction",
    "safeguard_warmup": "safeguard_warmup",
    "decouple": "decouple",
    "clip_threshold": "clip_threshold",
    "decay_rate": "decay_rate",
}
NETWORK_ARGUMENTS = {
    "conv_dim": "conv_rank",
    "conv_alpha": "conv_alpha",
    "rank_dropout": "rank_dropout",
    "module_dropout": "module_dropout",
    "factor": "factor",
    "decompose_both": "decompose_both",
    "full_matrix": "full_matrix",
    "unit": "block_size",
    "constraint": "constraint",
    "rescaled": "rescaled",
    "use_tucker": "tucker",
    "rs_lora": "rank_stabilized",
    "train_norm": "train_norm",
}
_OTHER_NAMES = {"sgdnesterov": "SGD", "sgdnesterov8bit": "SGD8bit"}


def is_sd_scripts(metadata: Mapping[str, str]) -> bool:
    """Whether sd-scripts, or a program that writes the same metadata, made the file."""
    return "ss_network_module" in metadata or "ss_network_dim" in metadata


def is_plain(metadata: Mapping[str, str]) -> bool:
    """Whether one of sd-scripts' own modules made the file, and not LyCORIS."""
    return metadata.get("ss_network_module", "").startswith("networks.lora")


def read(metadata: Mapping[str, str]) -> Iterator[Found]:
    """The settings in the metadata."""
    for key, path in NUMBERS.items():
        if (value := number(metadata.get(key))) is not None:
            yield Found(path, value, key)
    for key, path in TRUTHS.items():
        if (value := truth(metadata.get(key))) is not None:
            yield Found(path, value, key)
    yield from _rates(metadata)
    yield from _schedule(metadata)
    yield from _optimizer(metadata.get("ss_optimizer", ""))
    yield from _network(metadata)
    yield from _images(metadata)


def _rates(metadata: Mapping[str, str]) -> Iterator[Found]:
    for key in ("ss_unet_lr", "ss_learning_rate"):
        if value := number(metadata.get(key)):
            yield Found("optimizer.learning_rate", value, key)
    texts = tables(metadata.get("ss_text_encoder_lr", "")) or metadata.get("ss_text_encoder_lr")
    value = number(texts[0] if isinstance(texts, list) and texts else texts)
    if value is not None:
        yield Found("optimizer.text_encoder_learning_rate", value, "ss_text_encoder_lr")


def _schedule(metadata: Mapping[str, str]) -> Iterator[Found]:
    scheduler = metadata.get("ss_lr_scheduler", "")
    if scheduler:
        yield Found("schedule.scheduler", scheduler, "ss_lr_scheduler")
    warmup, steps = number(metadata.get("ss_lr_warmup_steps")), number(metadata.get("ss_max_train_steps"))
    if warmup is not None and 0 < warmup < 1 and steps:
        warmup = round(warmup * steps)  # a number below 1 is a share of the steps
    if warmup is not None:
        yield Found("schedule.warmup_steps", warmup, "ss_lr_warmup_steps")


def _optimizer(text: str) -> Iterator[Found]:
    """The settings in a text such as "bitsandbytes.optim.adamw.AdamW8bit(weight_decay=0.1,betas=(0.9, 0.99))"."""
    spelled, _, arguments = text[:2000].partition("(")
    name = spelled.rpartition(".")[2]
    known = {**{each.lower(): each for each in catalog.optimizers()}, **_OTHER_NAMES}
    if name:
        yield Found("optimizer.name", known.get(name.lower(), name), "ss_optimizer")
    for key, value in re.findall(r"(\w+)=(\([^()]*\)|[^,()]*)", arguments):
        if key == "betas":
            for place, beta in enumerate(value.strip("()").split(",")[:3], 1):
                if (found := number(beta.strip())) is not None:
                    yield Found(f"optimizer.beta{place}", found, "betas in ss_optimizer")
        elif key in OPTIMIZER_ARGUMENTS and (found := _plain(value.strip())) is not None:
            yield Found(f"optimizer.{OPTIMIZER_ARGUMENTS[key]}", found, f"{key} in ss_optimizer")


def _network(metadata: Mapping[str, str]) -> Iterator[Found]:
    arguments = mapping(metadata.get("ss_network_args"))
    algorithm, is_lycoris = str(arguments.get("algo", "")), "lycoris" in metadata.get("ss_network_module", "")
    known = {"lora": "locon", "locon": "locon", "diag-oft": "oft"}
    if is_lycoris and algorithm:
        decomposed = truth(str(arguments.get("dora_wd", ""))) and algorithm in ("lora", "locon")
        name = "dora" if decomposed else known.get(algorithm, algorithm)
        yield Found("network.algorithm", name, "algo in ss_network_args")
    elif not is_lycoris and number(arguments.get("conv_dim")):
        # sd-scripts' own module: a LoRA with convolutions.
        yield Found("network.algorithm", "lora", "conv_dim in ss_network_args")
    for key, name in NETWORK_ARGUMENTS.items():
        if (value := _plain(arguments.get(key))) is not None:
            yield Found(f"network.{name}", value, f"{key} in ss_network_args")


def _images(metadata: Mapping[str, str]) -> Iterator[Found]:
    if (value := side(metadata.get("ss_resolution", ""))) is not None:
        yield Found("dataset.resolution", value, "ss_resolution")
    datasets = tables(metadata.get("ss_datasets"))
    first = datasets[0] if isinstance(datasets, list) and datasets and isinstance(datasets[0], dict) else {}
    if (value := side(first.get("resolution"))) is not None:
        yield Found("dataset.resolution", value, "ss_datasets")
    subsets = first.get("subsets")
    subset = subsets[0] if isinstance(subsets, list) and subsets and isinstance(subsets[0], dict) else {}
    for table, names in ((first, IN_A_DATASET), (subset, IN_A_SUBSET)):
        for key, path in names.items():
            if (value := _plain(table.get(key))) is not None:
                yield Found(path, value, f"{key} in ss_datasets")
    # Other families have this number in their metadata, too, but do not read it.
    is_read = metadata.get("ss_base_model_version", "").startswith(CLIP_ONLY)
    if is_read and (value := number(metadata.get("ss_max_token_length"))) is not None:
        yield Found("dataset.caption_tokens", value, "ss_max_token_length")
    folders = mapping(metadata.get("ss_dataset_dirs"))
    repeats = {number(each.get("n_repeats")) for each in folders.values() if isinstance(each, dict)} - {None}
    if len(repeats) == 1:
        yield Found("dataset.repeats", repeats.pop(), "ss_dataset_dirs")


def _plain(value: Any) -> Any:
    """A number or a boolean, as such or as text; None for anything else."""
    found = truth(value)
    return number(value) if found is None else found
