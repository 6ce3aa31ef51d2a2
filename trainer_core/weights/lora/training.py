"""What the metadata of a network says of its training, as rows of plain text, and which words probably trigger it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trainer_core.models.loaders import PEFT
from trainer_core.text import printable

# The keys that are shown, with a title. Source: sd-scripts train_network.py; ModelSpec 1.0.1; Easel's own, training/metadata/keys.py.
FACTS: Mapping[str, str] = {
    "modelspec.title": "title", "modelspec.author": "author", "modelspec.description": "description", "modelspec.license": "licence",
    "modelspec.architecture": "architecture", "modelspec.prediction_type": "prediction", "modelspec.date": "date",
    "ss_output_name": "name", "ss_base_model_version": "base model", "ss_sd_model_name": "base model file", "easel.base_model": "base model file",
    "easel.engine": "engine", "ss_network_module": "network", "ss_network_dim": "rank", "ss_network_alpha": "alpha",
    "ss_network_args": "network arguments", "ss_learning_rate": "learning rate", "ss_unet_lr": "learning rate of the denoiser",
    "ss_text_encoder_lr": "learning rate of the text encoders", "ss_optimizer": "optimizer", "ss_lr_scheduler": "schedule",
    "ss_max_train_steps": "planned steps", "ss_steps": "steps", "easel.steps": "steps", "global_step": "steps", "ss_epoch": "epoch",
    "ss_num_epochs": "epochs", "ss_num_train_images": "images, with repeats", "ss_num_reg_images": "class images",
    "ss_batch_size_per_device": "batch size", "ss_total_batch_size": "batch size", "ss_resolution": "resolution", "ss_clip_skip": "clip skip",
    "ss_min_snr_gamma": "min-SNR gamma", "ss_noise_offset": "noise offset", "ss_mixed_precision": "precision", "ss_seed": "seed",
    "modelspec.merged_from": "merged from",
}  # fmt: skip
STATED = ("modelspec.trigger_phrase", "easel.trigger")
PEFT_FACTS: Mapping[str, str] = {"r": "rank", "lora_alpha": "alpha"}
FREQUENCY, FOLDERS, DATASETS = "ss_tag_frequency", "ss_dataset_dirs", "ss_datasets"
LEAST_SHARE = 0.5
"""The share of the captions in which a word must be to be shown as a likely trigger."""
MOST_TRIGGERS, LONGEST = 12, 200
LONGEST_JSON = 16 << 20


@dataclass(frozen=True)
class Trigger:
    """A word or phrase that probably triggers the effect. `share` is that of the captions with it; None if the file states the word."""

    text: str
    share: float | None
    source: str


def facts(metadata: Mapping[str, str]) -> list[tuple[str, str]]:
    """Titles and values of what the metadata says, without what it leaves open."""
    found: dict[str, str] = {}
    for key, title in FACTS.items():
        value = metadata.get(key, "").strip()
        if value and value not in ("None", "{}", "null") and title not in found:
            found[title] = printable(value, LONGEST)
    stated = _json(metadata.get(PEFT, ""))
    if isinstance(stated, dict):
        for key, value in stated.items():
            title = PEFT_FACTS.get(key.rpartition(".")[2], "")
            if title and title not in found and isinstance(value, int | float):
                found[title] = printable(str(value), LONGEST)
    return list(found.items())


def triggers(metadata: Mapping[str, str]) -> list[Trigger]:
    """The stated trigger words, then those that are in at least half of the captions, the most frequent first. None of them is sure."""
    found = [
        Trigger(printable(metadata[key].strip(), LONGEST), None, key) for key in STATED if metadata.get(key, "").strip()
    ]
    known = {each.text for each in found}
    for text, share in sorted(_shares(metadata), key=lambda row: -row[1]):
        if text not in known and share >= LEAST_SHARE and len(found) < MOST_TRIGGERS:
            known.add(text)
            found.append(Trigger(text, share, FREQUENCY))
    return found


def _shares(metadata: Mapping[str, str]) -> Iterator[tuple[str, float]]:
    """Each tag with its share of the captions of the folder where it is most frequent."""
    counted = _json(metadata.get(FREQUENCY, ""))
    if not isinstance(counted, dict):
        return
    images = _images(metadata)
    best: dict[str, float] = {}
    for folder, tags in counted.items():
        numbers = {tag: _number(count) for tag, count in tags.items()} if isinstance(tags, dict) else {}
        # sd-scripts counts a caption once for each image; without the number of images the most frequent tag is taken as whole.
        whole = images.get(folder) or max(numbers.values(), default=0)
        for tag, count in numbers.items():
            text = printable(tag.strip(), LONGEST)
            if text and whole > 0:
                best[text] = max(best.get(text, 0.0), min(count / whole, 1.0))
    yield from best.items()


def _images(metadata: Mapping[str, str]) -> dict[str, float]:
    """The number of images of each folder, without repeats, where the metadata has it."""
    folders = _json(metadata.get(FOLDERS, ""))
    if not isinstance(folders, dict):
        return {}
    return {name: _number(row.get("img_count")) for name, row in folders.items() if isinstance(row, dict)}


def _number(value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 < value < 1e12 else 0.0


def _json(text: str) -> Any:
    if not text or len(text) > LONGEST_JSON:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
