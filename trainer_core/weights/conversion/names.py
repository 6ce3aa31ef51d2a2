"""Plans the renaming of a model's tensors to the names that engines read: those of the original code, without a needless prefix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from trainer_core import catalog
from trainer_core.errors import WeightsError
from trainer_core.models.families import load_families
from trainer_core.models.header.tensors import shown
from trainer_core.models.renaming import Form, building
from trainer_core.models.renaming.building import Built
from trainer_core.text import amount, printable
from trainer_core.weights.conversion.inputs import Input

# Source: sd-scripts library/model_util.py, sdxl_model_util.py and sd3_utils.py: their loaders take a denoiser only with this prefix; all
# other loaders take one without a prefix.
_PREFIXES: Mapping[str, str] = dict.fromkeys(("sd15", "sd2", "sdxl", "sd3"), "model.diffusion_model.")


class _Held(NamedTuple):
    """A part of a file: its kind, the prefix of its names, and the prefix that they get."""

    kind: str
    prefix: str
    new_prefix: str


def renamed(tensors: Mapping[str, Built], first: Input) -> tuple[dict[str, Built], list[str]]:
    """The tensors with the names that engines read, in their order, and sentences about what is renamed.

    Raises:
        WeightsError: Easel does not know the names, or they are these already.
        RenamingError: the tensors do not have the names that they seem to have.
    """
    names, made, notes = list(tensors), dict[str, Built](), []
    known = False
    for part in _held(first):
        own = {name: each for name, each in tensors.items() if name.startswith(part.prefix)}
        form = _form(part, own)
        if form is None:
            continue
        known, to = True, Form(_layout(part.kind), part.new_prefix)
        if form == to or building.steps(part.kind, form.layout, to.layout) is None:
            continue
        new = building.converted(part.kind, own, form, to)
        names = [name for name in names if name not in own]
        notes += _notes(part.kind, form, to, own, new)
        made |= new
    if not notes:
        raise WeightsError(
            f"No name would change: the tensors of {shown(first.path)} have the names of the original code already."
            if known
            else f"Easel does not know the tensor names of {shown(first.path)}.",
            "Leave the names as they are.",
        )
    return {name: tensors[name] for name in names} | made, notes


def _held(first: Input) -> Iterator[_Held]:
    found = first.found
    if found.role in ("vae", "text_encoder"):
        yield _Held(found.variant, found.prefix, "")
    elif found.family:
        is_alone = found.role == "diffusion_model"
        yield _Held(found.family, found.prefix, _PREFIXES.get(found.family, "") if is_alone else found.prefix)
        # The text encoders inside a checkpoint have names of their own, which its loaders expect.
        kinds = load_families()[found.family].parts_of(found.variant).get("vae", ())
        if "vae" in found.part_prefixes and len(kinds) == 1:
            yield _Held(kinds[0], found.part_prefixes["vae"], found.part_prefixes["vae"])


def _form(part: _Held, own: Mapping[str, Built]) -> Form | None:
    layout = building.layout_of(part.kind, {name.removeprefix(part.prefix) for name in own})
    return Form(layout, part.prefix) if layout else None


def _layout(kind: str) -> str:
    known = building.layouts(kind)
    return "transformers" if "transformers" in known else next(iter(known))


def _notes(kind: str, form: Form, to: Form, own: Mapping[str, Built], new: Mapping[str, Built]) -> Iterator[str]:
    changed = [name for name in new if name not in own]
    part, family = catalog.parts().get(kind), load_families().get(kind)
    title = part.title if part else family.title if family else kind
    first = next(iter(changed), "")
    before = new[first].parts[0].name if first else ""
    example = f", such as {printable(before, 120)}, which becomes {printable(first, 120)}" if first else ""
    yield f"{title}: {amount(len(changed), 'tensor')} of {len(new):,} are renamed to the original code's names{example}."
    if form.prefix != to.prefix:
        what = f"get the prefix {to.prefix}" if to.prefix else f"lose the prefix {printable(form.prefix, 60)}"
        yield f"All names {what}."
