"""Plans several files: the parts of a model, each in one, or a model in shards of a limited size."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from trainer_core.errors import WeightsError
from trainer_core.models.detection import Detection
from trainer_core.models.renaming import Form, building
from trainer_core.models.renaming.building import Built
from trainer_core.weights.conversion import pipelines, single
from trainer_core.weights.conversion.pipelines import Component

LAYOUTS = {"openclip": "transformers"}
"""The layouts in which a part alone is not read, and the one that is."""
MODEL = "diffusion_model"


def split(tensors: Mapping[str, Built], found: Detection) -> dict[str, dict[str, Built]]:
    """The tensors of each part of a model file, by the name of the new file without its ending.

    Raises:
        WeightsError: the file has no parts that can be taken apart.
        RenamingError: a part does not have the names that it seems to have.
    """
    files: dict[str, dict[str, Built]] = {}
    left = dict(tensors)
    for title, kind, prefix, layout in _held(tensors, found):
        own = {name: each for name, each in left.items() if name.startswith(prefix)}
        if own and prefix:
            files[title] = _alone(own, kind, prefix, layout)
            left = {name: each for name, each in left.items() if name not in own}
    if len(files) < 2 and not (files and left):
        raise WeightsError("The file has only one part.", "Choose a checkpoint with text encoders or a VAE.")
    # What belongs to no part are marks of the diffusion model, such as v_pred.
    if left:
        files[MODEL] = files.get(MODEL, {}) | left
    return files


def _held(tensors: Mapping[str, Built], found: Detection) -> list[tuple[str, str, str, str]]:
    """The parts of a file: the name of the new file, the kind, the prefix, and the layout ("": the names are unknown)."""
    rows: list[tuple[str, str, str, str]] = []
    if found.family in pipelines.pipelines():
        for part in pipelines.of(found.family).parts:
            form = next(filter(None, (single.form_in(tensors, part, root) for root in (part.prefix, *part.also))), None)
            if form:
                rows.append((_title(part), part.kind, form.prefix, form.layout))
        return rows
    if found.prefix:
        rows.append((MODEL, "", found.prefix, ""))
    seen = set()
    for setting, prefix in found.part_prefixes.items():
        if prefix not in seen:
            seen.add(prefix)
            rows.append((setting, "", prefix, ""))
    return rows


def _title(part: Component) -> str:
    if part.component == "vae":
        return "vae"
    return f"text_encoder_{part.kind}" if part.library == "transformers" else MODEL


def _alone(own: Mapping[str, Built], kind: str, prefix: str, layout: str) -> dict[str, Built]:
    if not layout:
        return {name[len(prefix) :]: replace(each, name=name[len(prefix) :]) for name, each in own.items()}
    return building.converted(kind, own, Form(layout, prefix), Form(LAYOUTS.get(layout, layout), ""))


def shards(names: Sequence[str], sizes: Mapping[str, int], most: int, stem: str) -> tuple[list[list[str]], str]:
    """The tensors of each shard, in order, and the text of the index. `most` is the largest size of a shard in bytes.

    Source: huggingface_hub serialization/_base.py, split_state_dict_into_shards_factory.
    """
    groups: list[list[str]] = [[]]
    size = 0
    for name in names:
        if groups[-1] and size + sizes[name] > most:
            groups.append([])
            size = 0
        groups[-1].append(name)
        size += sizes[name]
    files = [f"{stem}-{place:05}-of-{len(groups):05}.safetensors" for place in range(1, len(groups) + 1)]
    table = {name: file for file, group in zip(files, groups, strict=True) for name in group}
    total = sum(sizes[name] for name in names)
    return groups, json.dumps({"metadata": {"total_size": total}, "weight_map": table}, indent=2) + "\n"
