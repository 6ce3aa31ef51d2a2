"""What Easel must know about SimpleTuner for one family and method: its own keys of [families.*] in `backend.toml`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from trainer_core.engines import claim
from trainer_core.engines.claim import Cell
from trainer_core.engines.manifest import BackendManifest

if TYPE_CHECKING:
    from trainer_core.plan.sections import TrainingPlan


@dataclass(frozen=True)
class Layers:
    """The layer classes that a network is applied to, by `network.targets`; `names` are more layers for "full", by name."""

    attention: tuple[str, ...]
    attention_mlp: tuple[str, ...]
    full: tuple[str, ...]
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ranks:
    """The lowest rank that BOFT works with, by `network.targets`: twice the largest odd part of the layers' widths."""

    attention: int
    attention_mlp: int
    full: int


@dataclass(frozen=True, kw_only=True)
class SimpleTunerCell(Cell):
    """What SimpleTuner supports and needs for one family and method."""

    class_images: bool = True
    """A network is trained towards what the base model itself predicts of them. Source: trainer.py, _prepare_regularisation_parent_targets."""
    masks: bool = True
    """Source: helpers/models/common.py, loss: each family that Easel trains has the mask."""
    model_flavour: str = ""
    """The engine's name of the models of the family, if it has only one that Easel trains; else `flavours` names the variants."""
    sample_sides: int = 16
    """Width and height of samples from a transformer are multiples of this. Source: check_inputs of the families' pipelines."""
    guidance: str = "validation_guidance"
    """The option with the strength of the guidance of samples."""
    least_guidance: float = 0.0
    """What the pipeline uses instead of a guidance of 1 or less, which that option does not pass on; 0: that option passes on any."""
    control_flavour: str = ""
    """The flavour with which the engine shows the model control images; empty: the same."""
    one_pair_a_step: bool = False
    """Whether the engine stops with more than one image in a step if there are control images."""
    captions_see_controls: bool = False
    """Whether the text encoder is shown the control images, too, by an image processor in the folder of the model."""
    samples: Literal["pairs", "prompts"] = "pairs"
    """Of what the engine makes samples if there are control images: of pairs of the dataset with their captions, or of the prompts."""
    component: Literal["unet", "transformer"]
    """The subfolder of the denoiser in a diffusers folder."""
    targets: Layers
    boft_ranks: Ranks
    flow_shift: float | None = None
    """The default timestep shift of a flow model; 0: the shift depends on the image size; None: not a flow model."""
    guidance_from_zero: bool = False
    """Whether guidance is off at 0 in the pipeline that makes the samples, and not at 1 as in a plan."""
    calls_folder: str = ""
    """The relative path by which the engine loads parts of the model's folder, although it takes it for a repository on the Hub: a
    link of this name in the run folder leads to the folder. Source: transformers utils/hub.py, cached_file: a folder goes first."""
    own_names: bool = False
    """Whether a plain LoRA is saved with the names of diffusers and alpha only in its metadata, because ComfyUI and diffusers both
    load it so; Easel adds alpha to the finished file where it is not the rank."""


def flavour(plan: TrainingPlan, cell: SimpleTunerCell) -> str:
    """The engine's name of the variant that a plan trains: that with control images if it has some."""
    if plan.has_controls and cell.control_flavour:
        return cell.control_flavour
    return claim.flavour(cell, plan.model.variant) or cell.model_flavour


def cell_of(plan: TrainingPlan, manifest: BackendManifest) -> SimpleTunerCell:
    """The cell of a plan's family and method, which the manifest claims."""
    found = manifest.families[plan.model.family].cell(plan.model.method)
    assert isinstance(found, SimpleTunerCell)
    return found
