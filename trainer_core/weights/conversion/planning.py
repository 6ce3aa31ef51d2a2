"""Plans a conversion from headers alone: the new files, their tensors and metadata, and sentences for the user."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trainer_core.errors import WeightsError
from trainer_core.models import detection
from trainer_core.models.header import Header, TensorInfo
from trainer_core.models.header.tensors import shown
from trainer_core.models.renaming.building import Built
from trainer_core.weights import new_names, sources
from trainer_core.weights.conversion import dtypes, folder, inputs, names, parts, pruning, scaled, single, wishes
from trainer_core.weights.conversion.dtypes import Group, Tensor
from trainer_core.weights.conversion.inputs import Input
from trainer_core.weights.conversion.wishes import DTYPES, FORMS, Settings

ENDINGS = {"checkpoint": (".ckpt", ".pt", ".pth", ".bin"), "diffusers": (), "parts": (), "shards": ()}
"""The endings of the target by form; none for a folder. Any other form is a safetensors file."""
SAFETENSORS = (".safetensors", ".sft")
BASE_MEMORY_BYTES = 150_000_000
"""The memory of the program and of the chunks in which it computes."""
CHECKPOINT_NOTE = (
    "A .ckpt file is a pickle: the older and less safe form, because such a file can run code in programs that open it without care. "
    "This one only has weights."
)
WRONG_WITHOUT = ("modelspec.hash_sha256", "sshs_model_hash", "sshs_legacy_hash")


@dataclass(frozen=True)
class NewFile:
    """A file of the new model: its path below the target ("" for the target itself), and its tensors in order."""

    name: str
    tensors: tuple[Tensor, ...]
    has_metadata: bool = True

    @property
    def size(self) -> int:
        """The size of its tensors in bytes."""
        return sum(tensor.size for tensor in self.tensors)


@dataclass(frozen=True)
class Plan:
    """A conversion: the target, the files to write, texts and copies beside them, and what is read.

    `copies` and `texts` are by their path below the target.
    """

    settings: Settings
    target: Path
    inputs: tuple[Input, ...]
    files: tuple[NewFile, ...]
    metadata: Mapping[str, str]
    texts: Mapping[str, str] = field(default_factory=dict)
    copies: Mapping[str, Path] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def is_folder(self) -> bool:
        """Whether the target is a folder."""
        return bool(self.files[0].name)

    @property
    def size_bytes(self) -> int:
        """The size of all new files in bytes, without their headers."""
        return sum(file.size for file in self.files)

    @property
    def tensors(self) -> list[Tensor]:
        """All new tensors."""
        return [tensor for file in self.files for tensor in file.tensors]

    @property
    def memory_bytes(self) -> int:
        """The most memory that the work needs."""
        return BASE_MEMORY_BYTES + max((_memory(tensor, self.inputs) for tensor in self.tensors), default=0)


@dataclass
class _Draft:
    """A plan while it is made."""

    groups: list[Group]
    notes: list[str]
    marks: tuple[str, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    copies: Mapping[str, Path] = field(default_factory=dict)
    extra: Mapping[str, list[Tensor]] = field(default_factory=dict)


def plan(settings: Settings, tokenizers: Mapping[str, Path] | None = None) -> Plan:
    """The plan of a conversion. `tokenizers` are folders of tokenizers on this machine, for a folder in the diffusers layout.

    Raises:
        HeaderError: a file cannot be read, or is no model.
        WeightsError: the conversion is not possible; the message says why.
        RenamingError: the tensors do not have the names that they seem to have.
    """
    wishes.check(settings)
    found = inputs.opened(settings)
    first = found[0]
    draft = _form(settings, found, tokenizers or {})
    scales = frozenset((place, name) for place, each in enumerate(found) for name in each.scales)
    is_renamed = settings.form in ("diffusers", "parts") or bool(settings.names) or first.is_folder or len(found) > 1
    dtypes.check(settings, has_scales=bool(scales), is_renamed=is_renamed)
    files = tuple(_file(group, draft, settings, scales) for group in draft.groups)
    if settings.form == "shards":
        files, draft.texts = _sharded(files[0], settings)
    metadata = _metadata(first, settings, draft)
    notes = [*inputs.notes(found), *draft.notes, *_about_dtypes(files, settings), *_about_form(settings, metadata)]
    made = Plan(
        settings,
        _target(settings, first),
        tuple(found),
        files,
        metadata,
        draft.texts,
        draft.copies,
        tuple(dict.fromkeys(notes)),
    )
    _check(made, draft)
    return made


def _form(settings: Settings, found: list[Input], tokenizers: Mapping[str, Path]) -> _Draft:
    first = found[0]
    if len(found) > 1:
        whole = single.joined(found)
    elif first.is_folder:
        whole = single.of_folder(first)
    else:
        whole = single.Single(first.tensors)
    if settings.prune and first.is_folder:
        raise WeightsError("A diffusers folder has nothing to prune.", "Leave the pruning out.")
    cut = pruning.pruned(
        whole.tensors, {name: size for each in found for name, size in each.sizes.items()}, settings.prune
    )
    draft = _Draft([], [*whole.notes, *cut.notes], whole.marks, dict(whole.metadata or {}))
    tensors = cut.tensors
    if settings.names:
        tensors, said = _renamed(tensors, found, settings)
        draft.notes += said
    if settings.form == "diffusers":
        _as_folder(draft, first, tensors, tokenizers)
    elif settings.form == "parts":
        kinds = {"vae": "vae", parts.MODEL: "denoiser"}
        draft.groups = [
            Group(stem, own, kinds.get(stem, "text-encoders"))
            for stem, own in parts.split(tensors, first.found).items()
        ]
    else:
        draft.groups = [_whole(tensors, first, len(found))]
    return draft


def _renamed(
    tensors: Mapping[str, Built], found: list[Input], settings: Settings
) -> tuple[Mapping[str, Built], list[str]]:
    """The tensors with the names that engines read, and sentences about them.

    Raises:
        WeightsError: the form of the new model has names of its own, or nothing would be renamed.
    """
    if settings.form in ("diffusers", "parts") or len(found) > 1 or found[0].is_folder:
        what = FORMS[settings.form] if settings.form in ("diffusers", "parts") else "a model made of several parts"
        raise WeightsError(
            f"The names of the tensors cannot be chosen: {what} has names of its own.", "Leave the names as they are."
        )
    return names.renamed(tensors, found[0])


def _whole(tensors: Mapping[str, Built], first: Input, count: int) -> Group:
    """The one new file."""
    role = first.found.role
    alone = {"vae": "vae", "text_encoder": "text-encoders", "diffusion_model": "denoiser"}
    part = alone.get(role, "model") if count == 1 and not first.is_folder else "model"
    known = ("model.diffusion_model.", "diffusion_model.")
    prefix = next((each for each in known if any(name.startswith(each) for name in tensors)), "")
    return Group("", tensors, part, prefix)


def _as_folder(draft: _Draft, first: Input, tensors: Mapping[str, Built], tokenizers: Mapping[str, Path]) -> None:
    if first.is_folder:
        raise WeightsError(f"{shown(first.path)} is a diffusers folder already.", "Choose another form.")
    made = folder.planned(first, tensors, tokenizers)
    kinds = {"vae": "vae", "unet": "denoiser", "transformer": "denoiser"}
    draft.groups = [
        Group(made.stems[name], own, kinds.get(name, "text-encoders")) for name, own in made.components.items()
    ]
    draft.texts, draft.copies = made.texts, made.copies
    draft.notes += made.notes
    draft.extra = {
        made.stems[component]: [_identity(name, size, dtype)] for component, name, size, dtype in made.identities
    }


def _identity(name: str, size: int, dtype: str) -> Tensor:
    """A unit matrix."""
    one = {"F32": b"\0\0\x80\x3f", "F16": b"\x00\x3c", "BF16": b"\x80\x3f"}.get(dtype)
    if one is None:
        dtype, one = "F32", b"\0\0\x80\x3f"
    row = bytearray(size * size * len(one))
    for place in range(size):
        row[(place * size + place) * len(one) : (place * size + place + 1) * len(one)] = one
    return Tensor(name, dtype, (size, size), "content", content=bytes(row))


def _file(group: Group, draft: _Draft, settings: Settings, scales: frozenset[tuple[int, str]]) -> NewFile:
    made = [*dtypes.decided(group, settings, scales), *draft.extra.get(group.stem, ())]
    if settings.form != "diffusers" and (not group.stem or group.stem == parts.MODEL):
        there = {tensor.name for tensor in made}
        made += [Tensor(mark, "F32", (0,), "content") for mark in draft.marks if mark not in there]
    ending = ".safetensors" if group.stem else ""
    # As safetensors' own writer does: the widest numbers first, so that each tensor is aligned.
    made.sort(key=lambda tensor: -_width(tensor.dtype))
    return NewFile(group.stem + ending, tuple(made), has_metadata=group.part in ("model", "denoiser"))


def _width(dtype: str) -> int:
    return TensorInfo(dtype, ()).size_bytes


def _sharded(file: NewFile, settings: Settings) -> tuple[tuple[NewFile, ...], dict[str, str]]:
    by_name = {tensor.name: tensor for tensor in file.tensors}
    sizes = {name: tensor.size for name, tensor in by_name.items()}
    groups, index = parts.shards(list(by_name), sizes, int(settings.shard_gb * 1e9), "model")
    names = [f"model-{place:05}-of-{len(groups):05}.safetensors" for place in range(1, len(groups) + 1)]
    files = tuple(
        NewFile(name, tuple(by_name[each] for each in group)) for name, group in zip(names, groups, strict=True)
    )
    return files, {"model.safetensors.index.json": index}


def _metadata(first: Input, settings: Settings, draft: _Draft) -> dict[str, str]:
    """The metadata of the first input, without what is false for the new file."""
    kept = {} if first.header.format == "gguf" else dict(first.header.metadata)
    if settings.dtype:
        kept = scaled.without(kept)
    return {key: text for key, text in kept.items() if key not in WRONG_WITHOUT} | draft.metadata


def _about_dtypes(files: tuple[NewFile, ...], settings: Settings) -> list[str]:
    if not settings.dtype:
        return []
    computed = [tensor for file in files for tensor in file.tensors if tensor.work in ("compute", "scaled")]
    rest = Counter(
        tensor.dtype
        for file in files
        for tensor in file.tensors
        if tensor.work == "copy" and tensor.dtype in dtypes.FLOATS
    )
    told = [f"{len(computed)} tensors are computed in {settings.dtype}."]
    if DTYPES[settings.dtype] in scaled.FP8:
        kept = ", ".join(f"{count} in {dtype}" for dtype, count in sorted(rest.items()))
        told.append(
            f"Only matrices in the blocks become fp8; norms, embeddings, convolutions and other parts stay: {kept or 'none'}."
        )
    if settings.dtype == "fp8":
        told.append("A number beyond 448 becomes 448; how many were, the job says at its end.")
    if settings.dtype == "fp8-scaled":
        told.append("ComfyUI reads this form; most other programs do not.")
    if settings.dtype == "fp16":
        told.append("A number beyond 65,504 becomes infinite in fp16; how many did, the job says at its end.")
    return told


def _about_form(settings: Settings, metadata: Mapping[str, str]) -> list[str]:
    if settings.form != "checkpoint":
        return []
    told = [CHECKPOINT_NOTE]
    if any(len(text) > sources.LONGEST_TEXT for text in metadata.values()):
        told.append("Metadata of more than 4,096 characters is left out, because readers of this form skip it.")
    return told


def _target(settings: Settings, first: Input) -> Path:
    """The new file or folder.

    Raises:
        WeightsError: its name is that of a folder, or has the ending of another form.
    """
    endings = ENDINGS.get(settings.form, SAFETENSORS)
    if settings.target:
        return new_names.chosen(settings.target, first.path.parent, endings)
    name = first.path.name.removesuffix(".index.json")
    stem = name if first.path.is_dir() else new_names.stem(name)
    words = [settings.dtype, "pruned" if settings.prune else "", "" if endings else settings.form]
    added = "-".join(filter(None, words)) or ("converted" if endings == SAFETENSORS else "")
    return first.path.with_name("-".join(filter(None, (stem, added))) + (endings[0] if endings else ""))


def _check(made: Plan, draft: _Draft) -> None:
    """Checks that the plan is of something new, and that the new file is the model that the old one was."""
    if not made.tensors:
        raise WeightsError("Nothing would be left of the file.", "Check what is left out.")
    first = made.inputs[0]
    is_plain = (
        len(made.inputs) == 1 and first.header.format == "safetensors" and made.settings.form in ("", "safetensors")
    )
    if is_plain and not draft.notes and all(tensor.work == "copy" for tensor in made.tensors):
        names = {tensor.name for tensor in made.tensors}
        if names == set(first.opened.tensors):
            raise WeightsError("The new file would be the same as the old one.", "Choose a dtype or another form.")
    if made.is_folder or not first.found.family:
        return
    tensors = {tensor.name: TensorInfo(tensor.dtype, tensor.shape) for tensor in made.tensors}
    after = detection.detect(Header(made.target, tensors, made.metadata, "safetensors"))
    if after.family and after.family != first.found.family:
        raise WeightsError(
            f"The new file would be recognised as {after.family}, and the old one is {first.found.family}.",
            "Report this as a fault of Easel.",
        )


def _memory(tensor: Tensor, inputs_: tuple[Input, ...]) -> int:
    """The memory for one tensor, in bytes, beside that for chunks."""
    if tensor.built is None:
        return len(tensor.content)
    numbers = math.prod(tensor.shape)
    held = (inputs_[part.file].opened.held[part.name] for part in tensor.built.parts)
    is_whole = tensor.built.turned is not None or not all(isinstance(place, sources.Place) for place in held)
    spread = [inputs_[part.file].opened.tensors[part.name].size_bytes for part in tensor.built.parts]
    return 12 * numbers + 2 * max(spread, default=0) if is_whole else 0
