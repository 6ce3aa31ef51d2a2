"""Detects LoRAs and similar networks: the algorithm, the rank, and the family they were made for."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping

from trainer_core.models.detection import bases, layouts, prediction
from trainer_core.models.detection.layouts import DORA, NORM
from trainer_core.models.detection.result import Detection
from trainer_core.models.families import load_families
from trainer_core.models.header import Header
from trainer_core.text import printable

# The matrices next to the input, whose first size is the rank.
RANKED = ("down", "hada_w1_b", "lokr_w2_b", "lokr_w1_b", "b2", "q_layer")
TITLES = {"locon": "LoRA with convolutions (LoCon)", "dora": "DoRA"}
EMBEDDINGS = "bundle_emb."
"""The prefix of embeddings bundled with a LoRA. Source: AUTOMATIC1111 extensions-builtin/Lora/networks.py."""

Shapes = Mapping[str, tuple[int, ...]]
"""The sizes of the parts of one module, by part."""


def detect(header: Header) -> Detection | None:
    """The LoRA with this header; None for anything else, including a model that contains a few LoRA keys."""
    if header.is_folder:
        return None
    found = _modules(header)
    own = sum(len(parts) for _, parts in found.values())
    bundled = sum(key.startswith(EMBEDDINGS) for key in header.tensors)
    if not own or 2 * (own + bundled) < len(header.tensors):
        return None
    layers = [bases.layer(module, *_sizes(shapes)) for module, (_, shapes) in found.items()]
    trained = [layer for layer in layers if not bases.is_text(layer)] or layers
    base, reasons = bases.base_of(trained, header.metadata)
    algorithm = _algorithm(found)
    rank, alpha = _rank(found), _alpha(header.metadata)
    first = next(iter(found))
    names = bases.writer(first)
    title = TITLES.get(algorithm) or layouts.LAYOUTS[algorithm].title
    evidence = (
        f"changes {len(found)} layers; the first is {printable(first, 120)}",
        f"its type is {title}{f', rank {rank}' if rank else ''}{f', named like files of {names}' if names else ''}",
        *reasons,
        *(("also contains embeddings",) if bundled else ()),
    )
    predicts = prediction.of_network(load_families().get(base or ""), header.metadata)
    return Detection(
        None,
        "lora",
        algorithm,
        predicts.prediction,
        evidence=(*evidence, *predicts.evidence),
        rank=rank,
        alpha=alpha,
        base_family=base,
        is_prediction_certain=predicts.is_certain,
        zero_terminal_snr=predicts.zero_terminal_snr,
    )


def _modules(header: Header) -> dict[str, tuple[str, Shapes]]:
    """The network modules in a header, with the layout of each and the sizes of its parts."""
    found: dict[str, tuple[str, Shapes]] = {}
    asked: dict[tuple[tuple[str, int], ...], str | None] = {}
    for name, parts in layouts.modules(header.tensors).items():
        shapes = {part: header.tensors[key].shape for part, key in parts.items()}
        # Hundreds of modules have the same parts: each combination is looked up once.
        kind = tuple([(part, len(shape)) for part, shape in shapes.items()])
        if kind not in asked:
            asked[kind] = layouts.layout_of(parts, {key: len(shapes[part]) for part, key in parts.items()})
        layout = asked[kind]
        # A module with only magnitudes is a DoRA whose other parts were renamed. Source: SimpleTuner's ComfyUI format for SD.
        if layout or DORA in parts:
            found[name] = (layout or DORA, shapes)
    return found


def _algorithm(found: Mapping[str, tuple[str, Shapes]]) -> str:
    """The algorithm of most modules. LoRAs with convolutions are "locon", LoRAs with magnitudes "dora"."""
    counted = Counter(layout for layout, _ in found.values() if layout not in (NORM, DORA))
    algorithm = counted.most_common(1)[0][0] if counted else "full"
    if algorithm in ("oft_r", "oft_pieces"):
        return "oft"
    if algorithm != "lora":
        return algorithm
    if any(DORA in shapes for _, shapes in found.values()):
        return "dora"
    has_kernels = any(
        "lora_mid" in shapes or math.prod(shapes.get("down", ())[2:]) > 1
        for layout, shapes in found.values()
        if layout == "lora"
    )
    return "locon" if has_kernels else "lora"


def _rank(found: Mapping[str, tuple[str, Shapes]]) -> int | None:
    """The rank of most modules; None where there is none."""
    ranks: Counter[int] = Counter()
    for _, shapes in found.values():
        inner = next((shapes[part] for part in RANKED if shapes.get(part)), None)
        if inner:
            ranks[inner[0]] += 1
    return ranks.most_common(1)[0][0] if ranks else None


def _sizes(shapes: Shapes) -> tuple[int | None, int | None]:
    """The numbers of inputs and outputs of the changed layer; None for one that does not follow from the parts."""

    def size(part: str, axis: int) -> int | None:
        shape = shapes.get(part, ())
        return shape[axis] if len(shape) > axis else None

    if "down" in shapes or "up" in shapes:
        return size("down", 1), size("up", 0)
    if "hada_w1_a" in shapes:
        return size("hada_w1_b", 1), size("hada_w1_a", 1 if "hada_t1" in shapes else 0)
    if "b1" in shapes or "p_layer" in shapes:
        return size("b2", 1) or size("q_layer", 1), size("b1", 0) or size("p_layer", 0)
    if "diff" in shapes:
        return size("diff", 1), size("diff", 0)
    if "oft_blocks" in shapes:
        blocks = shapes["oft_blocks"][-3:-1]
        return None, math.prod(blocks) if len(blocks) == 2 else None
    outputs = _product(
        size("lokr_w1", 0) or size("lokr_w1_a", 0), _outer(shapes, size("lokr_w2_a", 1)) or size("lokr_w2_a", 0)
    )
    inputs = _product(size("lokr_w1", 1) or size("lokr_w1_b", 1), size("lokr_w2", 1) or size("lokr_w2_b", 1))
    return inputs, outputs


def _outer(shapes: Shapes, turned: int | None) -> int | None:
    """The outer size of LoKr's second matrix, for a full matrix or a Tucker product."""
    whole = shapes.get("lokr_w2")
    return whole[0] if whole else (turned if "lokr_t2" in shapes else None)


def _product(first: int | None, second: int | None) -> int | None:
    return first * second if first and second else None


def _alpha(metadata: Mapping[str, str]) -> float | None:
    """The alpha in the metadata of kohya or diffusers; None without it. The values of the tensors are not read."""
    noted = _number(metadata.get("ss_network_alpha"))
    if noted is not None:
        return noted
    try:
        # Source: diffusers loaders/lora_base.py, LORA_ADAPTER_METADATA_KEY: {"transformer.lora_alpha": 16, ...}.
        config = json.loads(metadata.get("lora_adapter_metadata", "null"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(config, dict):
        return None
    return next((_number(value) for key, value in config.items() if key.endswith("lora_alpha")), None)


def _number(value: object) -> float | None:
    try:
        number = float(value) if isinstance(value, str | int | float) else math.nan
    except (OverflowError, ValueError):
        return None
    return number if math.isfinite(number) else None
