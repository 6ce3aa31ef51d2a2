"""Whether a trained network is one: of the algorithm asked for, whole, of the asked rank and alpha, finite, and moved."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_core import catalog, header
from trainer_core.detection import layouts
from trainer_core.detection.layouts import ALGORITHMS, BESIDE, DORA, LAYOUTS, Layout
from trainer_core.header import Header
from trainer_core.runs.acceptance import values
from trainer_core.runs.acceptance.result import Acceptance, number, section, some
from trainer_core.runs.acceptance.values import Content, Stored
from trainer_core.text import printable


@dataclass(frozen=True)
class Module:
    """One layer's part of a network: its layout's id, the keys of its parts, and the shapes of those."""

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
        """Whether every factor is there once, and the cores all or not at all."""
        layout = LAYOUTS[self.layout]
        cores = [core in self.keys for core in layout.cores]
        factors = (factor for term in layout.terms for factor in term)
        return all(self.form(factor) for factor in factors) and (all(cores) or not any(cores))

    def form(self, factor: str) -> tuple[str, ...] | None:
        """The pieces a factor is there as; None when none of its forms is whole, or more than one."""
        there = [form for form in layouts.forms(factor) if any(piece in self.keys for piece in form)]
        whole = [form for form in there if all(piece in self.keys for piece in form)]
        return whole[0] if len(there) == len(whole) == 1 else None

    def ranks(self) -> set[int | None]:
        """The ranks of its products; None for one whose matrices do not fit each other."""
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
        HeaderError: it is no whole safetensors file.
        OSError: it cannot be read.
    """
    found = header.read_file(path)
    tensors = values.stored(found)
    contents = {key: values.content(tensor) for key, tensor in tensors.items()}
    settings = section(plan, "network")
    algorithm = str(settings.get("algorithm", "lora"))
    modules = _modules(found)
    own = [module for module in modules if module.layout != BESIDE]
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
    """What an algorithm's network is called inside a sentence."""
    entry = catalog.algorithms().get(algorithm)
    name = entry.title if entry else printable(algorithm, 40)
    return LAYOUTS["full"].title if algorithm == "full" else name


def is_lora(algorithm: str) -> bool:
    """Whether an algorithm's file is a LoRA, by whatever way it was trained."""
    return ALGORITHMS.get(algorithm) == "lora"


class _Wanted:
    """What a plan asks for: DoRA or not, and the ranks and alphas that its modules may have."""

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
        """The pairs of rank and alpha that a module may have; None where nothing was asked for."""
        if module.is_convolution:
            return [self.convolution]
        return [self.linear, self.convolution] if LAYOUTS[module.layout].flat else [self.linear]

    def alphas(self, rank: float | None, alpha: float) -> list[float]:
        """What may be saved as alpha.

        LyCORIS saves for a rank-stabilised module the alpha that gives its scale in the usual way.
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
        return [f"The file holds no {wanted} modules."]
    others = [module for module in own if module.layout != layout]
    if not others:
        return []
    return [f"It is {LAYOUTS[others[0].layout].title}, not {wanted}, in {some([module.name for module in others])}."]


def _not_whole(modules: list[Module]) -> list[str]:
    partial = [module.name for module in modules if not module.is_whole]
    return [f"Not all parts are there, once each, in {some(partial)}."] if partial else []


def _without_dora(own: list[Module], found: Header, wanted: _Wanted) -> list[str]:
    if not wanted.is_dora or not own or any(DORA in module.keys for module in own):
        return []
    apart = [name for name, keys in layouts.modules(found.tensors).items() if set(keys) == {DORA}]
    lacking = f"they stand apart, in {some(apart)}" if apart else "the file does not hold them"
    return [f"It is no DoRA: its modules have no lengths of weights; {lacking}."]


def _sizes(own: list[Module], alphas: Mapping[str, float | None], wanted: _Wanted) -> list[str]:
    """The sentences about ranks and alphas that are not those asked for."""
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
    """How many modules have moved, the sentence why that is too little, and what is not known about it."""
    known = ALGORITHMS.get(algorithm)
    if known is None:
        note = f"How {title(algorithm)} is saved is not known: only its values were looked at."
        empty = not any(content.has_values for content in contents.values())
        return None, ["All values in the file are zero."] if empty else [], (note,)
    if start := LAYOUTS[known].start:
        return None, [], (f"Whether it has learnt anything is not known: {start}.",)
    moved = sum(_moved(module, contents) for module in modules)
    sentence = f"The {title(algorithm)} has learnt nothing: what starts at zero is still zero in every module."
    return moved, [sentence] if modules and not moved else [], ()


def _alpha(module: Module, tensors: Mapping[str, Stored], metadata: Mapping[str, str]) -> float | None:
    """Alpha of a module: its tensor, else what the metadata says, else the rank, as every loader assumes."""
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
    """Alpha as diffusers and kohya note it in the metadata; None when they do not, or not as one number."""
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
