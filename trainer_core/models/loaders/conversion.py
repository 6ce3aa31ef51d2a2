"""Other names and explicit alphas for a network that a program would not load, or would apply with another strength.

The matrices stay as they are, bit by bit: only names change, and single numbers for alpha are added. A name changes only
within a naming (that of the original code, or that of diffusers), because layers that one of them joins would have to be cut.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trainer_core.models import loaders
from trainer_core.models.detection.layouts import DORA
from trainer_core.models.header import Header, TensorInfo
from trainer_core.models.loaders import COMFYUI, DIFFUSERS, PEFT, Answer, Module, table
from trainer_core.models.renaming import Piece

UP_DOWN = {
    "up": ".lora_up.weight",
    "down": ".lora_down.weight",
    "lora_mid": ".lora_mid.weight",
    "alpha": ".alpha",
    DORA: ".dora_scale",
}
A_B = {"up": ".lora_B.weight", "down": ".lora_A.weight", "alpha": ".alpha", DORA: ".dora_scale"}
SCORES = {"yes": 3, "partly": 1, "not known": 0, "no": 0}


@dataclass(frozen=True)
class Changed:
    """Another form of a file: its tensors, sentences about what changed, and the metadata keys that are no longer right."""

    pieces: list[Piece]
    sentences: tuple[str, ...]
    outdated: tuple[str, ...] = ()


def improved(header: Header, family: str, alpha: float | None = None) -> Changed | None:
    """The form of a network that most programs load with the right strength; None if the file has it already, or none is known.

    `alpha` is the alpha it was trained with, for a file that states none. ComfyUI counts more than diffusers, because diffusers
    reads alpha in more places.
    """
    found = loaders.modules(header, family) if family in table.families() else []
    if not found:
        return None
    alphas = {module.name: _alpha(module, header, alpha) for module in found}
    best: tuple[int, Changed] | None = None
    now = _score(loaders.judge(header, family), _is_explicit(found, alphas, header))
    for pieces, is_renamed, is_added, outdated in _candidates(found, header, alphas, family):
        other = as_header(header, pieces, outdated)
        answers = loaders.judge(other, family)
        score = _score(answers, explicit=True)
        if score > now and (best is None or score > best[0]):
            best = score, Changed(pieces, _sentences(is_renamed, is_added, answers), outdated)
    return best[1] if best else None


def _candidates(
    found: list[Module], header: Header, alphas: Mapping[str, float | None], family: str
) -> Iterator[tuple[list[Piece], bool, bool, tuple[str, ...]]]:
    """Possible files: the same names with alpha added, and each other form of names. Only what is known is written."""
    if any(value is None for value in alphas.values()):
        return
    lacks = any("alpha" not in module.keys and module.layout == "lora" for module in found)
    outdated = (PEFT,) if PEFT in header.metadata else ()
    if lacks or outdated:
        yield _pieces(found, header, alphas, {}), False, lacks, outdated
    if all(module.place for module in found):
        for code in dict.fromkeys(form.code for side in table.DENOISER for form in table.forms(family, side)):
            names = _renamed(found, family, code)
            if names:
                yield _pieces(found, header, alphas, names), True, lacks, outdated


def _renamed(found: list[Module], family: str, code: str) -> dict[str, str]:
    """The new names of all tensors with another form of the denoiser's names; {} if they already have it or it is not possible."""
    family_forms: dict[str, str] = {}
    for module in found:
        place = module.place
        assert place
        if place.naming not in table.DENOISER:
            new = _text_name(place, code)
        else:
            form = next((each for each in table.forms(family, place.naming) if each.code == code), None)
            new = form.name(place.layer) if form else ""
        ends = _endings(module, code)
        if not new or not set(module.keys) <= set(ends):
            return {}
        family_forms |= {key: new + ends[part] for part, key in module.keys.items()}
        family_forms[f"{module.name}.alpha"] = f"{new}.alpha"
    return family_forms if any(key != name for key, name in family_forms.items()) else {}


def _endings(module: Module, code: str) -> Mapping[str, str]:
    """The endings of a layer's tensors in a form of names, by part: those of a LoRA depend on it, those of others stay."""
    if module.layout == "lora":
        return UP_DOWN if code in ("k", "l", "t", table.OWN) else A_B
    return {part: key[len(module.name) :] for part, key in module.keys.items()}


def _text_name(place: table.Place, code: str) -> str:
    """The name of a text encoder's layer that belongs to a form of the denoiser's names; "" if there is none."""
    known = {
        ("clip_l", "k"): "1" if place.form.code == "1" else "k",
        ("clip_g", "k"): "2",
        ("clip_l", "p"): "p",
        ("clip_g", "p"): "q",
    }.get((place.naming, code))
    if place.form.code == known:
        return place.form.name(place.layer)
    texts = table.table()["text_forms"]
    return table.Form(known, *texts[known]).name(place.layer) if known else ""


def _pieces(
    found: list[Module], header: Header, alphas: Mapping[str, float | None], names: Mapping[str, str]
) -> list[Piece]:
    """The tensors of the new file, the added numbers first: they are of four bytes, so that all others stay aligned."""
    added = []
    for module in found:
        value = alphas[module.name]
        if "alpha" not in module.keys and module.layout == "lora" and value is not None:
            name = f"{module.name}.alpha"
            added.append(Piece(names.get(name, name), "F32", (), 0, 4, content=struct.pack("<f", value)))
    ordered = sorted(header.tensors.items(), key=lambda row: row[1].start_bytes)
    kept = [
        Piece(names.get(key, key), info.dtype, info.shape, info.start_bytes, info.size_bytes) for key, info in ordered
    ]
    return [*added, *kept]


def _alpha(module: Module, header: Header, trained: float | None) -> float | None:
    """The alpha of a layer in the way every program reads a tensor: alpha / rank is the scale. None if it is not known exactly.

    PEFT's metadata counts more than the plan, because an engine may have rounded the plan's. 0 stands for a tensor that the
    file has already, and for a network of another kind than LoRA, to which none is added.
    """
    if "alpha" in module.keys or module.layout != "lora":
        return 0.0
    rank = float(header.tensors[module.keys["down"]].shape[0]) if "down" in module.keys else None
    if rank is None:
        return None
    if PEFT in header.metadata:
        scale, is_same = loaders.scales(header)
        return scale * rank if scale is not None and is_same else _of_pattern(module, header, rank)
    return trained if trained is not None else None


def _of_pattern(module: Module, header: Header, rank: float) -> float | None:
    """The alpha of a layer in metadata that states other ranks or alphas for some layers."""
    try:
        stated: Any = json.loads(header.metadata[PEFT])
    except (ValueError, RecursionError):
        return None
    if not isinstance(stated, dict) or not module.place or not module.place.form.prefix.endswith("."):
        return None
    prefix = module.place.form.prefix
    own = {key.removeprefix(prefix): value for key, value in stated.items() if key.startswith(prefix)}
    patterns = own.get("alpha_pattern") or {}
    value = patterns.get(module.place.layer, own.get("lora_alpha")) if isinstance(patterns, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value * math.sqrt(rank) if own.get("use_rslora") is True else float(value)


def _is_explicit(found: list[Module], alphas: Mapping[str, float | None], header: Header) -> bool:
    """Whether the file itself says how strong each layer is, or leaves out only what every program assumes (alpha = rank)."""
    for module in found:
        if "alpha" in module.keys or PEFT in header.metadata or module.layout != "lora":
            continue
        value, rank = alphas[module.name], header.tensors[module.keys["down"]].shape[0] if "down" in module.keys else 0
        if value is not None and not math.isclose(value, rank):
            return False
    return True


def _score(answers: list[Answer], explicit: bool) -> int:
    """How good a form is: loading in ComfyUI counts most, then in diffusers. A form without the right strength is the worst."""
    if not explicit:
        return -1
    by_program = {answer.program: SCORES[answer.loads] for answer in answers}
    return 10 * by_program.get(COMFYUI, 0) + by_program.get(DIFFUSERS, 0)


def as_header(header: Header, pieces: list[Piece], outdated: tuple[str, ...]) -> Header:
    """The header of the changed file."""
    tensors = {piece.name: TensorInfo(piece.dtype, piece.shape) for piece in pieces}
    metadata = {key: value for key, value in header.metadata.items() if key not in outdated}
    return Header(header.path, tensors, metadata, header.format)


def _sentences(is_renamed: bool, is_added: bool, answers: list[Answer]) -> tuple[str, ...]:
    readers = " and ".join(answer.program for answer in answers if answer.loads == "yes") or "other programs"
    told = []
    if is_renamed:
        told.append(
            f"Easel renamed the tensors so that {readers} can load the file; the weights are the same, bit by bit."
        )
    if is_added:
        told.append(f"Easel added alpha to each layer so that {readers} can apply the network with the right strength.")
    if not told:
        told.append(
            f"Easel removed a second note of alpha from the metadata, because of which {DIFFUSERS} refuses the file."
        )
    return (*told, "The engine's own file stays in the run folder.")
