"""One layout of a family's models, as conditions that a header must meet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trainer_core.models.families.denoiser import Denoiser
from trainer_core.text import printable

LAYOUTS = ("ldm", "original", "comfyui", "diffusers", "pipeline")
"""The layouts of a family's models: the single file of latent-diffusion, that of the family's own code, that of ComfyUI
where it differs, one component with the keys of diffusers, or a diffusers folder of components."""


@dataclass(frozen=True)
class Signature:
    """The conditions that a model of one layout meets, all of them.

    `modules` are the first words of its keys: all of them are required, and only those in `may` are allowed in addition.
    `blocks` is the number of numbered parts of a module. `fewer` are those numbers of the whole model, for one from which
    blocks were removed: some module has fewer, and none has a gap. `beside` are whole keys of the other parts of a single file, such
    as its text encoders. `shapes` maps keys to sizes, with "*" for any. In a pipeline,
    `classes` are the pipeline classes, `configs` the required values in component configs, and `unset` dotted config keys
    that must be absent or null ("" before the dot is model_index.json, which writes a missing component as two nulls).

    `apart` says why models of this variant cannot be trained like the family; `prediction` is set where it differs from
    the family's; `proved` names the classes whose recorded headers match, "" where there are none.
    """

    layout: str
    variant: str = ""
    title: str = ""
    apart: str = ""
    prediction: str = ""
    proved: str = ""
    present: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    blocks: Mapping[str, int] = field(default_factory=dict)
    fewer: Mapping[str, int] = field(default_factory=dict)
    shapes: Mapping[str, Sequence[int | str]] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    unset: tuple[str, ...] = ()

    @property
    def is_pipeline(self) -> bool:
        """Whether it describes a diffusers folder."""
        return self.layout == "pipeline"

    def check(self, denoiser: Denoiser) -> Iterator[tuple[bool, str]]:
        """Whether each condition holds, with a sentence as evidence; the first condition is file or folder."""
        is_folder = denoiser.header.is_folder
        yield is_folder == self.is_pipeline, "a diffusers folder" if is_folder else "a single file"
        if self.is_pipeline:
            yield from self._check_folder(denoiser)
        yield from self._check_tensors(denoiser)

    def _check_tensors(self, denoiser: Denoiser) -> Iterator[tuple[bool, str]]:
        for key in self.present:
            found = denoiser.find(key)
            yield found is not None, f"has {key}" if found else f"lacks {key}"
        for key, wanted in self.shapes.items():
            fits = denoiser.fits(key, wanted)
            yield fits, _shape_sentence(denoiser, key, wanted, fits)
        for key in self.absent:
            found = denoiser.find(key)
            yield found is None, f"has {key}" if found else f"lacks {key}"
        for key in self.beside:
            is_there = key in denoiser.header.tensors
            yield is_there, f"{'has' if is_there else 'lacks'} {key}"
        for name, wanted in self.blocks.items():
            count = denoiser.blocks.get(name, 0)
            yield count == wanted, f"{name} has {count} blocks" + (f", not {wanted}" if count != wanted else "")
        if self.fewer:
            yield self._lacks_blocks(denoiser)
        if self.modules or self.may:
            lacking = [name for name in self.modules if name not in denoiser.modules]
            yield not lacking, f"lacks {', '.join(lacking[:3])}" if lacking else "has all its modules"
            others = sorted(denoiser.modules.difference(self.modules, self.may))
            more = f" and {len(others) - 3} more" if len(others) > 3 else ""
            shown = ", ".join(printable(name, 60) for name in others[:3])
            yield not others, f"also has {shown}{more}" if others else "has no other modules"

    def _lacks_blocks(self, denoiser: Denoiser) -> tuple[bool, str]:
        counts = {name: denoiser.blocks.get(name, 0) for name in self.fewer}
        holds = all(
            0 < count <= self.fewer[name] and denoiser.last[name] == count - 1 for name, count in counts.items()
        )
        shown = " and ".join(f"{count} of {self.fewer[name]} {name}" for name, count in counts.items())
        return holds and counts != dict(self.fewer), f"has {shown}"

    def _check_folder(self, denoiser: Denoiser) -> Iterator[tuple[bool, str]]:
        configs = denoiser.header.configs
        name = _shown(configs.get("", {}).get("_class_name"))
        yield name in self.classes, f"its pipeline is {name}"
        for component, values in self.configs.items():
            for key, wanted in values.items():
                found = configs.get(component, {}).get(key)
                yield found == wanted, f"{component or 'it'} has {key} {_shown(found)}"
        for dotted in self.unset:
            component, _, key = dotted.partition(".")
            found = configs.get(component, {}).get(key)
            is_unset = found is None or found == [None, None]
            yield is_unset, f"{component or 'it'} has {key} {'unset' if is_unset else _shown(found)}"


def _shape_sentence(denoiser: Denoiser, key: str, wanted: Sequence[int | str], fits: bool) -> str:
    found = denoiser.find(key)
    if found is None:
        return f"lacks {key}"
    sentence = f"{key} is {_by(found.shape)}"
    return sentence if fits else f"{sentence}, not {_by(wanted)}"


def _shown(value: Any) -> str:
    """A value from a config as text; nested lists and tables are not spelt out."""
    if isinstance(value, list):
        return ", ".join(_shown(item) for item in value[:4] if not isinstance(item, list)) or "a list"
    return "a table" if isinstance(value, dict) else printable(str(value), 80)


def _by(sizes: Sequence[int | str]) -> str:
    return "x".join(str(size) for size in sizes) or "a scalar"
