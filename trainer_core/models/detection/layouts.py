"""How each network algorithm is stored in a file: the names of its parts, the products, and the factors that start at zero.

A network changes a weight by a sum of terms. Each term is a product of factors, one of which starts at zero. So training
has changed the network exactly when some term has no factor that is all zeros.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

Pieces = tuple[str, ...]
"""One form of a factor: one part, or the two low-rank matrices whose product it is, (out, rank) and (rank, in)."""


@dataclass(frozen=True)
class Layout:
    """How the modules of one kind of network are recognised and checked.

    `terms` are the terms of the sum above, each with its factors: "w | a @ b" is a factor that is stored as w, or as the
    product of two low-rank matrices. `additions` are optional parts that change a weight by themselves. `signs` are parts
    that are always present and change nothing. `cores` are the middle parts of Tucker products, either all present or
    none; with them the outer matrix is (rank, out) where `core_turns` is True. `flat`: convolutions are stored as
    matrices, like linear layers. `sizes` are the numbers of dimensions that distinguish two layouts with the same parts.
    `start` describes the start when it is not zero.
    """

    title: str
    terms: tuple[tuple[str, ...], ...]
    additions: tuple[str, ...] = ()
    signs: tuple[str, ...] = ()
    cores: tuple[str, ...] = ()
    core_turns: bool = False
    flat: bool = False
    sizes: Mapping[str, int] = field(default_factory=dict)
    start: str = ""
    has_rank: bool = False

    @functools.cached_property
    def parts(self) -> frozenset[str]:
        """Every part that a module of this layout can have."""
        pieces = {piece for term in self.terms for factor in term for form in forms(factor) for piece in form}
        return frozenset({*pieces, *self.additions, *self.signs, *self.cores})


@functools.cache
def forms(factor: str) -> tuple[Pieces, ...]:
    """The forms of a factor: "w | a @ b" gives (("w",), ("a", "b"))."""
    return tuple(tuple(piece.strip() for piece in form.split("@")) for form in factor.split("|"))


# Source of the parts, of what starts at zero and of the shapes: lycoris-lora 4.1.3, modules/*.py, and sd-scripts'
# networks/*.py.
LAYOUTS: Mapping[str, Layout] = {
    "lora": Layout("LoRA", (("up @ down",),), cores=("lora_mid",), has_rank=True),
    "loha": Layout(
        "LoHa",
        (("hada_w1_a @ hada_w1_b", "hada_w2_a @ hada_w2_b"),),
        cores=("hada_t1", "hada_t2"),
        core_turns=True,
        flat=True,
        has_rank=True,
    ),
    "lokr": Layout(
        "LoKr",
        (("lokr_w1 | lokr_w1_a @ lokr_w1_b", "lokr_w2 | lokr_w2_a @ lokr_w2_b"),),
        cores=("lokr_t2",),
        core_turns=True,
        flat=True,
        has_rank=True,
    ),
    "glora": Layout("GLoRA", (("a1 @ a2",), ("b1 @ b2",)), cores=("bm",), has_rank=True),
    "ia3": Layout("IA3", (("weight",),), signs=("on_input",)),
    "oft": Layout("OFT", (("oft_blocks",),), sizes={"oft_blocks": 3}),
    "oft_r": Layout("OFT of PEFT", (("oft_R",),)),
    "oft_pieces": Layout("OFT of a layer in pieces", (("oft_blocks_0",),)),
    "boft": Layout("BOFT", (("oft_blocks",),), sizes={"oft_blocks": 4}),
    "full": Layout("full difference", (("diff",),), additions=("diff_b",)),
    "tlora": Layout(
        "T-LoRA",
        (("p_layer @ q_layer", "lambda_layer"),),
        start="a T-LoRA starts from directions of the base model, not from zero",
        has_rank=True,
    ),
    "norm": Layout("norm", (("w_norm",),), additions=("b_norm",)),
}
TITLES: Mapping[str, str] = {
    **{name: each.title for name, each in LAYOUTS.items()},
    "locon": "LoRA with convolutions (LoCon)",
    "dora": "DoRA",
}
"""What each kind of network is called in a sentence."""
ALGORITHMS: Mapping[str, str] = {
    name: name for name in LAYOUTS if name not in ("norm", "oft_r", "oft_pieces")
} | dict.fromkeys(("locon", "dora", "dylora", "lora_fa"), "lora")
"""The layout of each algorithm in the catalogue. LoCon, DyLoRA and LoRA-FA are saved as plain LoRAs."""
NORM = "norm"
"""The layout of the norm layers, which any algorithm may train in addition."""
DORA = "dora_scale"
"""The magnitude of each weight, which DoRA adds to the modules of several algorithms."""

OTHERS = ("alpha", DORA, "rescale", "lora_bias", "scaled_oft", "set_weight", "reshape_weight")
"""Parts of modules of any layout. Source: ComfyUI comfy/lora.py, load_lora; OneTrainer modules/module/oft_utils.py."""

# The key endings of parts whose keys do not end with the name of the part. Source: PEFT 0.21.2, utils/save_and_load.py; diffusers 0.42.1,
# utils/state_dict_utils.py; the oldest LoRAs of diffusers use to_k_lora.down.weight, later ones lora_linear_layer. ai-toolkit saves the
# magnitudes of a DoRA as "magnitude" (toolkit/models/DoRA.py); the first OFT of LyCORIS was "oft_diag" (AUTOMATIC1111
# extensions-builtin/Lora/network_oft.py).
ENDINGS: Mapping[str, tuple[str, ...]] = {
    "up": (
        ".lora_up.weight", ".lora_B.weight", ".lora.up.weight", "_lora.up.weight", ".lora_linear_layer.up.weight",
    ),
    "down": (
        ".lora_down.weight", ".lora_A.weight", ".lora.down.weight", "_lora.down.weight", ".lora_linear_layer.down.weight",
    ),
    "lora_mid": (".lora_mid.weight",),
    DORA: (".dora_scale", ".lora_magnitude_vector", ".lora_magnitude_vector.weight", ".magnitude"),
    "oft_blocks": (".oft_blocks", ".oft_diag"),
    "oft_blocks_0": (".oft_blocks.0",),
    "oft_R": (".oft_R.weight",),
    "lora_bias": (".lora_B.bias", ".lora_up.bias"),
    "scaled_oft": (".oft_R.scaled_oft",),
    **{name: (f".{name}.weight",) for name in ("a1", "a2", "b1", "b2", "bm", "p_layer", "q_layer")},
}  # fmt: skip
# PEFT has the name of the adapter in the keys of its own files. Source: PEFT 0.21.2, tuners/lora/layer.py and tuners/oft/layer.py.
_ADAPTER = re.compile(r"(.+)\.(lora_A|lora_B|lora_magnitude_vector|oft_R)\.[^.]+\.weight")
_OF_ADAPTER = {"lora_A": "down", "lora_B": "up", "lora_magnitude_vector": DORA, "oft_R": "oft_R"}
_MARK = re.compile(r"\.|_lora\.")
# Source: XLabs-AI/x-flux src/flux/modules/layers.py, DoubleStreamBlockLoraProcessor: 1 is the image stream, 2 the text stream.
_XLABS = re.compile(r"(.+)\.processor\.(qkv|proj)_lora([12])\.(up|down)\.weight")
_STREAMS = {"1": "img_attn", "2": "txt_attn"}


@functools.cache
def _part_of_ending() -> Mapping[str, str]:
    parts = set(OTHERS).union(*(layout.parts for layout in LAYOUTS.values()))
    return {ending: part for part in parts for ending in ENDINGS.get(part, (f".{part}",))}


@functools.lru_cache(maxsize=20_000)
def _parted(key: str) -> tuple[str, str] | None:
    """The module and the part of a key. Cached, because the files of one family share their names."""
    known = _part_of_ending()
    if "_lora" in key and (found := _XLABS.fullmatch(key)):
        return f"{found[1]}.{_STREAMS[found[3]]}.{found[2]}", found[4]
    # The longest known ending; an ending has at most four words.
    for match in list(_MARK.finditer(key))[-4:]:
        part = known.get(key[match.start() :])
        if part and match.start():
            named = _ADAPTER.fullmatch(key) if part == "weight" else None
            return (named[1], _OF_ADAPTER[named[2]]) if named else (key[: match.start()], part)
    return None


def modules(keys: Iterable[str]) -> dict[str, dict[str, str]]:
    """The keys of a file by module and part; keys that are not part of a network are left out."""
    found: dict[str, dict[str, str]] = {}
    for key in keys:
        if parted := _parted(key):
            found.setdefault(parted[0], {})[parted[1]] = key
    return found


def layout_of(parts: Mapping[str, str], dimensions: Mapping[str, int]) -> str | None:
    """The layout that the parts of a module have; `dimensions` maps keys to numbers of dimensions. None when unknown."""
    for name, layout in LAYOUTS.items():
        own = layout.parts & parts.keys()
        signs = layout.signs or own
        sizes = all(dimensions[parts[part]] == size for part, size in layout.sizes.items() if part in parts)
        if own and sizes and all(sign in parts for sign in signs):
            return name
    return None
