"""Reads the header of a folder: a diffusers pipeline, one component of it, or the shards that an index in it lists."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer_core.errors import HeaderError
from trainer_core.models.header import shards
from trainer_core.models.header.files import read_any, read_json
from trainer_core.models.header.tensors import Header, shown
from trainer_core.text import printable

# Source: diffusers/utils/constants.py and transformers/utils/__init__.py; they load the first that exists.
WEIGHTS = (
    "diffusion_pytorch_model.safetensors",
    "model.safetensors",
    "diffusion_pytorch_model.bin",
    "pytorch_model.bin",
)
CONFIGS = ("config.json", "scheduler_config.json")
NEEDED = ("unet", "transformer", "prior", "vae", "text_encoder")
"""Starts of the names of components that must have weights when a pipeline lists them."""
MOST_COMPONENTS = 100
"""A pipeline has about ten; each listed one is looked for on the disk."""


def read(folder: Path) -> Header:
    """The header of a diffusers folder, with each key prefixed by its component, or of one component or one model in several files.

    Raises:
        HeaderError: the folder is not a model, or a part of it is missing or damaged.
        OSError: it cannot be read.
    """
    index = folder / "model_index.json"
    if not index.is_file():
        return _component(folder)
    configs = {"": read_json(index)}
    parts: dict[str, Header] = {}
    listed = _components(configs[""])
    if len(listed) > MOST_COMPONENTS:
        raise HeaderError(f"{shown(index)} lists {len(listed):,} components, more than any model has.")
    for name in listed:
        configs[name] = _config(folder / name)
        if part := _weights(folder / name):
            parts[name] = part
    # An interrupted download leaves the small files, which arrive first.
    if hollow := [name for name in configs if name.startswith(NEEDED) and configs[name] and name not in parts]:
        message = f"{shown(folder)} is not complete: there are no weights in {' and '.join(hollow)}."
        raise HeaderError(message, "Download it again, with its safetensors files.")
    if not parts:
        message = f"The folder {shown(folder)} contains no weights in a known format."
        raise HeaderError(message, "Download the model again, with its safetensors files.")
    tensors = {f"{name}/{key}": info for name, part in parts.items() for key, info in part.tensors.items()}
    metadata = {key: text for part in parts.values() for key, text in part.metadata.items()}
    files = tuple(file for part in parts.values() for file in part.files)
    lacking = tuple(
        name for name in configs if name.startswith(NEEDED) and name not in parts and not _has_files(folder / name)
    )
    return Header(folder, tensors, metadata, "diffusers", configs, files, lacking=lacking)


def read_index(index: Path) -> Header | None:
    """The header of the shards that an index lists; None when the file is not an index of shards.

    Raises:
        HeaderError: a shard is missing, damaged, or in another folder.
    """
    try:
        table = read_json(index)
    except HeaderError:
        return None
    return _sharded(index, table) if "weight_map" in table else None


def _component(folder: Path) -> Header:
    part = _weights(folder) if (folder / "config.json").is_file() else _listed(folder)
    if part is None:
        if loose := shards.loose(folder):
            message = f"The folder {shown(folder)} has {loose} without the index that lists them (.index.json)."
            raise HeaderError(message, "Download the index into the folder, too.")
        message = f"The folder {shown(folder)} is not a model: it has no model_index.json, no config.json with weights, and no index of a model in several files."
        raise HeaderError(message, "Choose a model file, or the folder that contains one of these.")
    configs = {"": config} if (config := _config(folder)) else {}
    return Header(folder, part.tensors, part.metadata, part.format, configs, part.files)


def _listed(folder: Path) -> Header | None:
    """The header of the model in several files whose index is in a folder; None without an index.

    Raises:
        HeaderError: there are several indexes, or a shard is missing or damaged.
    """
    indexes = sorted(place for place in folder.glob("*.index.json") if place.is_file())
    if len(indexes) > 1:
        names = ", ".join(printable(place.name, 100) for place in indexes[:4])
        raise HeaderError(f"The folder {shown(folder)} has several models: {names}.", "Choose one of these files.")
    return read_index(indexes[0]) if indexes else None


def _components(index: Mapping[str, Any]) -> list[str]:
    """The sub-folders that a model_index.json names; one with a null class is left out, as diffusers does."""
    return [
        name
        for name, value in index.items()
        if isinstance(value, list) and len(value) == 2 and value[1] is not None and _is_plain_name(name)
    ]


def _is_plain_name(name: str) -> bool:
    """Whether a name read from a file cannot lead out of its folder."""
    return (
        name.isprintable() and not set(name) & set("/\\:") and not name.startswith(".") and 0 < len(name.encode()) < 200
    )


def _config(place: Path) -> dict[str, Any]:
    found = next((place / name for name in CONFIGS if (place / name).is_file()), None)
    return read_json(found) if found else {}


def _has_files(place: Path) -> bool:
    return place.is_dir() and next(place.iterdir(), None) is not None


def _weights(place: Path) -> Header | None:
    """The header of a component's weights: those that diffusers loads by default, else those of a variant ("fp16")."""
    for name in WEIGHTS:
        index = place / f"{name}.index.json"
        if index.is_file():
            return _sharded(index, read_json(index))
        if (place / name).is_file():
            return read_any(place / name)
    for name in WEIGHTS:
        stem, _, ending = name.rpartition(".")
        if indexes := sorted(place.glob(f"{name}.index.*.json")):
            return _sharded(indexes[0], read_json(indexes[0]))
        if files := sorted(file for file in place.glob(f"{stem}.*.{ending}") if "-of-" not in file.name):
            return read_any(files[0])
    return None


def _sharded(index: Path, table: Mapping[str, Any]) -> Header:
    names = table.get("weight_map")
    if (
        not isinstance(names, dict)
        or not names
        or not all(isinstance(name, str) and _is_plain_name(name) for name in names.values())
    ):
        raise HeaderError(f"The index {shown(index)} does not list the files of its weights.")
    tensors, metadata = {}, {}
    files = tuple(index.with_name(name) for name in sorted(set(names.values())))
    if missing := [printable(file.name, 200) for file in files if not file.is_file()]:
        some = ", ".join(missing[:4]) + (f" and {len(missing) - 4} more" if len(missing) > 4 else "")
        verb = "is" if len(missing) == 1 else "are"
        raise HeaderError(f"{shown(index.parent)} is not complete: {some} {verb} missing.", "Download the model again.")
    for file in files:
        part = read_any(file)
        tensors |= part.tensors
        metadata |= part.metadata
    return Header(index, tensors, metadata, "sharded", files=files)
