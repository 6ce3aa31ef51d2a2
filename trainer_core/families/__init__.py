"""Model families as data: one TOML file each says what a family is and by what a header is known to be of it.

Adding a family is adding a file. Conditions are exclusive, so the order of the files never matters; the keys of a
signature are the fields of `Signature`.
"""

from __future__ import annotations

import dataclasses
import functools
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer_core.errors import DetectionError
from trainer_core.header import Header, TensorInfo
from trainer_core.text import printable

PREFIXES = ("model.diffusion_model.", "diffusion_model.", "net.", "")
"""What single files put in front of the diffusion model's keys, longest first. Source: ComfyUI, model_detection.py."""
ANY = "*"


def prefix_of(header: Header) -> str:
    """What a file puts in front of the diffusion model's names."""
    return next((prefix for prefix in PREFIXES if any(key.startswith(prefix) for key in header.tensors)), "")


@dataclass(frozen=True)
class Signature:
    """Conditions that all hold for one layout of a model: form "tensors" for a file, "folder" for a diffusers folder.

    `shapes` maps keys to sizes, "*" standing for any. In a folder `classes` are the pipeline classes, `configs` the
    values that component configs must have, and `unset` dotted config keys that must be absent or null ("" before the dot is model_index.json,
    which writes a component that is left out as two nulls).
    """

    form: str
    title: str = ""
    variant: str = ""
    present: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    shapes: Mapping[str, Sequence[int | str]] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    unset: tuple[str, ...] = ()

    def check(self, header: Header) -> Iterator[tuple[bool, str]]:
        """Whether each condition holds, with a sentence that says so; the first one is about the form."""
        is_folder = header.is_folder
        yield is_folder == (self.form == "folder"), "a diffusers folder" if is_folder else "a single file"
        yield from self._check_folder(header) if self.form == "folder" else self._check_tensors(header)

    def _check_tensors(self, header: Header) -> Iterator[tuple[bool, str]]:
        prefix = prefix_of(header)

        def find(key: str) -> TensorInfo | None:
            return header.tensors.get(prefix + key) or header.tensors.get(key)

        for key in self.present:
            yield find(key) is not None, f"has {key}" if find(key) else f"lacks {key}"
        for key in self.absent:
            yield find(key) is None, f"has {key}" if find(key) else f"lacks {key}"
        for key, wanted in self.shapes.items():
            found = find(key)
            yield found is not None and _fits(found.shape, wanted), _shape_sentence(key, found, wanted)

    def _check_folder(self, header: Header) -> Iterator[tuple[bool, str]]:
        name = _shown(header.configs.get("", {}).get("_class_name"))
        yield name in self.classes, f"its pipeline is {name}"
        for component, values in self.configs.items():
            for key, wanted in values.items():
                found = header.configs.get(component, {}).get(key)
                yield found == wanted, f"{component or 'it'} has {key} {_shown(found)}"
        for dotted in self.unset:
            component, _, key = dotted.partition(".")
            found = header.configs.get(component, {}).get(key)
            is_unset = found is None or found == [None, None]
            yield is_unset, f"{component or 'it'} has {key} {'unset' if is_unset else _shown(found)}"


@dataclass(frozen=True)
class ModelFamily:
    """One family of models.

    `prediction` is what they predict unless a file says otherwise, and `prediction_note` what a person should know where
    files do not; `markers` maps the key of an empty tensor to the prediction it stands for; `lookalikes` are models that
    must not be taken for this family.
    """

    id: str
    title: str
    native_resolution_px: int
    prediction: str
    text_encoders: tuple[str, ...]
    signatures: tuple[Signature, ...]
    sources: tuple[str, ...]
    lookalikes: tuple[Signature, ...] = ()
    markers: Mapping[str, str] = field(default_factory=dict)
    prediction_note: str = ""


@functools.cache
def load_families(folder: Path | None = None) -> Mapping[str, ModelFamily]:
    """The families described by the TOML files of a folder (this one by default), by id.

    Raises:
        DetectionError: a file is not a valid description.
    """
    found = {}
    for path in sorted((folder or Path(__file__).parent).glob("*.toml")):
        try:
            family = _family(tomllib.loads(path.read_text("utf-8")))
        except (TypeError, ValueError) as error:
            raise DetectionError(f"The family file {path.name} is not valid: {error}") from error
        if family.id != path.stem:
            raise DetectionError(f"The family file {path.name} describes {family.id!r}: its name must be the id.")
        found[family.id] = family
    return found


def _family(table: dict[str, Any]) -> ModelFamily:
    signatures = tuple(_signature(entry) for entry in table.pop("signatures", ()))
    lookalikes = tuple(_signature(entry) for entry in table.pop("lookalikes", ()))
    if not signatures:
        raise ValueError("it has no signatures")
    return ModelFamily(**_frozen(table), signatures=signatures, lookalikes=lookalikes)


def _signature(table: dict[str, Any]) -> Signature:
    signature = Signature(**_frozen(table))
    if signature.form not in ("tensors", "folder"):
        raise ValueError(f"a signature has the form {signature.form!r}")
    if not any(getattr(signature, each.name) for each in dataclasses.fields(signature)[3:]):
        raise ValueError("a signature has no conditions")
    return signature


def _frozen(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}


def _fits(shape: Sequence[int], wanted: Sequence[int | str]) -> bool:
    return len(shape) == len(wanted) and all(want in (ANY, size) for size, want in zip(shape, wanted, strict=True))


def _shape_sentence(key: str, found: TensorInfo | None, wanted: Sequence[int | str]) -> str:
    if found is None:
        return f"lacks {key}"
    sentence = f"{key} is {_by(found.shape)}"
    return sentence if _fits(found.shape, wanted) else f"{sentence}, not {_by(wanted)}"


def _shown(value: Any) -> str:
    """A value from a config as text; what is nested deeper than a list is not spelt out."""
    if isinstance(value, list):
        return ", ".join(_shown(item) for item in value[:4] if not isinstance(item, list)) or "a list"
    return "a table" if isinstance(value, dict) else printable(str(value), 80)


def _by(sizes: Sequence[int | str]) -> str:
    return "x".join(str(size) for size in sizes) or "a scalar"
