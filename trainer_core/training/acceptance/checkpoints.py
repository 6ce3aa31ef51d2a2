"""Checks a trained model: it must be complete, of the trained family, finite, and different from the base model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.errors import EaselError, HeaderError
from trainer_core.models import detection, header
from trainer_core.models.families import PREFIXES, load_families
from trainer_core.models.header import Header
from trainer_core.text import printable
from trainer_core.training.acceptance import values
from trainer_core.training.acceptance.result import Acceptance, section
from trainer_core.training.acceptance.values import Stored

ROLES = ("checkpoint", "diffusion_model")
COMPONENTS = ("unet/", "transformer/")
"""The denoiser in a diffusers folder, which is the part that is trained."""
COMPARED = 48
"""How many tensors, spread over the model, are compared with the base model to count how many have changed."""
TRAINED_IN = {"fp16": "F16", "bf16": "BF16"}


def judge(path: Path, plan: Mapping[str, Any]) -> Acceptance:
    """Whether a file or a diffusers folder is the model that a plan asks for.

    Raises:
        EaselError: it is not a complete model.
        OSError: it cannot be read.
    """
    found = _read(path)
    tensors = values.stored(found)
    contents = {key: values.content(tensor) for key, tensor in tensors.items()}
    reasons, notes = _family(found, plan)
    compared, moved, sentences, more = _compared(tensors, plan)
    reasons += [*values.not_finite(contents), *sentences]
    return Acceptance(
        ok=not reasons,
        reasons=tuple(reasons),
        tensors=len(tensors),
        modules=compared,
        moved=moved,
        size_bytes=sum(file.stat().st_size for file in {tensor.path for tensor in tensors.values()}),
        kind="checkpoint",
        notes=(*notes, *more),
    )


def _read(path: Path) -> Header:
    """The header of a result. Links in it are refused, because an engine writes its files into the folder itself."""
    for place, folders, files in os.walk(path):
        for name in (*folders, *files):
            if Path(place, name).is_symlink():
                raise HeaderError(
                    f"{printable(path.name)} contains a link, which Easel does not follow: {printable(name)}."
                )
    return header.read(path)


def _family(found: Header, plan: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The reasons why the model is not of the trained family, and notes about what is not known."""
    families = load_families()
    wanted = str(section(plan, "model").get("family", ""))
    if wanted and wanted not in families:
        return [], [f"Easel does not know the family {printable(wanted, 40)}, so it checked only the values."]
    seen = detection.detect(found)
    if seen.family is None and _is_component(found.path):
        return [], ["Easel does not recognise this part of the model by itself, so it checked only its values."]
    if seen.role not in ROLES or seen.family is None:
        what = "a LoRA" if seen.role == "lora" else f"not a known model: {'; '.join(seen.evidence[:1])}"
        return [f"The result is {what}."], []
    if wanted and seen.family != wanted:
        return [f"The result is {families[seen.family].title}, not {families[wanted].title}."], []
    return [], []


def _is_component(path: Path) -> bool:
    """Whether this is the folder of one part of a diffusers model, as some engines save between the steps."""
    return path.is_dir() and not (path / "model_index.json").is_file()


def _compared(tensors: Mapping[str, Stored], plan: Mapping[str, Any]) -> tuple[int, int | None, list[str], list[str]]:
    """How many tensors were compared with the base model, how many differ, the reason if none does, and notes."""
    try:
        base = values.stored(header.read(places.typed(str(section(plan, "model").get("path", "")))))
    except (EaselError, OSError) as error:
        return 0, None, [], [f"It was not compared with the base model, because that cannot be read: {error}"]
    own, others = _denoiser(tensors), _denoiser(base)
    shared = [key for key in sorted(own) if key in others and own[key].info.shape == others[key].info.shape]
    if not shared:
        return 0, None, [], ["It was not compared with the base model, because the names of their tensors differ."]
    memory = section(plan, "memory")
    through = TRAINED_IN.get(str(memory.get("mixed_precision")), "") if memory.get("half_weights") else ""
    told = [values.differ(own[key], others[key], through) for key in shared[:: len(shared) // COMPARED + 1]]
    if any(told):
        return len(told), sum(map(bool, told)), [], []
    # No tensor of the sample differs: compare all of them before the result is refused.
    for key in shared:
        told.append(values.differ(own[key], others[key], through))
        if told[-1]:
            return len(shared), 1, [], []
    exact = all({own[key].info.dtype, others[key].info.dtype} <= {through or own[key].info.dtype} for key in shared)
    if exact and len(shared) == len(own):
        return (
            len(shared),
            0,
            ["The model has learnt nothing: its weights are the same as those of the base model."],
            [],
        )
    note = "It is not known whether the model has learnt anything: it differs from the base model only by rounding."
    return len(shared), None, [], [note]


def _denoiser(tensors: Mapping[str, Stored]) -> dict[str, Stored]:
    """The tensors of the denoiser, without the prefix of their names in files."""
    for prefix in (*COMPONENTS, *PREFIXES[:-1]):
        own = {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
        if own:
            return own
    others = (*detection.VAE_PREFIXES, *detection.TEXT_ENCODER_PREFIXES)
    return {key: tensor for key, tensor in tensors.items() if not key.startswith(others)}
