"""Finds the companion files of a model in a library: the VAE and the text encoders.

A file is recognised by its header, never by its name. Of several suitable files, the order of preference is: a file that
engines can read, the dtype that the catalogue prefers (fp8 for the large text encoders), the newest file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from trainer_core import catalog
from trainer_core.catalog import Part, PartSource
from trainer_core.models import formats
from trainer_core.models.detection import Detection
from trainer_core.models.families import ModelFamily, load_families
from trainer_core.models.library.entry import Entry

ROLES = ("vae", "text_encoder")
PRECISION = ("F32", "BF16", "F16", "F8_E4M3", "F8_E5M2")
"""The dtypes from the most to the least precise, for parts without a preference in the catalogue."""


@dataclass(frozen=True)
class MissingPart:
    """A file that a model needs and the library does not have: the setting it is for, and where to get it."""

    setting: str
    title: str
    why: str
    sources: tuple[PartSource, ...] = ()


@dataclass(frozen=True)
class PassedOver:
    """A file that was not chosen for a setting, and a sentence with the reason."""

    setting: str
    entry: Entry
    why: str


@dataclass(frozen=True)
class Companions:
    """The companion files that the library has for a model.

    `found` maps each setting to the file to use, `candidates` to all suitable files, best first. `unsure` maps a setting
    to what the header of its file cannot show, where the user should confirm the file. `odd` maps a setting to the reason why
    the engine cannot read its file as it is, where there is no other one.
    """

    found: Mapping[str, Entry] = field(default_factory=dict)
    candidates: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)
    missing: tuple[MissingPart, ...] = ()
    passed_over: tuple[PassedOver, ...] = ()
    unsure: Mapping[str, str] = field(default_factory=dict)
    odd: Mapping[str, str] = field(default_factory=dict)


def kind_of(entry: Entry) -> str:
    """The kind of part that a file is, an id of catalog/parts.toml; "" where it is not a part or its kind is unknown."""
    return entry.found.variant if entry.found and entry.found.role in ROLES else ""


def reads_all(setting: str, found: Detection) -> str:
    """Why an engine cannot read a file for a setting, for an engine that reads any form: always ""."""
    del setting, found
    return ""


def parts_for(
    entries: Iterable[Entry],
    found: Detection,
    needed: Collection[str] | None = None,
    unread: Callable[[str, Detection], str] = reads_all,
    *,
    families: Mapping[str, ModelFamily] | None = None,
    parts: Mapping[str, Part] | None = None,
) -> Companions:
    """The companion files that a model needs; empty for a model of an unknown family.

    `needed` are the settings to look for, by default all parts of the family that the model does not contain. `unread` is
    why the engine cannot read a file for a setting; such a file comes after all that it reads, because a copy of it with other
    names may do. `families` and `parts` default to Easel's own tables.
    """
    families = load_families() if families is None else families
    parts = catalog.parts() if parts is None else parts
    family = families.get(found.family or "")
    if family is None:
        return Companions()
    entries = tuple(entries)
    taken: dict[str, Entry] = {}
    candidates: dict[str, tuple[Entry, ...]] = {}
    missing: list[MissingPart] = []
    passed_over: list[PassedOver] = []
    unsure: dict[str, str] = {}
    for setting, ids in family.parts_of(found.variant).items():
        if setting in found.parts if needed is None else setting not in needed:
            continue
        kinds = [parts[name] for name in ids if name in parts]
        able, others = _sorted_out(entries, setting, kinds, parts, family.id, unread)
        passed_over += others
        if able:
            taken[setting], candidates[setting] = able[0], tuple(able)
            if question := _to_confirm(able[0], parts[kind_of(able[0])], family.id):
                unsure[setting] = question
        else:
            missing.append(_missing(setting, kinds, family))
    odd = {setting: reason for setting, entry in taken.items() if (reason := _odd(setting, entry, unread))}
    return Companions(taken, candidates, tuple(missing), tuple(passed_over), unsure, odd)


def _odd(setting: str, entry: Entry, unread: Callable[[str, Detection], str]) -> str:
    return unread(setting, entry.found) if entry.found else ""


def _sorted_out(
    entries: Sequence[Entry],
    setting: str,
    kinds: Sequence[Part],
    parts: Mapping[str, Part],
    family: str,
    unread: Callable[[str, Detection], str],
) -> tuple[list[Entry], list[PassedOver]]:
    """The files that suit a setting, best first, and the files that were passed over, each with the reason."""
    order = {kind.id: place for place, kind in enumerate(kinds)}
    able: list[Entry] = []
    others: list[PassedOver] = []
    for entry in entries:
        kind = kind_of(entry)
        if kind not in order:
            if _could_be(entry, kinds) and _is_named(entry, (setting, *order)):
                others.append(PassedOver(setting, entry, _other_kind(entry, parts)))
        elif reason := _unusable(entry):
            others.append(PassedOver(setting, entry, reason))
        else:
            able.append(entry)

    reasons = {entry.path: _odd(setting, entry, unread) for entry in able}

    def rank(entry: Entry) -> tuple[bool, int, int, int, float, str]:
        kind = parts[kind_of(entry)]
        name = _names_family(entry, kind, family)
        is_odd = bool(reasons[entry.path])
        return is_odd, order[kind.id], name, _format_rank(entry, kind), -entry.modified_s, str(entry.path)

    able.sort(key=rank)
    others += [
        PassedOver(setting, entry, reasons[entry.path] or _why_other(entry, able[0], parts, family))
        for entry in able[1:]
    ]
    return able, others


def _unusable(entry: Entry) -> str:
    """Why an engine cannot use a file of the right kind; "" when it can.

    Source: sd-scripts library/flux_utils.py, load_t5xxl: it drops keys that the model lacks (strict=False).
    """
    if entry.file is None:
        return "Its weights are in several files, and engines read a single file."
    if entry.found is None:
        return entry.error
    return formats.unread(entry.found) or entry.found.apart


def _format_rank(entry: Entry, kind: Part) -> int:
    order = (*kind.prefer, *(each for each in PRECISION if each not in kind.prefer))
    dtype = entry.found.dtype if entry.found else ""
    return order.index(dtype) if dtype in order else len(order)


def _names_family(entry: Entry, kind: Part, family: str) -> int:
    """0 for a file named like the published one for this family, 2 for one named like that of another family, else 1.

    A header cannot distinguish files with the same layout and different weights (VAEs of SD1.5 and SDXL, FLUX.1 and SD3).
    """
    if not _is_shared(kind):
        return 1
    name = entry.path.name.casefold()
    known = {PurePosixPath(source.file).name.casefold(): source for source in kind.sources}
    if name not in known:
        return 1
    return 0 if not known[name].families or family in known[name].families else 2


def _is_shared(kind: Part) -> bool:
    """Whether the families that use this kind of part use different files."""
    return len({source.families for source in kind.sources if source.families}) > 1


def _to_confirm(entry: Entry, kind: Part, family: str) -> str:
    """What the user should confirm about the chosen file; "" where its kind is enough."""
    return kind.doc if _is_shared(kind) and _names_family(entry, kind, family) != 0 else ""


def _why_other(entry: Entry, best: Entry, parts: Mapping[str, Part], family: str) -> str:
    kind, best_kind = parts[kind_of(entry)], parts[kind_of(best)]
    instead = f"{best.path.name} is used"
    if kind.id != best_kind.id:
        return f"{instead}: {best_kind.title} comes before {kind.title}."
    if _names_family(entry, kind, family) != _names_family(best, kind, family):
        return f"{instead}: it has the name of the file for this family."
    if _format_rank(entry, kind) != _format_rank(best, kind) and entry.found and best.found:
        return f"{instead}: {best.found.dtype} is preferred to {entry.found.dtype}."
    return f"{instead}: it is newer."


def _could_be(entry: Entry, kinds: Sequence[Part]) -> bool:
    """Whether a file could have been meant as one of these parts: it is of the same role, or what it is could not be seen.

    Names of families are in the names of most of their files, also of models, LoRAs and VAEs, which nobody takes for a text encoder.
    """
    return entry.role in {"unknown", *(kind.role for kind in kinds)}


def _is_named(entry: Entry, names: Iterable[str]) -> bool:
    """Whether a file's name suggests one of these parts, whatever the file contains."""
    plain = _letters(entry.path.name)
    return any(len(name) > 3 and _letters(name) in plain for name in names)


def _letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.casefold())


def _other_kind(entry: Entry, parts: Mapping[str, Part]) -> str:
    if entry.found is None:
        return entry.error
    kind = parts.get(kind_of(entry))
    what = (
        kind.title if kind else f"a {entry.role.replace('_', ' ')}" if entry.role != "unknown" else "not a known file"
    )
    return f"Its name suggests this part, but its header shows that it is {what}."


def _missing(setting: str, kinds: Sequence[Part], family: ModelFamily) -> MissingPart:
    titles = " or ".join(kind.title for kind in kinds) or setting
    why = f"{family.title} needs {titles} as a separate file, and none was found."
    sources = tuple(source for kind in kinds for source in kind.sources_for(family.id))
    return MissingPart(setting, titles, why, sources)
