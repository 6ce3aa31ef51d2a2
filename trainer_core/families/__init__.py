"""Model families as data: one TOML file each says what a family is and by what a header is known to be of it.

Adding a family is adding a file, or a row of recognised.toml where no engine trains it. Conditions are exclusive, so the
order of the files never matters; the keys of a signature are the fields of `Signature`, and what several signatures of one
layout share stands once, in `[layouts.<layout>]`.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer_core.errors import DetectionError
from trainer_core.families.denoiser import ANY, PREFIXES, Denoiser, prefix_of
from trainer_core.families.signature import LAYOUTS, Signature

__all__ = ["ANY", "LAYOUTS", "PREFIXES", "Denoiser", "ModelFamily", "Signature", "load_families", "prefix_of"]

CONDITIONS = ("present", "absent", "modules", "blocks", "shapes", "classes", "configs", "unset")


@dataclass(frozen=True)
class ModelFamily:
    """One family of models.

    `prediction` is what they predict unless a file says otherwise, and `prediction_note` what a person should know where
    files do not; `markers` maps the key of an empty tensor to the prediction it stands for. `parts` names the files beside
    a model: the setting that takes each, with the ids of the kinds in catalog/parts.toml that serve; `own_parts` those of
    the variants that need others. A family that is only
    recognised, so that it is not taken for another, is trained by nobody, and what it predicts is not said.
    """

    id: str
    title: str
    signatures: tuple[Signature, ...]
    prediction: str = ""
    sources: tuple[str, ...] = ()
    markers: Mapping[str, str] = field(default_factory=dict)
    prediction_note: str = ""
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    own_parts: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    is_only_recognised: bool = False

    @property
    def variants(self) -> tuple[str, ...]:
        """Its variants, in the order of the file."""
        return tuple(dict.fromkeys(signature.variant for signature in self.signatures if signature.variant))

    def parts_of(self, variant: str) -> Mapping[str, tuple[str, ...]]:
        """The files beside a model of a variant: the setting that takes each, with the kinds that serve."""
        return self.own_parts.get(variant, self.parts)


@functools.cache
def load_families(folder: Path | None = None) -> Mapping[str, ModelFamily]:
    """The families described by the TOML files of a folder (this one by default), by id.

    Raises:
        DetectionError: a file is not a valid description.
    """
    found: dict[str, ModelFamily] = {}
    for path in sorted((folder or Path(__file__).parent).glob("*.toml")):
        try:
            families = list(_families(tomllib.loads(path.read_text("utf-8")), path.stem))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DetectionError(f"The family file {path.name} is not valid: {error}") from error
        for family in families:
            if family.id in found:
                raise DetectionError(f"The family file {path.name} describes {family.id!r} once more.")
            found[family.id] = family
    return dict(sorted(found.items()))


def _families(table: dict[str, Any], stem: str) -> Iterator[ModelFamily]:
    """The family of a file, whose name is its id, or those of a file of rows."""
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
    family = ModelFamily(**_frozen(table), signatures=signatures, parts=parts, own_parts=own)
    if unknown := own.keys() - set(family.variants):
        raise ValueError(f"it names parts of {min(unknown)!r}, which is none of its variants")
    return family


def _parts(table: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    return {setting: tuple(kinds) for setting, kinds in table.items()}


def _signature(table: dict[str, Any], layouts: Mapping[str, Mapping[str, Any]]) -> Signature:
    layout = table.get("layout")
    if layout not in LAYOUTS:
        raise ValueError(f"a signature has the layout {layout!r}, which is none of {', '.join(LAYOUTS)}")
    signature = Signature(**_frozen(_joined(layouts.get(layout, {}), table)))
    if not any(getattr(signature, name) for name in CONDITIONS):
        raise ValueError("a signature has no conditions")
    return signature


def _joined(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The conditions of a layout and those of one signature: lists are joined, tables merged, the signature's words win."""
    lists = {key: [*value, *own[key]] for key, value in shared.items() if isinstance(value, list) and key in own}
    return _merged(shared, own) | lists


def _merged(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    tables = {key: _merged(value, own.get(key, {})) for key, value in shared.items() if isinstance(value, dict)}
    return {**shared, **own, **tables}


def _frozen(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
