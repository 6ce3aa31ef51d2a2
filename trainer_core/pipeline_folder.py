"""The header of a diffusers folder: model_index.json, the configs of its components, and their safetensors headers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer_core import header
from trainer_core.errors import HeaderError
from trainer_core.text import printable

# Source: diffusers/utils/constants.py and transformers/utils/__init__.py; the first that exists is the one they load.
WEIGHTS = ("diffusion_pytorch_model", "model")
CONFIGS = ("config.json", "scheduler_config.json")


def read(folder: Path) -> header.Header:
    """The header of a diffusers folder, each tensor's key prefixed by its component.

    Raises:
        HeaderError: the folder is no pipeline, or a part of it is missing or damaged.
    """
    index = folder / "model_index.json"
    if not index.is_file():
        message = f"The folder {printable(folder.name, 200)} has no model_index.json, so it is not a diffusers model."
        raise HeaderError(message, "Choose a .safetensors file, or the folder that holds model_index.json.")
    configs = {"": header.read_json(index)}
    tensors: dict[str, header.TensorInfo] = {}
    metadata: dict[str, str] = {}
    for component in _components(configs[""]):
        place = folder / component
        configs[component] = _config(place)
        for file in _weight_files(place):
            part = header.read_file(file)
            metadata |= part.metadata
            tensors |= {f"{component}/{key}": info for key, info in part.tensors.items()}
    if not tensors:
        message = f"The folder {printable(folder.name, 200)} holds no safetensors weights."
        raise HeaderError(message, "Download the safetensors version of the model; .bin files are not read.")
    return header.Header(folder, tensors, metadata, "diffusers", configs)


def _components(index: Mapping[str, Any]) -> list[str]:
    """The names of sub-folders in a model_index.json; one with a null class is left out, as diffusers does."""
    return [
        name
        for name, value in index.items()
        if isinstance(value, list) and len(value) == 2 and value[1] is not None and _is_plain_name(name)
    ]


def _is_plain_name(name: str) -> bool:
    """Whether a name from a file stays inside its folder."""
    return name.isprintable() and not set(name) & set("/\\:") and not name.startswith(".") and 0 < len(name) < 200


def _config(place: Path) -> dict[str, Any]:
    found = next((place / name for name in CONFIGS if (place / name).is_file()), None)
    return header.read_json(found) if found else {}


def _weight_files(place: Path) -> list[Path]:
    for stem in WEIGHTS:
        index = place / f"{stem}.safetensors.index.json"
        if index.is_file():
            return _shards(place, header.read_json(index))
        if (place / f"{stem}.safetensors").is_file():
            return [place / f"{stem}.safetensors"]
    # A folder with half-precision files only (model.fp16.safetensors) is still this model.
    variants = sorted(path for stem in WEIGHTS for path in place.glob(f"{stem}.*.safetensors") if path.is_file())
    return variants[:1]


def _shards(place: Path, index: Mapping[str, Any]) -> list[Path]:
    names = index.get("weight_map")
    if not isinstance(names, dict) or not all(
        isinstance(name, str) and _is_plain_name(name) for name in names.values()
    ):
        raise HeaderError(f"The index of {printable(place.name, 200)} does not list the files of its weights.")
    files = [place / name for name in sorted(set(names.values()))]
    for file in files:
        if not file.is_file():
            message = f"{printable(place.name, 200)} is not complete: {printable(file.name, 200)} is missing."
            raise HeaderError(message, "Download the model again.")
    return files
