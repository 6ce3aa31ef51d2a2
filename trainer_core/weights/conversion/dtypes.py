"""Decides the dtype of each tensor of a new file, and how its numbers are made."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from trainer_core.errors import WeightsError
from trainer_core.models.detection import TEXT_ENCODER_PREFIXES, VAE_PREFIXES
from trainer_core.models.header import TensorInfo
from trainer_core.models.renaming.building import Built
from trainer_core.weights.conversion import scaled
from trainer_core.weights.conversion.wishes import DTYPES, Settings

FLOATS = frozenset({"F64", "F32", "F16", "BF16", *scaled.FP8})
"""The dtypes that change; any other holds counts or packed numbers, and is copied."""
INSTEAD_OF_FP8 = "BF16"
"""The dtype of what was fp8 with a scale and does not fit fp8 now."""
MARKER_NUMBERS = 2
"""The length of the marker that makes ComfyUI compute in 16 bits: the inputs of the layers were not measured."""
_NORM = re.compile(r"norm|(?:^|\.)ln_", re.IGNORECASE)

Work = Literal["copy", "compute", "scaled", "scale", "content"]
"""How a tensor is made: its bytes are copied; its numbers are computed; they are divided by a scale; it is the scale of another
tensor; it is known already."""


@dataclass(frozen=True)
class Tensor:
    """A tensor of a new file. `built` says of which rows it is made; `content` are its bytes if they are known already."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    work: Work
    built: Built | None = None
    content: bytes = b""

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return TensorInfo(self.dtype, self.shape).size_bytes


@dataclass(frozen=True)
class Group:
    """The tensors of one new file before their dtypes are decided: its name without an ending, and what part of a model it is.

    `part` is "model" for a file with several parts, else "denoiser", "vae" or "text-encoders". `prefix` is that of the
    denoiser's tensors.
    """

    stem: str
    tensors: Mapping[str, Built]
    part: str = "model"
    prefix: str = ""

    def part_of(self, name: str) -> str:
        """The part to which a tensor belongs."""
        if self.part != "model":
            return self.part
        if name.startswith(VAE_PREFIXES):
            return "vae"
        return "text-encoders" if name.startswith(TEXT_ENCODER_PREFIXES) else "denoiser"


def decided(group: Group, settings: Settings, has_scale: frozenset[tuple[int, str]]) -> Iterator[Tensor]:
    """The tensors of a new file. `has_scale` are the old tensors, by input and name, whose numbers are multiplied by a scale."""
    wanted = DTYPES[settings.dtype]
    marked = False
    for name, each in group.tensors.items():
        was_scaled = any((part.file, part.name) in has_scale for part in each.parts)
        dtype = _dtype(name, each, group, settings, wanted) if wanted else each.dtype
        if was_scaled and wanted and dtype == each.dtype and settings.dtype != "fp8":
            dtype = INSTEAD_OF_FP8 if settings.dtype != "fp8-scaled" or not _fits(name, each, group) else dtype
        if settings.dtype == "fp8-scaled" and dtype == wanted and each.dtype in FLOATS and _fits(name, each, group):
            marked = True
            yield Tensor(name, dtype, each.shape, "scaled", each)
            yield Tensor(name.removesuffix(".weight") + scaled.ENDINGS[0], "F32", (), "scale", each)
        elif dtype == each.dtype and not (was_scaled and wanted):
            yield Tensor(name, dtype, each.shape, "copy", each)
        else:
            yield Tensor(name, dtype, each.shape, "compute", each)
    if marked:
        content = bytes(MARKER_NUMBERS)
        yield Tensor(group.prefix + scaled.MARKER, wanted, (MARKER_NUMBERS,), "content", content=content)


def check(settings: Settings, *, has_scales: bool, is_renamed: bool) -> None:
    """Checks that the dtype and the form are possible together.

    Raises:
        WeightsError: they are not.
    """
    if has_scales and is_renamed and not settings.dtype:
        raise WeightsError(
            "The weights are stored in fp8 with scales, which only fit the names that they have now.",
            "Choose a dtype, such as bf16.",
        )
    if settings.dtype == "fp8-scaled" and settings.form == "diffusers":
        raise WeightsError(
            "diffusers does not read fp8 weights with scales.", "Choose bf16, or one file instead of a folder."
        )


def _dtype(name: str, each: Built, group: Group, settings: Settings, wanted: str) -> str:
    if each.dtype not in FLOATS or 0 in each.shape:
        return each.dtype
    part = group.part_of(name)
    if part in settings.keep or ("norms" in settings.keep and len(each.shape) < 2 and _NORM.search(name)):
        return each.dtype
    return wanted if wanted not in scaled.FP8 or _fits(name, each, group) else each.dtype


def _fits(name: str, each: Built, group: Group) -> bool:
    """Whether a weight may be stored in fp8: those of a denoiser, or of a file that is only a text encoder."""
    part = group.part_of(name)
    is_asked = part == "denoiser" or (part == "text-encoders" and group.part == part)
    return is_asked and scaled.fits_fp8(name, each.shape, ())
