"""How the tensors of one model are called in another one of the same family: other prefixes, and lossless renamings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from trainer_core.errors import WeightsError
from trainer_core.models import renaming
from trainer_core.models.detection import TEXT_ENCODER_PREFIXES, VAE_PREFIXES, parts
from trainer_core.models.families.denoiser import MARKS, OTHERS, STRAYS
from trainer_core.models.header import Header, TensorInfo
from trainer_core.models.renaming import Form, Piece
from trainer_core.weights.merging.inputs import Input, markers

EMA = "model_ema."
MARKERS = frozenset({"ztsnr", "edm_mean", "edm_std", "scaled_fp8"})
"""Tensors that say something about a model, besides those of its family. They are copied, never computed."""
OTHER = "other"
"""What is in no part: markers, the noise schedule, and what trainers leave."""


def part_of(name: str, one: Input) -> str:
    """The part of a model to which a tensor belongs: "denoiser", "text_encoders", "vae", "ema" or "other"."""
    prefix = one.detection.prefix
    if name.startswith(VAE_PREFIXES):
        return "vae"
    if name.startswith(TEXT_ENCODER_PREFIXES):
        return "text_encoders"
    if name.startswith(EMA):
        return "ema"
    if name in MARKERS or name in markers(one.detection.family or "") or name.startswith((*MARKS, *STRAYS)):
        return OTHER
    if prefix:
        return "denoiser" if name.startswith(prefix) else OTHER
    return OTHER if name.partition(".")[0] in OTHERS else "denoiser"


def in_names_of(first: Input, other: Input) -> dict[str, str]:
    """The names of another model's tensors, by what the first one calls them; those that only the other has keep their names.

    Raises:
        WeightsError: the names of a part differ in a way that loses something, or joins and cuts tensors.
    """
    mine, theirs = _forms(first), _forms(other)
    found = {name: name for name in other.header.tensors}
    for kind in mine.keys() & theirs.keys():
        if mine[kind] == theirs[kind]:
            continue
        changed = dict(_changed(kind, other, theirs[kind], mine[kind]))
        for old in changed.values():
            found.pop(old, None)
        found |= changed
    return found


def _forms(one: Input) -> dict[str, Form]:
    """The form of the names of each part, by its kind; the diffusion model has the kind of its family."""
    tensors = one.header.tensors
    found = {one.detection.family or "": Form(one.detection.layout, one.detection.prefix)}
    for root, part in parts.held(one.header).items():
        form = parts.form(part.id, tensors, root)
        if form is not None:
            found[part.id] = form
    return found


def _changed(kind: str, other: Input, form: Form, to: Form) -> Iterator[tuple[str, str]]:
    """The new and the old name of each tensor of a part."""
    if form.layout == to.layout:
        for name in other.header.tensors:
            is_own = form.prefix or part_of(name, other) == "denoiser"
            if is_own and name.startswith(form.prefix):
                yield to.prefix + name.removeprefix(form.prefix), name
        return
    if not renaming.is_possible(kind, form, to):
        raise WeightsError(
            f"The layers of {kind} in {other.label} have the names of {form.layout}, and those of A have the names of {to.layout}.",
            "Convert one of them, so that both have the same names: easel convert.",
        )
    yield from renamed(kind, other.header, form, to).items()


def renamed(kind: str, found: Header, form: Form, to: Form) -> dict[str, str]:
    """The names of the tensors of a part in its file, by their names in another form.

    Raises:
        WeightsError: the renaming joins, cuts or turns tensors, or the file does not have this form.
    """
    pieces = renaming.pieces(kind, found.tensors, form, to)
    at = _by_start(found.tensors)
    if any(piece.turned or piece.content or not _is_whole(piece, found.tensors, at) for piece in pieces):
        raise WeightsError(
            f"The layers of {kind} in {found.path.name} are divided in another way.",
            f"Copy it with the other names first: easel tools rename --layout {to.layout}.",
        )
    return {piece.name: at[piece.start] for piece in pieces}


def _by_start(tensors: Mapping[str, TensorInfo]) -> dict[int, str]:
    return {info.start_bytes: name for name, info in tensors.items() if info.size_bytes}


def _is_whole(piece: Piece, tensors: Mapping[str, TensorInfo], at: Mapping[int, str]) -> bool:
    name = at.get(piece.start)
    return name is not None and tensors[name].size_bytes == piece.size


def first_of(names: Iterable[str]) -> str:
    """The first of some names in alphabetical order, and how many more there are, for a sentence."""
    found = sorted(names)
    more = len(found) - 1
    return f"{found[0]}{f' and {more} more' if more else ''}"
