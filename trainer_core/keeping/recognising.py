"""What a file that has arrived is, and in which folder such files belong. Nothing is moved: the user decides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trainer_core.errors import EaselError
from trainer_core.keeping import bounds
from trainer_core.keeping.bounds import Spot
from trainer_core.models import detection, header
from trainer_core.models.downloads.fetch import folder_for
from trainer_core.models.families import load_families
from trainer_core.text import printable

UNKNOWN = "It can be kept, moved and downloaded like any file; training, and the tools that need to know what it is, refuse it."
"""What still works with a model that is not recognised."""
_ROLES = {"lora": "LoRA", "vae": "VAE", "controlnet": "ControlNet"}


@dataclass(frozen=True)
class Recognised:
    """A model: what it is in a few words, its family and role, and the folder where such models belong, None if it is there.

    `told` says it as a sentence; for a model that Easel does not recognise, also why, and what can be done with it.
    """

    words: str
    family: str
    role: str
    belongs: Spot | None
    told: str


def recognise(spot: Spot) -> Recognised | None:
    """What a model file is, by its header; None if it is no model. One that Easel does not recognise has the role "unknown".

    Raises:
        FilesError: it lies outside.
    """
    path = bounds.entered(spot)
    try:
        found = detection.detect(header.read(path))
    except (EaselError, OSError):
        return None
    family = found.family or found.base_family or ""
    title = load_families()[family].title if family in load_families() else ""
    role = _ROLES.get(found.role, found.role.replace("_", " "))
    words = " ".join(filter(None, (title, role))) if title else role
    told = f"It is a model: {words}."
    if found.role == "unknown":
        words = "not recognised"
        why = found.evidence[0] if found.evidence else "its tensors are those of no family that Easel knows"
        told = f"Easel does not recognise this model: {printable(why, 200)}. {UNKNOWN}"
    return Recognised(words, family, found.role, _belongs(spot, folder_for(found), found.role), told)


def place_for(path: Path) -> Spot:
    """The folder in Models where a model file belongs; "unsorted" for one that is not known.

    Raises:
        HeaderError: it is no model, or it is damaged.
    """
    try:
        name = folder_for(detection.detect(header.read(path)))
    except EaselError:
        name = "unsorted"
    return Spot(bounds.root("models"), (name,))


def _belongs(spot: Spot, name: str, role: str) -> Spot | None:
    is_ours = spot.root.id in {"models", "outputs", "datasets"}
    is_result = role in {"lora", "embedding"} and spot.root.id == "outputs"
    is_there = spot.root.id == "models" and spot.parts[:1] == (name,)
    if not is_ours or is_result or is_there or name == "unsorted":
        return None
    return Spot(bounds.root("models"), (name,))
