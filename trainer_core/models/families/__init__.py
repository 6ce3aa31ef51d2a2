"""Model families as data: one TOML file for each describes it and its headers. Not: what an engine does with a family.

To add a family, add a file, or a row in recognised.toml if no engine trains it.
Conditions exclude each other, so the order of the files does not matter. The keys of a signature are the fields of
`Signature`; conditions that several signatures of one layout share are in `[layouts.<layout>]`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer_core.errors import DetectionError
from trainer_core.files import read_toml
from trainer_core.models.families.denoiser import ANY, PREFIXES, Denoiser, prefix_of
from trainer_core.models.families.signature import LAYOUTS, Signature

__all__ = ["ANY", "LAYOUTS", "PREFIXES", "Denoiser", "ModelFamily", "Signature", "load_families", "prefix_of"]

CONDITIONS = ("present", "absent", "modules", "blocks", "fewer", "shapes", "classes", "configs", "unset")


@dataclass(frozen=True)
class ModelFamily:
    """One family of models.

    `prediction` is what its models predict unless a file states otherwise; `prediction_note` tells the user more when the
    file does not. `architecture` is its name in the Model Specification, for each prediction type that has another one.
    `resolution` is the side of the square images that it was trained on, in pixels, 0 if unknown;
    `own_resolutions` are those of variants or prediction types. `markers` maps the key of an empty tensor to the prediction that it marks. `parts` are the companion
    files of a model: each setting with the ids of the suitable kinds in catalog/parts.toml; `own_parts` are those of
    variants that need other files. `twins` maps a variant to others with the same header, and `edits` to those that edit images: a model is one of them only by its name, or if the user says so. `folders` are
    the repositories on Hugging Face with the publisher's diffusers folder of each variant, "" where there are no variants. `samples` are values of the sample settings that its
    models are made for, `own_samples` those in which a variant differs, and `distilled_samples` those in which models that are distilled
    to few steps differ: named so, or of a variant in `distilled`. A family with `is_only_recognised` cannot be trained and has no `prediction`: it exists
    so that its models are not mistaken for another family.
    """

    id: str
    title: str
    signatures: tuple[Signature, ...]
    prediction: str = ""
    architecture: Mapping[str, str] = field(default_factory=dict)
    resolution: int = 0
    own_resolutions: Mapping[str, int] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    markers: Mapping[str, str] = field(default_factory=dict)
    prediction_note: str = ""
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    own_parts: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    twins: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    edits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    folders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    samples: Mapping[str, float] = field(default_factory=dict)
    own_samples: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    distilled_samples: Mapping[str, float] = field(default_factory=dict)
    distilled: tuple[str, ...] = ()
    is_only_recognised: bool = False

    @property
    def variants(self) -> tuple[str, ...]:
        """Its variants, in the order of the file; then those that only a name can tell."""
        twins = (twin for table in (self.twins, self.edits) for others in table.values() for twin in others)
        return tuple(dict.fromkeys((*(each.variant for each in self.signatures if each.variant), *twins)))

    def alike(self, variant: str, layout: str | None = None) -> tuple[str, ...]:
        """The variants that a model with a header of this variant can be, itself first; any if the header shows none.

        A diffusers folder names its pipeline, and with it whether the model edits images.
        """
        if not variant:
            return self.variants
        edits = () if layout == "pipeline" else self.edits.get(variant, ())
        return (variant, *self.twins.get(variant, ()), *edits)

    def resolution_of(self, *kinds: str) -> int:
        """The native resolution of a model in pixels, 0 if unknown; `kinds` are its variant and its prediction type."""
        return next((self.own_resolutions[kind] for kind in kinds if kind in self.own_resolutions), self.resolution)

    def parts_of(self, variant: str) -> Mapping[str, tuple[str, ...]]:
        """The companion files of a variant: each setting with the suitable kinds of parts."""
        return self.own_parts.get(variant, self.parts)


@functools.cache
def load_families(folder: Path | None = None) -> Mapping[str, ModelFamily]:
    """The families in the TOML files of a folder (by default this one), by id.

    Raises:
        DetectionError: a file is not a valid description.
    """
    found: dict[str, ModelFamily] = {}
    for path in sorted((folder or Path(__file__).parent).glob("*.toml")):
        table = read_toml(path, DetectionError)
        try:
            families = list(_families(table, path.stem))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DetectionError(f"The family file {path.name} is not valid: {error}") from error
        for family in families:
            if family.id in found:
                raise DetectionError(
                    f"The family file {path.name} describes {family.id!r}, which another file describes too."
                )
            found[family.id] = family
    return dict(sorted(found.items()))


def _families(table: dict[str, Any], stem: str) -> Iterator[ModelFamily]:
    """The family of a file, whose name must be its id, or the families of a file with rows."""
    if "families" in table:
        yield from (_family(row | {"is_only_recognised": True}) for row in table["families"])
        return
    family = _family(table)
    if family.id != stem:
        raise ValueError(f"it describes {family.id!r}, and its name must be the id")
    yield family


def _family(table: dict[str, Any]) -> ModelFamily:
    layouts = table.pop("layouts", {})
    signatures = tuple(_signature(entry, layouts) for entry in table.pop("signatures", ()))
    if not signatures:
        raise ValueError("it has no signatures")
    parts = _parts(table.pop("parts", {}))
    own = {variant: _parts(kinds) for variant, kinds in table.pop("own_parts", {}).items()}
    twins, edits, folders = (
        {variant: tuple(others) for variant, others in table.pop(key, {}).items()}
        for key in ("twins", "edits", "folders")
    )
    family = ModelFamily(
        **_frozen(table),
        signatures=signatures,
        parts=parts,
        own_parts=own,
        twins=twins,
        edits=edits,
        folders=folders,
    )
    named = {*own, *twins, *edits, *family.own_samples, *family.distilled, *folders} - {""}
    if unknown := named - {*family.variants}:
        raise ValueError(f"it says something of {min(unknown)!r}, which is not one of its variants")
    return family


def _parts(table: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    return {setting: tuple(kinds) for setting, kinds in table.items()}


def _signature(table: dict[str, Any], layouts: Mapping[str, Mapping[str, Any]]) -> Signature:
    layout = table.get("layout")
    if layout not in LAYOUTS:
        raise ValueError(f"a signature has the layout {layout!r}, which is not one of {', '.join(LAYOUTS)}")
    signature = Signature(**_frozen(_joined(layouts.get(layout, {}), table)))
    if not any(getattr(signature, name) for name in CONDITIONS):
        raise ValueError("a signature has no conditions")
    return signature


def _joined(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The conditions of a layout and of one signature: lists are joined, tables merged; else the signature takes precedence."""
    lists = {key: [*value, *own[key]] for key, value in shared.items() if isinstance(value, list) and key in own}
    return _merged(shared, own) | lists


def _merged(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    tables = {key: _merged(value, own.get(key, {})) for key, value in shared.items() if isinstance(value, dict)}
    return {**shared, **own, **tables}


def _frozen(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
