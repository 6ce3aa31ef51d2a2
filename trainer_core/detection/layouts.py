"""How each algorithm's network stands in a file: the names of its parts, what is multiplied, and what starts at zero.

A network changes a weight by a sum of terms, each a product of factors, and starts with one factor of each term at zero.
So it has moved exactly when in some term no factor is all zeros, whichever of them was the one that started there.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

Pieces = tuple[str, ...]
"""One form of a factor: its part, or the two thin matrices whose product it is, (out, rank) and (rank, in)."""


@dataclass(frozen=True)
class Layout:
    """How the modules of one kind of network are known and judged.

    `terms` are those of the sum above, each with its factors: "w | a @ b" is a factor that is there as w, or as the
    product of two thin matrices. `additions` are parts that may be missing and that change a weight by themselves, `signs`
    parts that are always there and change nothing, `cores` the parts in the middle of products cut in three (Tucker), all
    there or none, with which the outer matrix is (rank, out) where `core_turns`. `flat`: convolutions are matrices here and cannot be
    told from linear layers. `sizes` are the numbers of dimensions that tell two layouts with the same parts apart.
    `start` says where it starts when that is not zero.
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
        """Every part that makes a module one of this layout."""
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
ALGORITHMS: Mapping[str, str] = {
    name: name for name in LAYOUTS if name not in ("norm", "oft_r", "oft_pieces")
} | dict.fromkeys(("locon", "dora", "dylora", "lora_fa"), "lora")
"""The layout of each algorithm of the catalogue. LoCon, DyLoRA and LoRA-FA are saved as plain LoRAs."""
BESIDE = "norm"
"""The layout of the norms that any algorithm may train too."""
DORA = "dora_scale"
"""The length of each weight, which DoRA adds to the modules of several algorithms."""

# How keys end that are not called after their part. Source: PEFT 0.21.2, utils/save_and_load.py; diffusers 0.42.1,
# utils/state_dict_utils.py; the oldest LoRAs of diffusers say to_k_lora.down.weight, later ones lora_linear_layer.
ENDINGS: Mapping[str, tuple[str, ...]] = {
    "up": (
        ".lora_up.weight", ".lora_B.weight", ".lora_B.default.weight", ".lora.up.weight", "_lora.up.weight",
        ".lora_linear_layer.up.weight",
    ),
    "down": (
        ".lora_down.weight", ".lora_A.weight", ".lora_A.default.weight", ".lora.down.weight", "_lora.down.weight",
        ".lora_linear_layer.down.weight",
    ),
    "lora_mid": (".lora_mid.weight",),
    DORA: (
        ".dora_scale", ".lora_magnitude_vector", ".lora_magnitude_vector.weight", ".lora_magnitude_vector.default.weight",
    ),
    "oft_blocks_0": (".oft_blocks.0",),
    "oft_R": (".oft_R.weight", ".oft_R.default.weight"),
    **{name: (f".{name}.weight",) for name in ("a1", "a2", "b1", "b2", "bm", "p_layer", "q_layer")},
}  # fmt: skip
_MARK = re.compile(r"\.|_lora\.")
# Source: XLabs-AI/x-flux src/flux/modules/layers.py, DoubleStreamBlockLoraProcessor: 1 is of the picture, 2 of the words.
_XLABS = re.compile(r"(.+)\.processor\.(qkv|proj)_lora([12])\.(up|down)\.weight")
_STREAMS = {"1": "img_attn", "2": "txt_attn"}


@functools.cache
def _part_of_ending() -> Mapping[str, str]:
    parts = {"alpha", DORA, "rescale"}.union(*(layout.parts for layout in LAYOUTS.values()))
    return {ending: part for part in parts for ending in ENDINGS.get(part, (f".{part}",))}


@functools.lru_cache(maxsize=20_000)
def _parted(key: str) -> tuple[str, str] | None:
    """The module and the part of a key. Kept: the files of one family share their names."""
    known = _part_of_ending()
    if "_lora" in key and (found := _XLABS.fullmatch(key)):
        return f"{found[1]}.{_STREAMS[found[3]]}.{found[2]}", found[4]
    # The longest ending that is known, of the four words that an ending has at most.
    for match in list(_MARK.finditer(key))[-4:]:
        part = known.get(key[match.start() :])
        if part and match.start():
            return key[: match.start()], part
    return None


def modules(keys: Iterable[str]) -> dict[str, dict[str, str]]:
    """The keys of a file by module and part; keys that are no part of any network are left out."""
    found: dict[str, dict[str, str]] = {}
    for key in keys:
        if parted := _parted(key):
            found.setdefault(parted[0], {})[parted[1]] = key
    return found


def layout_of(parts: Mapping[str, str], dimensions: Mapping[str, int]) -> str | None:
    """Which layout the parts of a module are of; `dimensions` are the numbers of sizes by key. None for no known one."""
    for name, layout in LAYOUTS.items():
        own = layout.parts & parts.keys()
        signs = layout.signs or own
        sizes = all(dimensions[parts[part]] == size for part, size in layout.sizes.items() if part in parts)
        if own and sizes and all(sign in parts for sign in signs):
            return name
    return None
