"""Checks a trained network: its algorithm, rank and alpha, that it is complete and finite, and that it has changed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_core import catalog
from trainer_core.models import header
from trainer_core.models.detection import layouts
from trainer_core.models.detection.layouts import ALGORITHMS, DORA, LAYOUTS, NORM, Layout
from trainer_core.models.header import Header
from trainer_core.text import printable
from trainer_core.training.acceptance import values
from trainer_core.training.acceptance.result import Acceptance, number, section, some
from trainer_core.training.acceptance.values import Content, Stored


@dataclass(frozen=True)
class Module:
    """The part of a network for one layer: its layout's id, and the keys and shapes of its tensors by part."""

    name: str
    layout: str
    keys: Mapping[str, str]
    shapes: Mapping[str, tuple[int, ...]]

    @property
    def is_convolution(self) -> bool:
        """Whether a part has a kernel larger than 1."""
        return any(math.prod(shape[2:]) > 1 for part, shape in self.shapes.items() if part not in LAYOUTS["oft"].parts)

    @property
    def is_whole(self) -> bool:
        """Whether it has each factor exactly once, and either all cores or none."""
        layout = LAYOUTS[self.layout]
        cores = [core in self.keys for core in layout.cores]
        factors = (factor for term in layout.terms for factor in term)
        return all(self.form(factor) for factor in factors) and (all(cores) or not any(cores))

    def form(self, factor: str) -> tuple[str, ...] | None:
        """The pieces that make up a factor; None unless exactly one of its forms is complete."""
        there = [form for form in layouts.forms(factor) if any(piece in self.keys for piece in form)]
        whole = [form for form in there if all(piece in self.keys for piece in form)]
        return whole[0] if len(there) == len(whole) == 1 else None

    def ranks(self) -> set[int | None]:
        """The ranks of its products; None stands for a product whose matrices do not match."""
        layout = LAYOUTS[self.layout]
        side = 0 if layout.core_turns and any(core in self.keys for core in layout.cores) else 1
        found: set[int | None] = set()
        for factor in (factor for term in layout.terms for factor in term):
            pieces = self.form(factor)
            if pieces and len(pieces) == 2:
                outer, inner = self.shapes[pieces[0]], self.shapes[pieces[1]]
                found.add(inner[0] if outer[side : side + 1] == inner[:1] and min(len(outer), len(inner)) > 1 else None)
        return found


def judge(path: Path, plan: Mapping[str, Any]) -> Acceptance:
    """Whether a file is the network that a plan asks for.

    Raises:
        HeaderError: it is not a complete safetensors file.
        OSError: it cannot be read.
    """
    found = header.read_file(path)
    tensors = values.stored(found)
    contents = {key: values.content(tensor) for key, tensor in tensors.items()}
    settings = section(plan, "network")
    algorithm = str(settings.get("algorithm", "lora"))
    modules = _modules(found)
    own = [module for module in modules if module.layout != NORM]
    alphas = {module.name: _alpha(module, tensors, found.metadata) for module in own}
    known = ALGORITHMS.get(algorithm)
    reasons = []
    if known is not None:
        wanted = _Wanted(settings, algorithm)
        fitting = [module for module in own if module.layout == known]
        reasons += [*_of_another_kind(own, algorithm, known), *_not_whole(modules)]
        reasons += [*_without_dora(own, found, wanted), *_sizes(fitting, alphas, wanted)]
    moved, sentences, notes = _learnt(modules, contents, algorithm)
    reasons += [*values.not_finite(contents), *sentences]
    ranked = [(module, rank) for module in own for rank in module.ranks() if rank is not None]
    shown = min(ranked, key=lambda pair: pair[0].is_convolution, default=None)
    return Acceptance(
        ok=not reasons,
        reasons=tuple(reasons),
        rank=shown[1] if shown else None,
        alpha=alphas[shown[0].name] if shown else None,
        tensors=len(found.tensors),
        modules=len(modules),
        moved=moved,
        size_bytes=path.stat().st_size,
        notes=notes,
    )


def title(algorithm: str) -> str:
    """The name of an algorithm's network in a sentence."""
    entry = catalog.algorithms().get(algorithm)
    name = entry.title if entry else printable(algorithm, 40)
    return LAYOUTS["full"].title if algorithm == "full" else name


def is_lora(algorithm: str) -> bool:
    """Whether the file that an algorithm makes is a LoRA, however it was trained."""
    return ALGORITHMS.get(algorithm) == "lora"


class _Wanted:
    """What a plan asks for: whether it is a DoRA, and the ranks and alphas that its modules may have."""

    def __init__(self, settings: Mapping[str, Any], algorithm: str) -> None:
        entry = catalog.algorithms().get(algorithm)
        # A setting that the algorithm does not read may be left over from another one.
        read = {name: settings.get(name) for name in (entry.settings if entry else ())}
        self.linear = (number(settings.get("rank")), number(settings.get("alpha")))
        rank, alpha = number(read.get("conv_rank")), number(read.get("conv_alpha"))
        self.convolution = (self.linear[0] if rank is None else rank, self.linear[1] if alpha is None else alpha)
        self.is_dora = algorithm == "dora" or bool(read.get("weight_decompose"))
        self._stabilized = bool(read.get("rank_stabilized"))

    def sizes(self, module: Module) -> list[tuple[float | None, float | None]]:
        """The pairs of rank and alpha that a module may have; None if the plan does not set them."""
        if module.is_convolution:
            return [self.convolution]
        return [self.linear, self.convolution] if LAYOUTS[module.layout].flat else [self.linear]

    def alphas(self, rank: float | None, alpha: float) -> list[float]:
        """The values that may be saved as alpha.

        For a rank-stabilised module LyCORIS saves the alpha that gives the same scale without rank stabilisation.
        Source: lycoris-lora 4.1.3, modules/locon.py, loha.py and lokr.py: alpha * rank / sqrt(rank); glora.py: alpha.
        """
        return [alpha, alpha * math.sqrt(rank)] if self._stabilized and rank else [alpha]


def _modules(found: Header) -> list[Module]:
    """The modules of every known layout, by name."""
    result = []
    for name, keys in sorted(layouts.modules(found.tensors).items()):
        shapes = {part: found.tensors[key].shape for part, key in keys.items()}
        layout = layouts.layout_of(keys, {key: len(shapes[part]) for part, key in keys.items()})
        if layout is not None:
            result.append(Module(name, layout, keys, shapes))
    return result


def _of_another_kind(own: list[Module], algorithm: str, layout: str) -> list[str]:
    wanted = title(algorithm)
    if not own:
        return [f"The file contains no {wanted} modules."]
    others = [module for module in own if module.layout != layout]
    if not others:
        return []
    return [f"It is {LAYOUTS[others[0].layout].title}, not {wanted}, in {some([module.name for module in others])}."]


def _not_whole(modules: list[Module]) -> list[str]:
    partial = [module.name for module in modules if not module.is_whole]
    return [f"Tensors are missing or occur twice in {some(partial)}."] if partial else []


def _without_dora(own: list[Module], found: Header, wanted: _Wanted) -> list[str]:
    if not wanted.is_dora or not own or any(DORA in module.keys for module in own):
        return []
    apart = [name for name, keys in layouts.modules(found.tensors).items() if set(keys) == {DORA}]
    lacking = f"they have other module names: {some(apart)}" if apart else "the file does not contain any"
    return [f"It is not a DoRA: its modules have no magnitudes (dora_scale); {lacking}."]


def _sizes(own: list[Module], alphas: Mapping[str, float | None], wanted: _Wanted) -> list[str]:
    """The reasons about ranks and alphas that differ from the plan."""
    ranks: dict[str, str] = {}
    scales: dict[str, str] = {}
    for module in own:
        found = module.ranks()
        if not found:
            continue
        allowed = wanted.sizes(module)
        rank = found.copy().pop() if len(found) == 1 else None
        fitting = [(want, alpha) for want, alpha in allowed if want is None or want == rank]
        if rank is None or not fitting:
            ranks[module.name] = f"{rank or 'not the same in all factors'}, not {allowed[0][0]:g}"
            fitting = allowed
        alpha = alphas[module.name]
        right = [each for want, one in fitting if one is not None for each in wanted.alphas(want, one)]
        if right and not any(alpha is not None and math.isclose(alpha, each, rel_tol=1e-2) for each in right):
            scales[module.name] = f"{'not readable' if alpha is None else f'{alpha:g}'}, not {right[0]:g}"
    reasons = []
    if ranks:
        reasons.append(f"The rank is {next(iter(ranks.values()))}, in {some(list(ranks))}.")
    if scales:
        reasons.append(f"Alpha is {next(iter(scales.values()))}, in {some(list(scales))}.")
    return reasons


def _moved(module: Module, contents: Mapping[str, Content]) -> bool:
    """Whether a module changes its weight at all; see `layouts`."""
    layout = LAYOUTS[module.layout]

    def has_values(part: str) -> bool:
        return part in module.keys and contents[module.keys[part]].has_values

    def is_there(factor: str) -> bool:
        return any(all(has_values(piece) for piece in form) for form in layouts.forms(factor))

    return any(all(is_there(factor) for factor in term) for term in layout.terms) or any(
        has_values(part) for part in layout.additions
    )


def _learnt(
    modules: list[Module], contents: Mapping[str, Content], algorithm: str
) -> tuple[int | None, list[str], tuple[str, ...]]:
    """How many modules have changed, the reason if none has, and notes about what is not known."""
    known = ALGORITHMS.get(algorithm)
    if known is None:
        note = f"Easel does not know the file format of {title(algorithm)}, so it checked only the values."
        empty = not any(content.has_values for content in contents.values())
        return None, ["All values in the file are zero."] if empty else [], (note,)
    if start := LAYOUTS[known].start:
        return None, [], (f"It is not known whether it has learnt anything: {start}.",)
    moved = sum(_moved(module, contents) for module in modules)
    sentence = (
        f"The {title(algorithm)} has learnt nothing: the weights that start at zero are still zero in every module."
    )
    return moved, [sentence] if modules and not moved else [], ()


def _alpha(module: Module, tensors: Mapping[str, Stored], metadata: Mapping[str, str]) -> float | None:
    """Alpha of a module: from its tensor, else from the metadata, else the rank, as every loader assumes."""
    layout: Layout = LAYOUTS[module.layout]
    if not layout.has_rank:
        return None
    if "alpha" in module.keys:
        return values.scalar(tensors[module.keys["alpha"]])
    noted = _noted_alpha(metadata)
    if noted is not None:
        return noted
    rank = next(iter(module.ranks()), None)
    return None if rank is None else float(rank)


def _noted_alpha(metadata: Mapping[str, str]) -> float | None:
    """Alpha from the metadata that diffusers and kohya write; None if there is none, or more than one."""
    if "lora_adapter_metadata" in metadata:
        try:
            notes: Any = json.loads(metadata["lora_adapter_metadata"])
        except (ValueError, RecursionError):
            return None
        values = {number(value) for key, value in _items(notes) if key.rpartition(".")[2] == "lora_alpha"}
        return values.pop() if len(values) == 1 else None
    return number(metadata.get("ss_network_alpha"))


def _items(notes: Any) -> list[tuple[str, Any]]:
    return list(notes.items()) if isinstance(notes, dict) else []
