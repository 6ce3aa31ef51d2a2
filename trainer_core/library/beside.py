"""The files that a model needs beside it, out of a library: VAE and text encoders.

What a file is, its header says; its name never makes it a part. Of several right ones the first is taken by: a file that
programs can read, the number format that the catalogue prefers (fp8 for the large text encoders), the newest.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from trainer_core import catalog
from trainer_core.catalog import Part, PartSource
from trainer_core.detection import Detection
from trainer_core.families import ModelFamily, load_families
from trainer_core.library.entry import Entry

ROLES = ("vae", "text_encoder")
PRECISION = ("F32", "BF16", "F16", "F8_E4M3", "F8_E5M2")
"""Number formats from the best to the smallest, for parts of which the catalogue prefers none."""


@dataclass(frozen=True)
class MissingPart:
    """A file that a model needs and the library has not: the setting it is for, and where it can be had."""

    setting: str
    title: str
    why: str
    sources: tuple[PartSource, ...] = ()


@dataclass(frozen=True)
class PassedOver:
    """A file that was not taken for a setting, and the sentence why."""

    setting: str
    entry: Entry
    why: str


@dataclass(frozen=True)
class PartsFound:
    """What the library has for a model.

    `found` is what to take for each setting, `candidates` all that serve it, the best first. `unsure` says for a setting
    what a header cannot tell of its kind of file, where that matters.
    """

    found: Mapping[str, Entry] = field(default_factory=dict)
    candidates: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)
    missing: tuple[MissingPart, ...] = ()
    passed_over: tuple[PassedOver, ...] = ()
    unsure: Mapping[str, str] = field(default_factory=dict)


def kind_of(entry: Entry) -> str:
    """The kind of part that a file is, an id of catalog/parts.toml; "" where it is none or of no known kind."""
    return entry.found.variant if entry.found and entry.found.role in ROLES else ""


def parts_for(
    entries: Iterable[Entry],
    found: Detection,
    needed: Collection[str] | None = None,
    *,
    families: Mapping[str, ModelFamily] | None = None,
    parts: Mapping[str, Part] | None = None,
) -> PartsFound:
    """The files that a model needs beside it; nothing for a model of no known family.

    `needed` are the settings to look for, by default all parts of the family that the model does not hold itself.
    `families` and `parts` are the tables to go by, Easel's own unless given.
    """
    families = load_families() if families is None else families
    parts = catalog.parts() if parts is None else parts
    family = families.get(found.family or "")
    if family is None:
        return PartsFound()
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
        able, others = _sorted_out(entries, setting, kinds, parts, family.id)
        passed_over += others
        if able:
            taken[setting], candidates[setting] = able[0], tuple(able)
            if doubt := _doubt(able[0], parts[kind_of(able[0])], family.id):
                unsure[setting] = doubt
        else:
            missing.append(_missing(setting, kinds, family))
    return PartsFound(taken, candidates, tuple(missing), tuple(passed_over), unsure)


def _sorted_out(
    entries: Sequence[Entry], setting: str, kinds: Sequence[Part], parts: Mapping[str, Part], family: str
) -> tuple[list[Entry], list[PassedOver]]:
    """The files that serve a setting, the best first, and those that do not or are less good, each with the reason."""
    order = {kind.id: place for place, kind in enumerate(kinds)}
    able: list[Entry] = []
    others: list[PassedOver] = []
    for entry in entries:
        kind = kind_of(entry)
        if kind not in order:
            if _is_named(entry, (setting, *order)):
                others.append(PassedOver(setting, entry, _other_kind(entry, parts)))
        elif reason := _unusable(entry):
            others.append(PassedOver(setting, entry, reason))
        else:
            able.append(entry)

    def rank(entry: Entry) -> tuple[int, int, int, float, str]:
        kind = parts[kind_of(entry)]
        name = _names_family(entry, kind, family)
        return order[kind.id], name, _format_rank(entry, kind), -entry.modified_s, str(entry.path)

    able.sort(key=rank)
    others += [PassedOver(setting, entry, _less_good(entry, able[0], parts, family)) for entry in able[1:]]
    return able, others


def _unusable(entry: Entry) -> str:
    """Why a file of the right kind cannot be given to an engine; "" when it can.

    Source: sd-scripts library/flux_utils.py, load_t5xxl: names that the model lacks are dropped (strict=False).
    """
    from trainer_core import trainable

    if entry.file is None:
        return "Its weights lie in several files, and engines take one."
    if entry.found is None:
        return entry.error
    return trainable.unread(entry.found) or entry.found.apart


def _format_rank(entry: Entry, kind: Part) -> int:
    order = (*kind.prefer, *(each for each in PRECISION if each not in kind.prefer))
    dtype = entry.found.dtype if entry.found else ""
    return order.index(dtype) if dtype in order else len(order)


def _names_family(entry: Entry, kind: Part, family: str) -> int:
    """0 for a file called like the one known for this family, 2 for one called like that of another family, else 1.

    Kinds with one layout and other weights (the VAEs of SD1.5 and SDXL, of FLUX.1 and SD3) cannot be told by a header.
    """
    if not _is_shared(kind):
        return 1
    name = entry.path.name.casefold()
    known = {PurePosixPath(source.file).name.casefold(): source for source in kind.sources}
    if name not in known:
        return 1
    return 0 if not known[name].families or family in known[name].families else 2


def _is_shared(kind: Part) -> bool:
    """Whether families that take this kind of file take different files."""
    return len({source.families for source in kind.sources if source.families}) > 1


def _doubt(entry: Entry, kind: Part, family: str) -> str:
    """What a person should confirm about the file that was taken; "" where its kind says all."""
    return kind.doc if _is_shared(kind) and _names_family(entry, kind, family) != 0 else ""


def _less_good(entry: Entry, best: Entry, parts: Mapping[str, Part], family: str) -> str:
    kind, best_kind = parts[kind_of(entry)], parts[kind_of(best)]
    instead = f"{best.path.name} is taken"
    if kind.id != best_kind.id:
        return f"{instead}: {best_kind.title} comes before {kind.title}."
    if _names_family(entry, kind, family) != _names_family(best, kind, family):
        return f"{instead}: its name is that of the file for this family."
    if _format_rank(entry, kind) != _format_rank(best, kind) and entry.found and best.found:
        return f"{instead}: {best.found.dtype} is preferred to {entry.found.dtype}."
    return f"{instead}: it is newer."


def _is_named(entry: Entry, names: Iterable[str]) -> bool:
    """Whether a file's name says that it is one of these parts, whatever it is."""
    plain = _letters(entry.path.name)
    return any(len(name) > 3 and _letters(name) in plain for name in names)


def _letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.casefold())


def _other_kind(entry: Entry, parts: Mapping[str, Part]) -> str:
    if entry.found is None:
        return entry.error
    kind = parts.get(kind_of(entry))
    what = kind.title if kind else f"a {entry.role.replace('_', ' ')}" if entry.role != "unknown" else "nothing known"
    return f"Its name suggests it, but by its header it is {what}."


def _missing(setting: str, kinds: Sequence[Part], family: ModelFamily) -> MissingPart:
    titles = " or ".join(kind.title for kind in kinds) or setting
    why = f"{family.title} needs {titles} beside the model, and none was found."
    sources = tuple(source for kind in kinds for source in kind.sources_for(family.id))
    return MissingPart(setting, titles, why, sources)
