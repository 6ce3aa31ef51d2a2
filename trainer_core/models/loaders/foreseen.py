"""Which programs will load a network that is not trained yet, by the names that its engine writes. Not: a file that is there.

A header is made as the engine would write it, changed as Easel changes a finished file (`conversion`), and judged like one.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from trainer_core.models import loaders
from trainer_core.models.detection.layouts import ALGORITHMS
from trainer_core.models.header import Header, TensorInfo
from trainer_core.models.loaders import PEFT, Answer, conversion, table
from trainer_core.models.loaders.conversion import A_B, UP_DOWN

_RANK, _WIDTH = 4, 8
LINEAR = ("lora", "dylora", "lora_fa")
"""The algorithms that leave convolutions out unless they are asked for."""
NORMS = re.compile(r"(^|[._])(norm|norms|norm_?\w*|ln_[qk]|\w+_norm\d?|layernorm)(\.\d+)?$")
"""Layers without a matrix, which are networks of another kind and only trained when asked for."""
# The parts of a layer by algorithm, as its module saves them. Source: lycoris-lora 4.1.3, modules/*.py.
_MATRIX = (_RANK, _WIDTH)
PARTS: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "loha": dict.fromkeys((".hada_w1_a", ".hada_w1_b", ".hada_w2_a", ".hada_w2_b"), _MATRIX) | {".alpha": ()},
    "lokr": dict.fromkeys((".lokr_w1", ".lokr_w2_a", ".lokr_w2_b"), _MATRIX) | {".alpha": ()},
    "glora": dict.fromkeys((".a1.weight", ".a2.weight", ".b1.weight", ".b2.weight"), _MATRIX) | {".alpha": ()},
    "oft": {".oft_blocks": (2, 4, 4), ".alpha": ()},
    "boft": {".oft_blocks": (2, 2, 4, 4), ".alpha": ()},
    "full": {".diff": (_WIDTH, _WIDTH)},
    "ia3": {".weight": (_WIDTH,), ".on_input": ()},
    "tlora": dict.fromkeys((".p_layer.weight", ".q_layer.weight", ".lambda_layer"), _MATRIX) | {".alpha": ()},
}


class Names(Protocol):
    """How an engine names the layers of a network: see `trainer_core.engines.claim.Written`."""

    @property
    def naming(self) -> str:
        """Whose names they are: "original" or "diffusers"."""
        ...

    @property
    def layers(self) -> str:
        """A pattern of the layers that get a network."""
        ...

    @property
    def own_layers(self) -> str:
        """The same for a network without convolutions; "" if it is the same."""
        ...


@functools.lru_cache(maxsize=256)
def answers(
    family: str, names: Names, prefix: str, ends: str, algorithm: str, is_alpha_rank: bool
) -> tuple[Answer, ...]:
    """The answer of each program for the finished file; () if no name of the family is recorded that fits, or for an unknown algorithm.

    `prefix` stands before the name of each layer, whose dots become underscores if it ends with one. `ends` are the endings of
    a LoRA's tensors, as a code of `loaders.ENDINGS`.
    """
    header = finished(family, names, prefix, ends, algorithm, is_alpha_rank)
    return tuple(loaders.judge(header, family)) if header is not None else ()


@functools.lru_cache(maxsize=256)
def finished(family: str, names: Names, prefix: str, ends: str, algorithm: str, is_alpha_rank: bool) -> Header | None:
    """The header of the finished file, with small tensors; None as () above."""
    if algorithm not in ALGORITHMS or not trained(family, names, algorithm):
        return None
    header = written(family, names, prefix, ends, algorithm, is_alpha_rank)
    alpha = float(_RANK if is_alpha_rank else _RANK / 2)
    changed = conversion.improved(header, family, alpha)
    return conversion.as_header(header, changed.pieces, changed.outdated) if changed else header


def written(family: str, names: Names, prefix: str, ends: str, algorithm: str, is_alpha_rank: bool) -> Header:
    """The header of the file as the engine writes it, with small tensors."""
    tensors: dict[str, TensorInfo] = {}
    for layer in trained(family, names, algorithm):
        name = prefix + (layer.replace(".", "_") if prefix.endswith("_") else layer)
        tensors |= {name + ending: TensorInfo("F16", shape) for ending, shape in _parts(algorithm, ends)}
    stated = ends in "UmM" and ALGORITHMS.get(algorithm) == "lora"
    component = "unet." if family in table.UNET_FAMILIES else "transformer."
    alpha = float(_RANK if is_alpha_rank else _RANK / 2)
    metadata = {PEFT: json.dumps({f"{component}lora_alpha": alpha, f"{component}r": _RANK})} if stated else {}
    return Header(Path("network.safetensors"), tensors, metadata, "safetensors")


@functools.lru_cache(maxsize=128)
def trained(family: str, names: Names, algorithm: str) -> tuple[str, ...]:
    """The layers that get a network: of those that are alike in all blocks, and loaded by the same programs, the first."""
    pattern = names.own_layers if algorithm in LINEAR and names.own_layers else names.layers
    alike: dict[tuple[str, str], str] = {}
    for layer, codes in table.layers(family, names.naming).items():
        if re.search(pattern, layer) and not NORMS.search(layer):
            alike.setdefault((re.sub(r"\d+", "#", layer), codes), layer)
    return tuple(alike.values())


def _parts(algorithm: str, ends: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    layout = ALGORITHMS.get(algorithm, algorithm)
    if layout != "lora":
        yield from PARTS[layout].items()
        return
    endings = UP_DOWN if ends in "uvU" else A_B
    yield endings["up"], (_WIDTH, _RANK)
    yield endings["down"], (_RANK, _WIDTH)
    if ends in "uUAM":
        yield endings["alpha"], ()
    if algorithm == "dora":
        yield ".dora_scale", (_WIDTH, 1)
