"""The files of a conversion, opened: what they are, and their tensors as parts of a new file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from trainer_core import places
from trainer_core.errors import AmbiguousModelError, WeightsError
from trainer_core.models import detection
from trainer_core.models.detection import Detection, prediction
from trainer_core.models.families import Denoiser, load_families
from trainer_core.models.header import Header
from trainer_core.models.header.tensors import shown
from trainer_core.models.renaming import building
from trainer_core.models.renaming.building import Built
from trainer_core.text import size
from trainer_core.weights import sources
from trainer_core.weights.conversion import scaled
from trainer_core.weights.conversion.wishes import Settings
from trainer_core.weights.sources import Opened

UNREAD = 0.01
"""The share of a file that may be something else than its tensors before it is mentioned."""


@dataclass(frozen=True)
class Input:
    """A file that is read: its tensors without the scales beside them, the scale of each scaled weight, and what it is."""

    path: Path
    opened: Opened
    tensors: Mapping[str, Built]
    scales: Mapping[str, str]
    found: Detection

    @property
    def header(self) -> Header:
        """Its header."""
        return self.opened.header

    @property
    def sizes(self) -> dict[str, int]:
        """The bytes of each tensor."""
        return {name: info.size_bytes for name, info in self.opened.tensors.items()}

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder in the diffusers layout."""
        return self.header.is_folder


def opened(settings: Settings) -> list[Input]:
    """The inputs of a conversion.

    Raises:
        HeaderError: a file cannot be read, or is no model.
        WeightsError: its weights are stored in a way that Easel does not read, or a file is given twice.
    """
    paths = [places.typed(file).absolute() for file in settings.files]
    found = [_opened(place, path, settings) for place, path in enumerate(paths)]
    seen: set[Path] = set()
    for each in found:
        for file in each.header.files or (each.path,):
            if places.real(file) in seen:
                raise WeightsError(f"{shown(file)} is given twice.", "Name each file once.")
            seen.add(places.real(file))
    return found


def _opened(place: int, path: Path, settings: Settings) -> Input:
    held = sources.find(path, dequantise=settings.dequantise)
    kept = _without_scales(held, place, settings)
    tensors = {name: each for name, each in kept.items() if each is not None}
    return Input(path, held, tensors, scaled.scales(held.header), _recognised(held.header, settings, first=not place))


def _without_scales(held: Opened, place: int, settings: Settings) -> dict[str, Built | None]:
    """The tensors; None for what is stored beside scaled weights, if the numbers are to be stored without scales."""
    drops = bool(settings.dtype)
    return {
        name: None if drops and scaled.is_beside(name) else building.whole(name, info, place)
        for name, info in held.tensors.items()
    }


def _recognised(found: Header, settings: Settings, *, first: bool) -> Detection:
    try:
        seen = detection.detect(found)
    except AmbiguousModelError:
        if not settings.family:
            raise
        seen = Detection(None, "unknown")
    if first and settings.family and seen.family != settings.family:
        if settings.family not in load_families():
            raise WeightsError(f"Easel knows no family {settings.family!r:.60}.", "`easel models methods` lists them.")
        if seen.family:
            raise WeightsError(
                f"{shown(found.path)} is a model of {seen.family}, not of {settings.family}.", "Leave the family out."
            )
        seen = _of_family(found, settings.family, seen)
    if first and settings.prediction:
        seen = replace(seen, prediction=settings.prediction, is_prediction_certain=True)
    return seen


def _of_family(found: Header, family: str, seen: Detection) -> Detection:
    """What a file is if it is a model of this family, which its sizes do not show."""
    known = load_families()[family]
    denoiser = Denoiser.of(found)
    says = prediction.predicted(denoiser, known, known.signatures[0])
    return replace(
        seen,
        family=family,
        role="checkpoint",
        prefix=denoiser.prefix,
        prediction=says.prediction,
        is_prediction_certain=says.is_certain,
        zero_terminal_snr=says.zero_terminal_snr,
    )


def notes(inputs: list[Input]) -> list[str]:
    """Sentences about what is in the files beside their tensors, and what they are."""
    told = []
    for each in inputs:
        if each.header.format == "pickle":
            unread = sources.unused_bytes(each.opened)
            if unread > UNREAD * each.path.stat().st_size:
                told.append(
                    f"{size(unread)} of {shown(each.path)} are not tensors of the model, such as the state of an optimizer, and are left out."
                )
        quantised = sum(isinstance(place, sources.Quantised) for place in each.opened.held.values())
        if quantised:
            told.append(
                f"Not exact: {quantised} tensors of {shown(each.path)} are quantised. Their numbers are those that a program computes from the file, not those of the model before."
            )
    return told
