"""What an engine declares about memory and time: [estimate] of its backend.toml. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Costs:
    """What an engine needs in memory and time. The defaults are cautious guesses for an engine that declares nothing.

    `lora` of the cells says for which families LyCORIS creates even a plain LoRA.
    """

    layout: Literal["original", "diffusers"] = "original"
    """The names of a model's layers that the engine uses: a table of trainer_core/estimate/layers.toml."""
    layouts: Mapping[str, Literal["original", "diffusers"]] = field(default_factory=dict)
    """The same for families where it uses another one."""
    trained_bytes: int = 4
    """Bytes of each trained parameter, unless the plan asks for half precision."""
    follows_precision: bool = False
    """Whether trained parameters have the dtype of the computation."""
    own_networks: tuple[str, ...] = ("lora",)
    """Algorithms that LyCORIS does not create; LyCORIS also keeps a full changed weight for each layer."""
    usual_target: str = "full"
    """The default layers of a LyCORIS network."""
    usual_targets: Mapping[str, str] = field(default_factory=dict)
    """The default layers of algorithms that have other ones."""
    paired_swap: bool = False
    """Whether n swapped blocks are n // 2 of the first kind and twice the rest of the second kind."""
    caches_captions: bool = False
    """Whether captions are always encoded once, before training."""
    fixed_sizes: tuple[str, ...] = ()
    """Families whose model it builds in the usual size, whatever the file has: it cannot load a smaller or larger one."""
    vae_in_32_bits: tuple[str, ...] = ()
    """Families whose VAE overflows in 16 bits."""
    correction_bytes: int = 0
    """Bytes that its optimizers keep for each parameter in addition, if weights are in half precision."""
    start_s: tuple[float, float] = (15, 120)
    """Seconds from launch to the first step, without downloads."""
    ram_runtime_gib: float = 1.0
    """System RAM in GiB that the program itself needs, without the mapped pages of files."""
    ram_bytes_unet: float = 3.0
    """Bytes of system RAM for each parameter of denoiser, text encoders and VAE, for models with a U-Net."""
    ram_bytes_transformer: float = 2.2
    """The same for models with a transformer."""
    whole_checkpoints: tuple[Literal["unet", "transformer"], ...] = ("unet",)
    """Kinds of models for which full finetuning also saves text encoders and VAE."""
    state_in_checkpoints: bool = False
    """Whether checkpoints also contain the optimizer state."""
    checkpoint_beside_state: bool = False
    """Whether it saves a checkpoint beside each state also if the plan asks for none, and removes it when the next is complete."""
    held_gib: tuple[float, float] = (0.4, 4.5)
    """VRAM in GiB that the engine holds in addition to what is counted: lowest and highest."""
    captions_on_cpu: str = ""
    """The native setting that encodes captions on the CPU."""
    eight_bit_files: tuple[str, ...] | None = None
    """Text encoders whose file in 8 bits stays in 8 bits on the device; None: any."""
    eight_bits_need_base: bool = False
    """Whether they stay so only if a network is trained and the base model is in 8 bits, too."""
    captions_in_8_bits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By family: the native settings that make the engine load the large text encoder in 8 bits."""
    rehearses: bool = False
    """Whether it only simulates a training, so that its time cannot be estimated."""


USUAL = Costs()
"""The costs of an engine that declares none."""
