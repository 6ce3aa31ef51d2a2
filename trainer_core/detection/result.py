"""What a header says, and what it only suggests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

ROLES = ("checkpoint", "diffusion_model", "lora", "vae", "text_encoder", "controlnet", "embedding", "unknown")


@dataclass(frozen=True)
class Guess:
    """What shapes cannot tell, as something else suggests it: to be confirmed, never taken as certain.

    `basis` is "modelspec", "kohya metadata", "hash" or "file name", in that order of weight; `evidence` is the sentence.
    """

    id: str
    title: str
    basis: str
    evidence: str


@dataclass(frozen=True)
class Detection:
    """What a header says a model is.

    `role` is one of `ROLES`; a "checkpoint" holds its text encoders and VAE. `variant` is the variant of a family, the
    algorithm of a LoRA, or the kind of a VAE or text encoder. `prediction` is "epsilon", "v_prediction", "flow" or None,
    and of models that are trained by nobody here "edm" or "sample" (the picture itself); it is certain where the file or
    its family says so, else only usual. `zero_terminal_snr`: its noise ends at zero signal; None where nothing is said of it.
    `layout` is one of `families.LAYOUTS`. `rejected` says of each other family why it is not
    that. `prefix` is what a file puts in front of the diffusion model's names, `parts` which of the files beside a model it
    holds itself; a folder holds all. `base_family` is what a LoRA, ControlNet or embedding was made for. `apart` says why
    models of this variant are not trained as their family is, "" where they are. `scaled`: weights were divided by scales that
    stand beside them. `named_prediction` is what a name suggests that the file does not say.
    """

    family: str | None
    role: str
    variant: str = ""
    prediction: str | None = None
    dtype: str = ""
    evidence: tuple[str, ...] = ()
    rejected: Mapping[str, str] = field(default_factory=dict)
    rank: int | None = None
    alpha: float | None = None
    is_prediction_certain: bool = False
    prefix: str = ""
    parts: tuple[str, ...] = ()
    format: str = ""
    base_family: str | None = None
    zero_terminal_snr: bool | None = None
    apart: str = ""
    layout: str = ""
    scaled: bool = False
    named_prediction: str = ""
    guess: Guess | None = None
