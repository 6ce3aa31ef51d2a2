"""Checks a trained embedding: number and width of its vectors, that they are finite, and that they have changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trainer_core import places
from trainer_core.errors import EaselError
from trainer_core.models import header
from trainer_core.training.acceptance import values
from trainer_core.training.acceptance.result import Acceptance, number, section, some
from trainer_core.training.acceptance.values import Stored

# The tensors of an embedding and the widths of their vectors.
# Source: sd-scripts, train_textual_inversion.py and sdxl_train_textual_inversion.py, save_weights; the widths are those
# of CLIP-L, OpenCLIP ViT-H and OpenCLIP ViT-bigG.
LAYOUTS: Mapping[str, Mapping[str, int]] = {
    "sd15": {"emb_params": 768},
    "sd2": {"emb_params": 1024},
    "sdxl": {"clip_l": 768, "clip_g": 1280},
}
WORDS = "token_embedding.weight"
"""The end of the names of the tensors with a text encoder's token embeddings: one vector for each token."""


def judge(path: Path, plan: Mapping[str, Any]) -> Acceptance:
    """Whether a file is the embedding that a plan asks for.

    Raises:
        HeaderError: it is not a complete safetensors file.
        OSError: it cannot be read.
    """
    found = header.read_file(path)
    tensors = values.stored(found)
    contents = {key: values.content(tensor) for key, tensor in tensors.items()}
    reasons = _layout(tensors, plan) + values.not_finite(contents)
    empty = [key for key, each in contents.items() if not each.has_values]
    if empty:
        reasons.append(f"All values are zero in {some(empty)}.")
    learnt: dict[str, Any] = {"modules": 0, "moved": None}
    notes: list[str] = []
    if not reasons:
        vectors = {key: np.concatenate(list(values.rows(tensor))) for key, tensor in tensors.items()}
        moved, reasons, notes = _learnt(vectors, tensors, plan)
        learnt = {"modules": min(len(each) for each in vectors.values()), "moved": moved}
    return Acceptance(
        ok=not reasons,
        reasons=tuple(reasons),
        tensors=len(tensors),
        size_bytes=path.stat().st_size,
        kind="embedding",
        notes=tuple(notes),
        **learnt,
    )


def _layout(tensors: Mapping[str, Stored], plan: Mapping[str, Any]) -> list[str]:
    """The reasons why the tensors are not those of an embedding for the family."""
    family = LAYOUTS.get(str(section(plan, "model").get("family", "")))
    known = [family] if family else list(LAYOUTS.values())
    names = " and ".join(known[0]) if family else "any known family"
    if not any(tensors.keys() == layout.keys() for layout in known):
        return [f"The file is not an embedding for {names}: it contains {some(sorted(tensors))}."]
    wanted = number(section(plan, "embedding").get("vectors"))
    reasons = []
    for key, tensor in tensors.items():
        shape = tensor.info.shape
        if len(shape) != 2 or tensor.info.dtype not in values.PRECISION or 0 in shape:
            reasons.append(f"{key} contains no vectors.")
            continue
        if wanted is not None and shape[0] != wanted:
            reasons.append(f"{key} contains {shape[0]} vectors, not {wanted:g}.")
        widths = sorted({layout[key] for layout in known if key in layout})
        if shape[1] not in widths:
            reasons.append(f"The vectors of {key} have {shape[1]} values, not {' or '.join(map(str, widths))}.")
    return reasons


def _learnt(
    vectors: Mapping[str, Any], tensors: Mapping[str, Stored], plan: Mapping[str, Any]
) -> tuple[int | None, list[str], list[str]]:
    """How many vectors differ from the token they started as, the reason if none does, and notes about what is not known.

    Each vector starts as a token of the base model, so it has changed if it equals none of them. Without an initial word
    the vectors start with random values.
    """
    same = [key for key, each in vectors.items() if len(each) > 1 and (each == each[0]).all()]
    if same:
        return 0, [f"The embedding has learnt nothing: all vectors are the same in {some(same)}, as at the start."], []
    if not section(plan, "embedding").get("init_word"):
        return None, [], ["It is not known whether the embedding has learnt anything, because it started at random."]
    try:
        base = values.stored(header.read(places.typed(str(section(plan, "model").get("path", "")))))
        words = [tensor for key, tensor in base.items() if key.endswith(WORDS)]
        moved = [_moved(vectors[key], tensors[key], words) for key in vectors]
    except (EaselError, OSError) as error:
        return None, [], [f"It was not compared with the base model, because that cannot be read: {error}"]
    if None in moved:
        return None, [], ["It was not compared with the base model, because that has no token embeddings that fit."]
    least = min(count for count in moved if count is not None)
    sentence = "The embedding has learnt nothing: its vectors are those of tokens of the base model."
    return least, [] if least else [sentence], []


def _moved(vectors: Any, own: Stored, words: list[Stored]) -> int | None:
    """How many of the vectors (vectors, width) are not among the tokens of any text encoder with that width."""
    fitting = [each for each in words if len(each.info.shape) == 2 and each.info.shape[1] == vectors.shape[1]]
    if not fitting:
        return None
    unmoved: set[int] = set()
    for table in fitting:
        share = max(values.PRECISION.get(each.info.dtype, 0.0) for each in (own, table))
        for some_words in values.rows(table):
            unmoved |= _among(vectors, some_words, share)
    return len(vectors) - len(unmoved)


def _among(vectors: Any, words: Any, share: float) -> set[int]:
    """The indices of the vectors that equal one of the words, apart from rounding."""
    result = set()
    for index, vector in enumerate(vectors):
        near = np.flatnonzero(np.abs(words[:, 0] - vector[0]) <= share * np.abs(vector[0]) + values.SMALLEST)
        close = np.abs(words[near] - vector) <= share * np.abs(vector) + values.SMALLEST
        if close.all(axis=1).any():
            result.add(index)
    return result
