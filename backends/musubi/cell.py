"""What Easel must know about musubi-tuner for one family and method: its own keys of [families.*] in `backend.toml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trainer_core.engines import claim
from trainer_core.engines.claim import Cell
from trainer_core.engines.manifest import BackendManifest

if TYPE_CHECKING:
    from trainer_core.plan.sections import TrainingPlan


@dataclass(frozen=True, kw_only=True)
class MusubiCell(Cell):
    """What musubi-tuner supports and needs for one family and method."""

    latents: str
    """The program that encodes the images."""
    captions: str
    """The program that encodes the captions."""
    network: str
    """The module of a plain LoRA."""
    precisions: tuple[str, ...] = ("bf16",)
    """With others it stops at the first step."""
    captions_in_8_bits: str = ""
    """The option that keeps the text encoder in 8 bits, of the program that trains and of that which encodes captions."""
    default_negative: str = " "
    """The negative prompt that samples need for guidance; "" if the program has its own."""
    told: str = ""
    """The option with which each of the three programs is told the variant of the model, by its name in `flavours`; "" if it need not be."""
    guidance: str = "cfg_scale"
    """The key of a sample prompt that is the guidance scale."""
    prompts: Mapping[str, Any] = field(default_factory=dict)
    """Further keys of each sample prompt."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Options that a native setting may change."""


def told(plan: TrainingPlan, cell: MusubiCell) -> dict[str, str]:
    """The option that names the variant of the model to the programs."""
    return {cell.told: claim.flavour(cell, plan.model.variant)} if cell.told else {}


def cell_of(plan: TrainingPlan, manifest: BackendManifest) -> MusubiCell:
    """The cell of a plan's family and method, which the manifest claims."""
    found = manifest.families[plan.model.family].cell(plan.model.method)
    assert isinstance(found, MusubiCell)
    return found
