"""What Easel must know about sd-scripts for one family and method: its own keys of [families.*] in `backend.toml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from trainer_core.engines.claim import Cell
from trainer_core.engines.manifest import BackendManifest

if TYPE_CHECKING:
    from trainer_core.plan.sections import TrainingPlan


@dataclass(frozen=True, kw_only=True)
class KohyaCell(Cell):
    """What sd-scripts supports and needs for one family and method. An empty text means that there is no such option."""

    class_images: bool = True
    """Every script that trains a network, and that of DreamBooth. Source: library/train_util.py, DreamBoothDataset."""
    validation: int = 4
    """In every script that trains a network. Source: train_network.py, NUM_VALIDATION_TIMESTEPS; the others derive from it."""
    masks: bool = True
    """Mask files: every script but that of full finetuning of SD1.5 and SD2. Source: ConfigSanitizer and apply_masked_loss in them."""
    network: str = ""
    """The module of a plain LoRA."""
    sampler: str = ""
    """The sampler for samples."""
    sample: Mapping[str, Any] = field(default_factory=dict)
    """Fixed keys of a sample prompt."""
    guidance: str = ""
    """The key of a sample prompt for distilled guidance, if the family has it instead of classifier-free guidance."""
    seed_above_zero: bool = False
    """Whether the sample seed must be more than 0."""
    captions: Literal["files", "metadata"] = "files"
    """Whether the script reads captions from one file for each image, or from one file for all."""
    text_encoders: int = 0
    """How many learning rates for text encoders the network takes; 0: text encoders are never trained."""
    text_encoder_switch: str = ""
    """In full finetuning: the option that turns on the training of text encoders, or sets the step at which it ends."""
    text_encoder_rates: tuple[str, ...] = ()
    """In full finetuning: the options for the learning rates of text encoders."""
    cache_text_encoder: Literal["no", "alone", "dropout", "partly"] = "no"
    """Whether text encoder outputs can be cached: "alone" means not with caption dropout or a trained text encoder, "dropout"
    means also with caption dropout, "partly" means also while CLIP is trained, whose outputs are not cached."""
    fp8: str = ""
    """The option that keeps the base model in 8 bits."""
    fp8_later: bool = False
    """Whether the engine converts the base model to 8 bits after it created the network."""
    half_weights: tuple[str, ...] = ("fp16", "bf16")
    """The half precisions that trained weights can have."""
    fused: str = ""
    """The option of the fused backward pass."""
    swap_and_offload: bool = False
    """Whether block swap and activation offload work at the same time."""
    own_layers: bool = False
    """Whether LyCORIS needs a layer preset from Easel: see [layers] in translation.toml."""
    boft_rank: int
    """The lowest rank that BOFT works with: twice the largest odd part of any layer width."""
    attention_layers: bool = False
    """Whether LyCORIS can select only the attention layers."""
    flow_shift: str = ""
    """The option for the timestep shift of a flow model."""
    shifted: Mapping[str, Any] = field(default_factory=dict)
    """Options that must also be set, so that the engine reads the shift."""
    always: Mapping[str, Any] = field(default_factory=dict)
    """Options that the model determines; a native setting cannot change them."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Options that a native setting may change."""


def cell_of(plan: TrainingPlan, manifest: BackendManifest) -> KohyaCell:
    """The cell of a plan's family and method, which the manifest claims."""
    found = manifest.families[plan.model.family].cell(plan.model.method)
    assert isinstance(found, KohyaCell)
    return found
