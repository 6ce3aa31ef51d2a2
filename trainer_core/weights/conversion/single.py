"""Plans one file: from a folder in the diffusers layout, or from a model and parts that are put into it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from trainer_core.errors import WeightsError
from trainer_core.models.families import load_families
from trainer_core.models.header.tensors import shown
from trainer_core.models.renaming import Form, building
from trainer_core.models.renaming.building import Built
from trainer_core.weights.conversion import pipelines
from trainer_core.weights.conversion.inputs import Input
from trainer_core.weights.conversion.pipelines import Component, Pipeline

ZERO_SNR = "ztsnr"
PREDICTION = "modelspec.prediction_type"


@dataclass(frozen=True)
class Single:
    """The tensors of one file, tensors of no size that mark what it predicts, more metadata, and sentences for the user."""

    tensors: Mapping[str, Built]
    marks: tuple[str, ...] = ()
    metadata: Mapping[str, str] | None = None
    notes: tuple[str, ...] = ()


def of_folder(source: Input) -> Single:
    """A folder in the diffusers layout as one file.

    Raises:
        WeightsError: Easel makes no file of a folder of this family.
        RenamingError: its tensors do not have the names of their component.
    """
    pipeline = pipelines.of(source.found.family)
    made: dict[str, Built] = {}
    notes = []
    components = {name.partition("/")[0] for name in source.tensors}
    for part in pipeline.parts:
        if part.component in components:
            made |= _as_part(source.tensors, part, f"{part.component}/")
    known = {part.component for part in pipeline.parts}
    if others := sorted(components - known):
        notes.append(f"Left out, because a single file has no place for it: {', '.join(others)}.")
    marks, metadata = _marked(source)
    if marks:
        notes.append(
            f"The folder's scheduler says that the model predicts v, so the file gets {' and '.join(marks)}: the marks that other programs read."
        )
    return Single(made, marks, metadata, tuple(notes))


def joined(inputs: list[Input]) -> Single:
    """A model with parts put into it; a part takes the place of one that is there.

    Raises:
        WeightsError: the first file is no model that has such parts, or a file is none of its parts.
        RenamingError: a part has unknown names.
    """
    first, *others = inputs
    pipeline = pipelines.of(first.found.family)
    if first.is_folder:
        base = of_folder(first)
        tensors, notes = dict(base.tensors), list(base.notes)
    else:
        base = Single(first.tensors)
        tensors, notes = _with_prefix(first, pipeline), []
    taken: set[str] = set()
    for other in others:
        part = _place_of(other, pipeline)
        if part.component in taken:
            raise WeightsError(f"Two of the files are a {part.component}.", "Give each part once.")
        taken.add(part.component)
        prefixes = (part.prefix, *part.also)
        replaced = [name for name in tensors if name.startswith(prefixes)]
        tensors = {name: each for name, each in tensors.items() if not name.startswith(prefixes)}
        prefix = next((each for each in prefixes if any(name.startswith(each) for name in replaced)), part.prefix)
        tensors |= _as_part(other.tensors, replace(part, prefix=prefix), other.found.prefix)
        verb = f"takes the place of the {len(replaced)} tensors that were there" if replaced else "is put in"
        notes.append(f"{shown(other.path)} {verb}, as {prefix.rstrip('.')}.")
    return Single(tensors, base.marks, base.metadata, tuple(notes))


def form_in(tensors: Mapping[str, Built], part: Component, root: str) -> Form | None:
    """The form of the tensors of a component below a prefix; None if their names are unknown."""
    own = {name.removeprefix(root) for name in tensors if name.startswith(root)}
    layout = building.layout_of(part.kind, own)
    return Form(layout, root) if layout else None


def _as_part(tensors: Mapping[str, Built], part: Component, root: str) -> dict[str, Built]:
    """The tensors of a component as one file has them."""
    form = form_in(tensors, part, root)
    if form is None:
        raise WeightsError(
            f"The tensors of {part.component} have names that Easel does not know.",
            "Save the model again with a current version of diffusers or transformers.",
        )
    return building.converted(part.kind, tensors, form, Form(part.layout, part.prefix))


def _with_prefix(first: Input, pipeline: Pipeline) -> dict[str, Built]:
    """The tensors of a model file, those of a diffusion model alone with the prefix of one in a file with other parts."""
    part = pipeline.parts[0]
    if first.found.role == "checkpoint" or first.found.prefix == part.prefix:
        return dict(first.tensors)
    made = _as_part(first.tensors, part, first.found.prefix)
    used = {piece.name for each in made.values() for piece in each.parts}
    return made | {name: each for name, each in first.tensors.items() if name not in used}


def _place_of(other: Input, pipeline: Pipeline) -> Component:
    kind = other.found.variant if other.found.role in ("vae", "text_encoder") else ""
    part = next((part for part in pipeline.parts if part.kind == kind), None)
    if part is None:
        known = ", ".join(dict.fromkeys(part.kind for part in pipeline.parts[1:]))
        raise WeightsError(
            f"{shown(other.path)} is no part of this model: {'; '.join(other.found.evidence) or 'it is unknown'}.",
            f"Its parts are {known}. Name the model itself first.",
        )
    return part


def _marked(source: Input) -> tuple[tuple[str, ...], dict[str, str]]:
    """The marks for what a folder's scheduler says, and the metadata."""
    found = source.found
    if found.prediction != "v_prediction" or not found.is_prediction_certain or not found.family:
        return (), {}
    markers = load_families()[found.family].markers
    marks = [name for name, prediction in markers.items() if prediction == found.prediction]
    if found.zero_terminal_snr:
        marks.append(ZERO_SNR)
    return tuple(marks), {PREDICTION: "v"}
