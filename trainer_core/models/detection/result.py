"""The result of a detection: the facts from a header, and a guess."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

ROLES = ("checkpoint", "diffusion_model", "lora", "vae", "text_encoder", "controlnet", "embedding", "unknown")


@dataclass(frozen=True)
class Guess:
    """A guess at what the tensors cannot show. The user confirms it; it is never treated as certain.

    `basis` is "modelspec", "training metadata", "hash" or "file name", most reliable first; `evidence` is a sentence.
    `variant` is the one among variants with the same header, "" where it suggests none; `distilled` models need few steps.
    """

    id: str
    title: str
    basis: str
    evidence: str
    variant: str = ""
    distilled: bool = False


@dataclass(frozen=True)
class ModelSize:
    """The size of a diffusion model, counted in its header.

    `parameters` is the number of parameters, `layers` that of weights with two or more dimensions, `sides` the sum of their
    inputs and outputs: a LoRA of rank r on all of them has r times `sides` parameters. `others` is the number of parameters
    of the other parts that the header contains, such as text encoders and VAE.
    """

    parameters: int
    layers: int
    sides: int
    others: int = 0

    @classmethod
    def of(cls, shapes: Iterable[tuple[int, ...]]) -> ModelSize:
        """The size of a model with tensors of these shapes."""
        parameters = layers = sides = 0
        for shape in shapes:
            number = math.prod(shape)
            parameters += number
            # A table of positions, whose first dimension is 1, does not count.
            if len(shape) > 1 and shape[0] > 1:
                layers += 1
                sides += shape[0] + number // shape[0]
        return cls(parameters, layers, sides)


@dataclass(frozen=True)
class Detection:
    """What a model is according to its header.

    `role` is one of `ROLES`; a "checkpoint" contains its text encoders and VAE. `variant` is the variant of a family, the
    algorithm of a LoRA, or the kind of a VAE or text encoder. `prediction` is "epsilon", "v_prediction", "flow" or None,
    and for models that no engine trains also "edm" or "sample" (the image itself). It is certain where the file or its
    family determines it; otherwise it is the usual one. `zero_terminal_snr` is None where the file does not state it.
    `layout` says how the tensors are named: for a model one of `families.LAYOUTS`, for a part one of renaming/renamings.toml,
    "" where only one is known. `rejected` maps each other family to the reason why it does not match. `prefix`
    is the prefix of the keys of the diffusion model, or of the part. `parts` are the settings of the companion files that the
    model contains; a folder contains all; `part_prefixes` are the prefixes of their keys in a single file. `first_name` is the
    first key of a file with a prefix, in alphabetical order, in which engines load them. `base_family` is the family that a
    LoRA, ControlNet or embedding was made for. `apart` says why models of this variant cannot be trained like their family, "" where they can. `scaled`: weights were divided by
    scales, which are stored next to them. `weight_variant` is the variant of weights ("fp16") of a diffusers folder in which
    some component has no plain ones. `lacking` are the components that such a folder lists and does not have. `packed_by` is the library that quantized the weights and stores each as several
    tensors, "" for plain weights. `size` is that of the diffusion model, None where the header does not have all its weights. `named_prediction` is a prediction that the name suggests and the file does not
    state.
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
    part_prefixes: Mapping[str, str] = field(default_factory=dict)
    first_name: str = ""
    weight_variant: str = ""
    lacking: tuple[str, ...] = ()
    format: str = ""
    base_family: str | None = None
    zero_terminal_snr: bool | None = None
    apart: str = ""
    layout: str = ""
    scaled: bool = False
    packed_by: str = ""
    named_prediction: str = ""
    guess: Guess | None = None
    size: ModelSize | None = None
